import { InvalidInputError, type ModelFiles } from "@crossrank/core";
import { completeModel, openModel } from "@crossrank/hub";
import { defaultModel } from "./default-model.js";
import { ggufAmong, parseReference, withOneArtifact } from "./reference.js";

/** Where a model comes from, beside its name. */
export interface ModelSourceOptions {
  /** Branch, tag or commit of the repository. Default: the lock file's, else `main`. */
  readonly revision?: string | undefined;
  /** Use what is in the cache, download nothing. Default: what the environment says (`HF_HUB_OFFLINE`). */
  readonly offline?: boolean | undefined;
  /** Path of a lock file, which pins the revision and the files' hashes. */
  readonly lock?: string | undefined;
  /**
   * The model whose configuration and tokenizer belong to an artifact that has none of its own: a folder, or a repository
   * id, also with `@revision`. Default: none.
   */
  readonly base?: string | undefined;
  /** Folder of downloaded models. Default: that of huggingface_hub. */
  readonly cacheFolder?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * @param model `"nano"`, a folder, a repository id, also with `@revision`, or one with a precision (`owner/name:Q8_0`),
 * its address on the hub, or a file that is an artifact. What the model lacks beside its artifact is looked for in
 * `tokenizer/`, in `base`, in the older files of its tokenizer, and in a GGUF's own metadata.
 * @throws {InvalidInputError} when the model is none of these, or an option does not go with it; otherwise as `openModel`
 * of @crossrank/hub.
 */
export async function openModelSource(model: string, options: ModelSourceOptions): Promise<ModelFiles> {
  const { revision, signal } = options;
  if (model === defaultModel) {
    const unfit = (["revision", "lock", "base"] as const).find((name) => options[name] !== undefined);
    if (unfit !== undefined) {
      throw new InvalidInputError(unfit, "does not apply to nano, which is part of crossrank");
    }
    const { modelFolder } = await import("@crossrank/model-nano");
    return named(defaultModel, await openModel(modelFolder, { signal }));
  }
  const reference = await parseReference(model);
  if (reference.revision !== undefined && revision !== undefined && reference.revision !== revision) {
    throw new InvalidInputError(
      "revision",
      `is ${revision}, and the model's address names ${reference.revision}`,
    );
  }
  let files = await openAt(reference.source, { ...options, revision: revision ?? reference.revision });
  if (reference.artifact !== undefined) files = await withOneArtifact(files, reference.artifact, signal);
  return whole(files, options);
}

/** @throws {InvalidInputError} by the names of {@link ModelSourceOptions}. */
async function openAt(source: string, options: ModelSourceOptions): Promise<ModelFiles> {
  const { revision, offline, lock, cacheFolder, signal } = options;
  try {
    return await openModel(source, { revision, offline, lockFile: lock, cacheFolder, signal });
  } catch (cause) {
    if (!InvalidInputError.isInstance(cause)) throw cause;
    const name = { source: "model", "options.revision": "revision", "options.lockFile": "lock" }[cause.path];
    if (name === undefined) throw cause;
    throw new InvalidInputError(name, cause.message.slice(cause.path.length + 1), { cause });
  }
}

/** With what the model lacks beside its artifact, where it can be found. */
async function whole(files: ModelFiles, options: ModelSourceOptions): Promise<ModelFiles> {
  const { base, signal } = options;
  const paths = (await files.list({ signal })).map(({ path }) => path);
  if (base === undefined && paths.includes("tokenizer.json")) return files;
  const hasTokenizer = paths.includes("tokenizer.json") || paths.includes("tokenizer/tokenizer.json");
  const own = { ...options, revision: undefined, lock: undefined, base: undefined };
  return completeModel(files, {
    base: base === undefined ? undefined : await openModelSource(base, own),
    gguf: hasTokenizer || base !== undefined ? undefined : await ggufAmong(paths),
    signal,
  });
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
