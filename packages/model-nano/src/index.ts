import { fileURLToPath } from "node:url";

/**
 * Absolute path of the embedded model, laid out as a Hugging Face repository: config.json, tokenizer.json,
 * tokenizer_config.json, crossrank.json, onnx/model_int8.onnx, README.md (the model card). Open it with `openModel` of
 * `@crossrank/hub`.
 */
export const modelFolder: string = fileURLToPath(new URL("../model", import.meta.url));
