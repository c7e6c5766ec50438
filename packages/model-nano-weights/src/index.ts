import { dirname } from "node:path";
import { bundleFix, findPackageFile } from "@crossrank/backend-kit";
import { ModelFileNotFoundError } from "@crossrank/core";
import manifest from "../package.json" with { type: "json" };

/**
 * Absolute path of the embedded model's weights, laid out as a Hugging Face repository: model.safetensors (float16),
 * config.json, tokenizer.json, tokenizer_config.json, crossrank.json, golden.json. `crossrank convert nano` finds it
 * where this package is installed; `openModel` of `@crossrank/hub` opens it as any other folder.
 *
 * @throws {ModelFileNotFoundError} on import, where a bundle runs without the installed package.
 */
export const weightsFolder: string = findWeights();

function findWeights(): string {
  const { name, version } = manifest;
  const found = findPackageFile({ name, version, module: import.meta.url, path: "model/config.json" });
  if ("path" in found) return dirname(found.path);
  throw new ModelFileNotFoundError({
    model: name,
    expected: ["model/config.json"],
    fix: `Cause: ${found.problem}. ${bundleFix(name)}`,
  });
}
