import type { Options } from "tsup";
import { library } from "../../tsup.base.js";

const config: Options = library({
  entry: [
    "src/index.ts",
    "src/onnx/index.ts",
    "src/onnx/read.ts",
    "src/ctranslate2/index.ts",
    "src/gguf/index.ts",
    "src/mlpackage/index.ts",
    "src/tokenizer/index.ts",
  ],
});

export default config;
