import { type ModelFiles, ModelProfileError } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { defaultModel } from "./default-model.js";
import { isMissing } from "./registry.js";

/** Holds the weights of the embedded model. Not a dependency: ranking needs the int8 artifact alone. */
export const weightsPackage = "@crossrank/model-nano-weights";

const weightsFile = "model.safetensors";
/** Both packages have it, and no two models the same. */
const identity = "golden.json";

/**
 * The embedded model, with its float weights where their package is installed.
 *
 * @throws {ModelProfileError} when the installed weights are another version's.
 */
export async function openEmbedded(signal: AbortSignal | undefined): Promise<ModelFiles> {
  const { modelFolder } = await import("@crossrank/model-nano");
  const own = await openModel(modelFolder, { signal });
  const folder = await findWeights();
  if (folder === undefined) return joined(own, undefined);
  return withWeights(own, await openModel(folder, { signal }), signal);
}

/** @throws {ModelProfileError} when the weights are not of the same model. */
export async function withWeights(
  own: ModelFiles,
  weights: ModelFiles,
  signal: AbortSignal | undefined,
): Promise<ModelFiles> {
  const [mine, theirs] = await Promise.all(
    [own, weights].map((files) => files.readText(identity, { signal })),
  );
  if (mine !== theirs) {
    throw new ModelProfileError({
      model: weightsPackage,
      file: identity,
      problem: "it belongs to another model than that of @crossrank/model-nano",
      fix: `Install both packages in one version: npm install @crossrank/model-nano ${weightsPackage}`,
    });
  }
  return joined(own, weights);
}

/** Undefined where the package is not installed. */
async function findWeights(): Promise<string | undefined> {
  try {
    // Bundlers leave the import as it is: the package may be missing.
    const found: { readonly weightsFolder: string } = await import(
      /* webpackIgnore: true */ /* turbopackIgnore: true */ /* @vite-ignore */ weightsPackage
    );
    return found.weightsFolder;
  } catch (error) {
    if (isMissing(error, [weightsPackage])) return undefined;
    throw error;
  }
}

/** Under the model's name, with the weights from their own folder. */
function joined(own: ModelFiles, weights: ModelFiles | undefined): ModelFiles {
  const at = (path: string): ModelFiles => (path === weightsFile && weights !== undefined ? weights : own);
  return {
    id: defaultModel,
    revision: own.revision,
    list: async (options) => {
      const added = (await weights?.list(options)) ?? [];
      return [...(await own.list(options)), ...added.filter(({ path }) => path === weightsFile)];
    },
    readText: (path, options) => at(path).readText(path, options),
    readBytes: (path, range, options) => at(path).readBytes(path, range, options),
    localPath: (path, options) => at(path).localPath(path, options),
  };
}
