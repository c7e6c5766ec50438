import { defineConfig, type Options } from "tsup";

const config: Options = {
  entry: {
    index: "src/index.ts",
    encoding: "src/entries/encoding.ts",
    files: "src/entries/files.ts",
    verify: "src/entries/verify.ts",
  },
  format: "esm",
  dts: true,
  clean: true,
  sourcemap: true,
  target: "es2022",
  platform: "neutral",
};

export default defineConfig(config) as Options;
