import { dirname } from "node:path";
import { bundleFix, findPackageFile } from "@crossrank/backend-kit";
import { ModelFileNotFoundError } from "@crossrank/core";
import manifest from "../package.json" with { type: "json" };

/**
 * Absolute path of the embedded model, laid out as a Hugging Face repository: config.json, tokenizer.json,
 * tokenizer_config.json, crossrank.json, onnx/model_int8.onnx, README.md (the model card). Open it with `openModel` of
 * `@crossrank/hub`. In a bundle it is that of the installed package: importing this module throws a
 * {@link ModelFileNotFoundError} where there is none.
 */
export const modelFolder: string = findModel();

function findModel(): string {
  const { name, version } = manifest;
  const found = findPackageFile({ name, version, module: import.meta.url, path: "model/config.json" });
  if ("path" in found) return dirname(found.path);
  throw new ModelFileNotFoundError({
    model: name,
    expected: ["model/config.json"],
    fix: `Cause: ${found.problem}. ${bundleFix(name)}`,
  });
}
