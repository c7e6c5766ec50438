import { InvalidInputError, type ModelFiles } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { defaultModel } from "./default-model.js";

/** Where a model comes from, beside its name. */
export interface ModelSourceOptions {
  /** Branch, tag or commit of the repository. Default: the lock file's, else `main`. */
  readonly revision?: string | undefined;
  /** Use what is in the cache, download nothing. Default: what the environment says (`HF_HUB_OFFLINE`). */
  readonly offline?: boolean | undefined;
  /** Path of a lock file, which pins the revision and the files' hashes. */
  readonly lock?: string | undefined;
  /** Folder of downloaded models. Default: that of huggingface_hub. */
  readonly cacheFolder?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * @param model `"nano"`, a folder, or a repository id, also with `@revision`.
 * @throws {InvalidInputError} when the model is none of these, or an option does not go with it; otherwise as `openModel`
 * of @crossrank/hub.
 */
export async function openModelSource(model: string, options: ModelSourceOptions): Promise<ModelFiles> {
  const { revision, offline, lock, cacheFolder, signal } = options;
  if (model === defaultModel) {
    const unfit = (["revision", "lock"] as const).find((name) => options[name] !== undefined);
    if (unfit !== undefined) {
      throw new InvalidInputError(unfit, "does not apply to nano, which is part of crossrank");
    }
    const { modelFolder } = await import("@crossrank/model-nano");
    return named(defaultModel, await openModel(modelFolder, { signal }));
  }
  try {
    return await openModel(model, { revision, offline, lockFile: lock, cacheFolder, signal });
  } catch (cause) {
    if (!InvalidInputError.isInstance(cause)) throw cause;
    const name = { source: "model", "options.revision": "revision", "options.lockFile": "lock" }[cause.path];
    if (name === undefined) throw cause;
    throw new InvalidInputError(name, cause.message.slice(cause.path.length + 1), { cause });
  }
}

/** The same files under the name the user knows, instead of a folder within node_modules. */
function named(id: string, files: ModelFiles): ModelFiles {
  return {
    id,
    revision: files.revision,
    list: (options) => files.list(options),
    readText: (path, options) => files.readText(path, options),
    readBytes: (path, range, options) => files.readBytes(path, range, options),
    localPath: (path, options) => files.localPath(path, options),
  };
}
