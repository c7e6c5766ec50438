import { InvalidInputError, type ModelFiles, ModelProfileError } from "@crossrank/core";
import { readCardBase } from "@crossrank/core/files";
import { hashFile } from "@crossrank/disk";
import { completeModel, isFolderSource, openModel } from "@crossrank/hub";
import { defaultModel } from "./default-model.js";
import { type TakenBase, withOrigin } from "./model-origin.js";
import {
  artifactOfPrecision,
  ggufAmong,
  hasArtifact,
  inFolder,
  parseReference,
  withOneArtifact,
} from "./reference.js";
import { precisionsAmong } from "./registry.js";

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
   * id, also with `@revision`. Default: the `base_model` of the model card, where configuration or tokenizer are missing.
   */
  readonly base?: string | undefined;
  /** Folder of downloaded models. Default: that of huggingface_hub. */
  readonly cacheFolder?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told, in a sentence, what was done without being asked for: which base was taken. */
  readonly onNotice?: ((notice: string) => void) | undefined;
}

/** How {@link openModelSource} hands on what a model was asked for with. */
interface OpenOptions extends ModelSourceOptions {
  /** See `AutoConversionOptions`. */
  readonly convert?: boolean | undefined;
}

/** Bytes of a model card that are read; the front matter is at its beginning. */
const largestCard = 1 << 20;

/**
 * @param model `"nano"`, a folder, a repository id, also with `@revision`, a folder in it (`owner/name/sub`) or a precision
 * (`owner/name:Q8_0`); its address on the hub, or that of a folder or file in it; or a file that is an artifact. What the
 * model lacks beside its artifact is looked for in `tokenizer/`, in `base`, in the older files of its tokenizer, in a
 * GGUF's own metadata, and in the model that the card names as its base.
 * @throws {InvalidInputError} when the model is none of these, or an option does not go with it; otherwise as `openModel`
 * of @crossrank/hub.
 * @throws {ModelProfileError} when configuration or tokenizer are missing and nothing says where they are.
 */
export async function openModelSource(model: string, options: OpenOptions): Promise<ModelFiles> {
  const { signal } = options;
  if (model === defaultModel) {
    const unfit = (["revision", "lock", "base"] as const).find((name) => options[name] !== undefined);
    if (unfit !== undefined) {
      throw new InvalidInputError(unfit, "does not apply to nano, which is part of crossrank");
    }
    const { openEmbedded } = await import("./embedded-model.js");
    return openEmbedded(signal);
  }
  return openWhole(model, options, true);
}

/** @param mayAskCard whether the model card may name a base; one that it named may not name another. */
async function openWhole(model: string, options: OpenOptions, mayAskCard: boolean): Promise<ModelFiles> {
  const { revision, lock, offline, cacheFolder, base, convert, signal } = options;
  const reference = await parseReference(model);
  if (reference.revision !== undefined && revision !== undefined && reference.revision !== revision) {
    throw new InvalidInputError(
      "revision",
      `is ${revision}, and the model's address names ${reference.revision}`,
    );
  }
  const root = await openAt(reference.source, { ...options, revision: revision ?? reference.revision });
  let files = reference.folder === undefined ? root : await inFolderOf(root, reference.folder, signal);
  let dtype: string | undefined;
  if (reference.artifact !== undefined) {
    const paths = await pathsOf(files, signal);
    // Weights can be converted to the precision.
    if ("dtype" in reference.artifact && (await isConvertible(paths, reference.artifact.dtype))) {
      dtype = reference.artifact.dtype;
    }
    if (dtype === undefined) files = await withOneArtifact(files, reference.artifact, signal);
  }
  const { found, taken } = await complete(files, options, mayAskCard);
  return withOrigin(base === undefined ? found : ofBase(found, await repositoryOf(base)), {
    ...{ model, revision, lock, offline, cacheFolder, base, convert, dtype, taken },
    derived: await derivedOf(files, found, taken, signal),
  });
}

/** The repository that the option `base` names: what is known of it is so of another form of it. Undefined of a folder. */
async function repositoryOf(base: string): Promise<string | undefined> {
  const { source, folder } = await parseReference(base);
  if (await isFolderSource(source)) return undefined;
  const id = source.replace(/@.*$/, "");
  return folder === undefined ? id : `${id}/${folder}`;
}

/** The same files, with the repository of which the user says that they are another form of it. Core looks for it. */
function ofBase(files: ModelFiles, base: string | undefined): ModelFiles {
  return base === undefined ? files : { ...named(files.id, files), base };
}

/** Files that were completed, and of what. */
async function derivedOf(
  files: ModelFiles,
  found: ModelFiles,
  taken: TakenBase | undefined,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, string>> {
  const before = new Set(await pathsOf(files, signal));
  const theirs = new Set(taken?.files.map(({ path }) => path));
  const isOlder = (path: string): boolean => /^(vocab\.(txt|json)|[\w.]+\.model)$/.test(path);
  const own = [...before].filter(isOlder);
  const gguf = (await ggufAmong([...before])) ?? "";
  const added = (await pathsOf(found, signal)).filter((path) => !before.has(path));
  return new Map(
    added.map((path) => {
      if (theirs.has(path)) return [path, `taken from ${taken?.id}`];
      if (before.has(`tokenizer/${path}`)) return [path, `tokenizer/${path}`];
      return [path, own.length > 0 ? `made of ${own.join(", ")}` : `read from ${gguf}`];
    }),
  );
}

/** Whether the precision is had of the weights alone: there is no artifact, or none of it. */
async function isConvertible(paths: readonly string[], dtype: string): Promise<boolean> {
  if (!paths.some((path) => path.endsWith(".safetensors"))) return false;
  const precisions = await precisionsAmong(paths);
  if (precisions.length === 0) return true;
  if ((await artifactOfPrecision(precisions, dtype)) !== undefined) return false;
  const { conversionPlans } = await import("./auto-conversion.js");
  for await (const _plan of conversionPlans(paths, { named: undefined, dtype })) return true;
  return false;
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

/** A folder of a repository, with what it lacks from the next one around it: artifacts lie in `onnx/` or `gguf/`. */
async function inFolderOf(
  root: ModelFiles,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<ModelFiles> {
  const files = await inFolder(root, folder, signal);
  const parts = folder.split("/");
  for (let depth = parts.length - 1; depth >= 0; depth -= 1) {
    const around = depth === 0 ? root : await inFolder(root, parts.slice(0, depth).join("/"), signal);
    if (isDescribed(await pathsOf(around, signal))) return completeModel(files, { base: around, signal });
  }
  return files;
}

function isDescribed(paths: readonly string[]): boolean {
  return ["config.json", "crossrank.json", "tokenizer.json"].some((path) => paths.includes(path));
}

async function pathsOf(files: ModelFiles, signal: AbortSignal | undefined): Promise<string[]> {
  return (await files.list({ signal })).map(({ path }) => path);
}

interface Completed {
  readonly found: ModelFiles;
  readonly taken: TakenBase | undefined;
}

/** With what the model lacks beside its artifact, where it can be found. */
async function complete(files: ModelFiles, options: OpenOptions, mayAskCard: boolean): Promise<Completed> {
  const { base, signal } = options;
  if (base !== undefined) return withBase(files, base, "option", options);
  const paths = await pathsOf(files, signal);
  const hasTokenizer = paths.includes("tokenizer.json") || paths.includes("tokenizer/tokenizer.json");
  let problem: unknown;
  let found = files;
  try {
    found = await completeModel(files, {
      gguf: hasTokenizer ? undefined : await ggufAmong(paths),
      signal,
    });
  } catch (error) {
    if (!ModelProfileError.isInstance(error)) throw error;
    problem = error;
  }
  const missing = problem === undefined ? missingAmong(await pathsOf(found, signal)) : "configuration";
  if (missing === undefined || !mayAskCard || !hasArtifact(paths)) {
    if (problem !== undefined) throw problem;
    return { found, taken: undefined };
  }
  const cardBase = await baseOfCard(files, missing, problem, signal);
  if (cardBase !== undefined) return withBase(files, cardBase, "model card", options);
  if (problem !== undefined) throw problem;
  return { found, taken: undefined };
}

/** What is missing of what no artifact says. */
function missingAmong(paths: readonly string[]): string | undefined {
  if (!paths.includes("config.json") && !paths.includes("crossrank.json")) return "config.json";
  return paths.includes("tokenizer.json") ? undefined : "tokenizer.json";
}

/**
 * The base that the model card names, where it names one.
 *
 * @throws {ModelProfileError} where it names several, or one that this model is more than another form of.
 */
async function baseOfCard(
  files: ModelFiles,
  missing: string,
  cause: unknown,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const card = (await files.list({ signal })).find(({ path }) => path === "README.md");
  if (card === undefined || card.size > largestCard) return undefined;
  const { models, relation } = readCardBase(await files.readText("README.md", { signal }));
  const [only, ...others] = models;
  if (only === undefined) return undefined;
  const refuse = (problem: string): ModelProfileError =>
    new ModelProfileError(
      {
        model: files.id,
        file: "README.md",
        problem: `the model has no ${missing} of its own, and ${problem}`,
        fix: "Name the model whose configuration and tokenizer belong to it with the option `base`, e.g. owner/name",
      },
      { cause },
    );
  if (others.length > 0) {
    throw refuse(
      `its base_model names ${models.length} models (${models.slice(0, 5).join(", ")}), none of which is taken for a guess`,
    );
  }
  if (relation !== undefined && relation !== "quantized") {
    throw refuse(`it is a ${relation} of its base_model ${only}, whose configuration may be another`);
  }
  return only;
}

async function withBase(
  files: ModelFiles,
  base: string,
  from: TakenBase["from"],
  options: OpenOptions,
): Promise<Completed> {
  const { signal, onNotice } = options;
  const own = { ...options, revision: undefined, lock: undefined, base: undefined };
  const opened = from === "option" ? await openModelSource(base, own) : await openWhole(base, own, false);
  const found = await completeModel(files, { base: opened, signal });
  const before = new Set(await pathsOf(files, signal));
  const theirs = new Set(await pathsOf(opened, signal));
  const added: { path: string; sha256: string }[] = [];
  for (const { path, sha256 } of await found.list({ signal })) {
    // What was made of the model's own files, or lies in its tokenizer/, is not the base's.
    if (before.has(path) || !theirs.has(path) || before.has(`tokenizer/${path}`)) continue;
    added.push({ path, sha256: sha256 ?? (await hashOf(found, path, signal)) });
  }
  if (added.length === 0) {
    onNotice?.(`${files.id} has configuration and tokenizer of its own; nothing was taken from ${opened.id}`);
    return { found, taken: undefined };
  }
  const place = opened.revision === undefined ? opened.id : `${opened.id} at ${opened.revision.slice(0, 12)}`;
  onNotice?.(
    `${files.id} has no ${added.map(({ path }) => path).join(", ")} of its own; taken from ${place}${from === "option" ? "" : ", the base_model of its card"}`,
  );
  return {
    found,
    taken: { id: opened.id, revision: opened.revision, from, files: added },
  };
}

async function hashOf(files: ModelFiles, path: string, signal: AbortSignal | undefined): Promise<string> {
  return hashFile(await files.localPath(path, { signal }), { signal });
}

/** The same files under a name. */
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
