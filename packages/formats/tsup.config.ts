import { defineConfig, type Options } from "tsup";

const config: Options = {
  entry: [
    "src/index.ts",
    "src/onnx/index.ts",
    "src/gguf/index.ts",
    "src/mlpackage/index.ts",
    "src/tokenizer/index.ts",
  ],
  format: "esm",
  dts: true,
  clean: true,
  sourcemap: true,
  target: "es2022",
  platform: "node",
};

export default defineConfig(config) as Options;
