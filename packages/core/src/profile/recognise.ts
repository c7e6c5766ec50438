import { ModelFileNotFoundError, ModelProfileError } from "../contract/errors.js";
import type { FileRequestOptions, ModelFile, ModelFiles } from "../contract/model-files.js";
import { openSafetensors } from "../files/safetensors.js";
import { readCardBase } from "./model-card.js";
import {
  type Evidence,
  fileTellTales,
  headBytes,
  isBesides,
  modelTellTales,
  type Sign,
  type TellTale,
} from "./tell-tales.js";

/** What a model or its files are, that crossrank does not read. */
export interface Recognised {
  /** Short, e.g. `"OpenVINO"`. */
  readonly name: string;
  /** The files that show it, relative to the model. Never empty. */
  readonly files: readonly string[];
  /** A sentence without its period. */
  readonly what: string;
  /** A sentence without its period, in the imperative. */
  readonly fix: string;
}

/** Bytes of a JSON file or a card that is looked into. */
const largestText = 16 * 2 ** 20;
/** Of a hub's file so much is fetched to look into it; of a folder's its beginning is read, whatever its size. */
const largestFetched = 4096;
/** Files that are looked into. A model cut into more is of one format. */
const mostHeads = 32;

/**
 * What a model is by its kind (an adapter, an encoder-decoder, late interaction …), where that is none that is read.
 *
 * @param certain only what belies a profile that can be read from the same files.
 */
export async function recogniseModel(
  files: ModelFiles,
  { certain = false, ...options }: FileRequestOptions & { readonly certain?: boolean } = {},
): Promise<Recognised | undefined> {
  const evidence = await gather(files, await files.list(options), options, false);
  return first(
    modelTellTales.filter(({ misleads }) => !certain || misleads === true),
    evidence,
    files,
    options,
  );
}

/**
 * What a model's weights are, where all of them are of formats that no backend reads; undefined where one may be read.
 *
 * @param decisive only what no other fault of the model changes: there are no weights that could be used.
 */
export async function recogniseFiles(
  files: ModelFiles,
  { decisive = false, ...options }: FileRequestOptions & { readonly decisive?: boolean } = {},
): Promise<Recognised | undefined> {
  const listed = await files.list(options);
  const evidence = await gather(files, listed, options, true);
  const signs = fileTellTales.flatMap((tellTale) => {
    const sign = tellTale.find(evidence);
    return sign === undefined ? [] : [{ tellTale, sign }];
  });
  const [found] = signs;
  if (found === undefined || (decisive && found.tellTale.goesFirst !== true)) return undefined;
  const known = new Set(signs.flatMap(({ sign }) => sign.files));
  const there = new Set(evidence.paths);
  const folders = [...known].filter((path) => !there.has(path));
  const isKnown = (path: string): boolean =>
    isBesides(path) || known.has(path) || folders.some((folder) => path.startsWith(`${folder}/`));
  if (!evidence.paths.every(isKnown)) return undefined;
  return described(found.tellTale, found.sign, files, evidence, options);
}

/**
 * What a model is that cannot be read, where that says more than which of its files stopped the reading.
 *
 * @param error what stopped it; undefined is returned of one that is not about the model's files.
 */
export async function betterRefusal(
  error: unknown,
  files: ModelFiles,
  options: FileRequestOptions = {},
): Promise<ModelProfileError | undefined> {
  const isMissing = ModelFileNotFoundError.isInstance(error);
  if (!isMissing && !ModelProfileError.isInstance(error)) return undefined;
  const found =
    (await recogniseModel(files, options)) ??
    (await recogniseFiles(files, { ...options, decisive: !isMissing }));
  return found && refusalOf(files.id, found, error);
}

export function refusalOf(
  model: string,
  { files, what, fix }: Recognised,
  cause?: unknown,
): ModelProfileError {
  const file = files.slice(0, 3).join(", ");
  return new ModelProfileError({ model, file, problem: what, fix }, { cause });
}

async function first(
  table: readonly TellTale[],
  evidence: Evidence,
  files: ModelFiles,
  options: FileRequestOptions,
): Promise<Recognised | undefined> {
  for (const tellTale of table) {
    const sign = tellTale.find(evidence);
    if (sign !== undefined) return described(tellTale, sign, files, evidence, options);
  }
  return undefined;
}

async function described(
  { name, fix }: TellTale,
  { files: shown, what }: Sign,
  files: ModelFiles,
  evidence: Evidence,
  options: FileRequestOptions,
): Promise<Recognised> {
  const base = await baseOf(files, evidence, options);
  return { name, files: shown.slice(0, 12), what, fix: fix(base) };
}

async function gather(
  files: ModelFiles,
  listed: readonly ModelFile[],
  options: FileRequestOptions,
  withHeads: boolean,
): Promise<Evidence> {
  const sizes = new Map(listed.map(({ path, size }) => [path, size]));
  const json = async (path: string): Promise<unknown> => {
    const text = await textOf(files, path, sizes.get(path), options);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text.replace(/^\ufeff/, "")) as unknown;
    } catch {
      return undefined;
    }
  };
  const object = async (path: string): Promise<Readonly<Record<string, unknown>>> => {
    const value = await json(path);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : {};
  };
  const modules = await json("modules.json");
  return {
    paths: [...sizes.keys()],
    config: await object("config.json"),
    settings: await object("config_sentence_transformers.json"),
    adapter: await object("adapter_config.json"),
    modules: (Array.isArray(modules) ? modules : []).flatMap((entry: unknown) => {
      const type: unknown =
        typeof entry === "object" && entry !== null ? Reflect.get(entry, "type") : undefined;
      return typeof type === "string" ? [type] : [];
    }),
    heads: withHeads ? await headsOf(files, listed, options) : new Map(),
    tensors: withHeads ? await tensorsOf(files, listed, options) : new Map(),
  };
}

/** Undefined for a file that is not there, or too large, or cannot be had: a tell-tale then shows nothing. */
async function textOf(
  files: ModelFiles,
  path: string,
  size: number | undefined,
  { signal }: FileRequestOptions,
): Promise<string | undefined> {
  if (size === undefined || size > largestText) return undefined;
  try {
    return await files.readText(path, { signal });
  } catch {
    signal?.throwIfAborted();
    return undefined;
  }
}

async function headsOf(
  files: ModelFiles,
  listed: readonly ModelFile[],
  { signal }: FileRequestOptions,
): Promise<Map<string, Uint8Array>> {
  // A revision is a hub's, where the beginning of a file is had with the whole of it alone.
  const most = files.revision === undefined ? Number.POSITIVE_INFINITY : largestFetched;
  const heads = new Map<string, Uint8Array>();
  for (const { path, size } of listed
    .filter((file) => !isBesides(file.path) && file.size <= most)
    .slice(0, mostHeads)) {
    try {
      heads.set(path, await files.readBytes(path, { start: 0, end: Math.min(size, headBytes) }, { signal }));
    } catch {
      signal?.throwIfAborted();
    }
  }
  return heads;
}

/** Of a folder's: a hub's header may be megabytes behind the beginning, and its file is not at hand. */
async function tensorsOf(
  files: ModelFiles,
  listed: readonly ModelFile[],
  { signal }: FileRequestOptions,
): Promise<Map<string, ReadonlyMap<string, string>>> {
  const tensors = new Map<string, ReadonlyMap<string, string>>();
  if (files.revision !== undefined) return tensors;
  const atRoot = listed.filter(({ path }) => /^[^/]+\.safetensors$/.test(path)).slice(0, mostHeads);
  for (const { path } of atRoot) {
    try {
      const { names, dtype } = await openSafetensors(files, path, { signal });
      tensors.set(path, new Map(names.map((name) => [name, dtype(name)])));
    } catch {
      signal?.throwIfAborted();
    }
  }
  return tensors;
}

/** A name of a model, as a hub's is, or a folder's that is no path of somebody's machine. */
const modelName = /^[\w.-]+(?:\/[\w.-]+)?$/;

/** The model that this one was made from, where its files say so: adapter_config.json, the card, config.json. */
async function baseOf(
  files: ModelFiles,
  { paths, adapter, config }: Evidence,
  options: FileRequestOptions,
): Promise<string | undefined> {
  const card = paths.includes("README.md") ? await textOf(files, "README.md", 0, options) : undefined;
  const names: readonly (readonly [name: unknown, source: string])[] = [
    [adapter["base_model_name_or_path"], "adapter_config.json"],
    [card === undefined ? undefined : readCardBase(card).models[0], "its card"],
    [config["_name_or_path"], "config.json _name_or_path"],
  ];
  const found = names.find(
    ([name]) =>
      typeof name === "string" && name.length < 200 && modelName.test(name) && !name.startsWith("."),
  );
  return found && `${String(found[0])} (by ${found[1]})`;
}
