import { stat } from "node:fs/promises";
import { basename, dirname, extname, isAbsolute, join } from "node:path";
import { InvalidInputError, type ModelFiles } from "@crossrank/core";
import { defaultModel } from "./default-model.js";
import { isAskedFor, type Precision, precisionsAmong } from "./registry.js";

/** A model as somebody writes it, taken apart. */
export interface ModelReference {
  /** A folder, or a repository id, also with `@revision`. */
  readonly source: string;
  /** A branch, tag or commit that the address names. */
  readonly revision: string | undefined;
  /** Where in the repository the model is, with `/` between folders. Undefined for its root. */
  readonly folder?: string | undefined;
  /** The artifact to run: a file by its name, or a precision (`owner/name:Q8_0`). */
  readonly artifact: { readonly file: string } | { readonly dtype: string } | undefined;
}

/** Files that are an artifact by themselves. */
const artifactEndings = new Set([".gguf", ".onnx", ".mnn"]);

/** Folders that are one, by their ending: a file that each has, and the path by which the folder runs (`""`: its own). */
const packages: Readonly<Record<string, { readonly has: string; readonly runs: string }>> = {
  ".mlpackage": { has: "Manifest.json", runs: "" },
  ".ctranslate2": { has: "model.bin", runs: "/model.bin" },
};

function packageOf(name: string): (typeof packages)[string] | undefined {
  const ending = extname(name).toLowerCase();
  return Object.hasOwn(packages, ending) ? packages[ending] : undefined;
}

/** Hosts by which the hub is known, beside the endpoint that the environment names. */
const hubHosts = ["huggingface.co", "www.huggingface.co", "hf.co"];

/**
 * Takes apart: a file or package that is an artifact, whose folder is the model, or the folder around it where that holds
 * no more; `owner/name`, with a folder in it (`owner/name/sub`), a file in it, a revision (`@v1`) and a precision (`:Q8_0`)
 * behind it; and an address on the hub, as a browser shows it. Everything else is left as it is.
 *
 * @throws {InvalidInputError} for an address on the hub that is no model's.
 */
export async function parseReference(model: string): Promise<ModelReference> {
  const status = await stat(model).catch(() => undefined);
  if (status !== undefined) return localReference(model, status.isDirectory());
  await refuseLocalPrecision(model);
  if (isAbsolute(model) || /^(\.{1,2}|~)([/\\]|$)/.test(model)) return whole(model);
  const plain = await withoutHost(model);
  const [, path = "", revision, dtype] = /^([^@:]*)(?:@([^:]*))?(?::([\w.-]+))?$/.exec(plain ?? model) ?? [];
  const [owner = "", name = "", ...rest] = path.replace(/\/+$/, "").split("/");
  const isId = [owner, name].every((part) => /^[\w.-]+$/.test(part));
  if (!isId) {
    if (plain === undefined) return whole(model);
    throw new InvalidInputError(
      "model",
      `${model} is no address of a model; pass that of its page, or owner/name`,
    );
  }
  if (plain === undefined) {
    const source = revision === undefined ? `${owner}/${name}` : `${owner}/${name}@${revision}`;
    return placed(model, { source, revision: undefined }, rest, dtype);
  }
  return placed(model, ...partsOfAddress(model, { source: `${owner}/${name}`, revision }, rest), dtype);
}

/** Where `crossrank convert` puts what it writes: a model's own folder, else a new one by the end of its name. */
export async function defaultOutput(model: string): Promise<string> {
  if (model === defaultModel) return `./${model}`;
  const { isFolderSource } = await import("@crossrank/hub");
  const { source, folder } = await parseReference(model);
  if (await isFolderSource(source)) return source;
  const [id = ""] = source.split("@");
  return `./${(folder ?? id).split("/").at(-1)}`;
}

/** @throws {InvalidInputError} for a folder or file with a precision behind it. */
async function refuseLocalPrecision(model: string): Promise<void> {
  const [, place = "", dtype = ""] = /^(.+):([\w.-]+)$/s.exec(model) ?? [];
  if (place === "" || !(await exists(place))) return;
  throw new InvalidInputError(
    "model",
    `${model} has a precision behind a colon, which is for repositories, and ${place} lies on this machine; pass ${place}, and ${dtype} as the option dtype (--dtype)`,
  );
}

function whole(source: string): ModelReference {
  return { source, revision: undefined, artifact: undefined };
}

async function localReference(model: string, isFolder: boolean): Promise<ModelReference> {
  const folderKind = isFolder ? packageOf(withoutSlash(model)) : undefined;
  const isArtifact = isFolder
    ? folderKind !== undefined && (await exists(join(model, folderKind.has)))
    : artifactEndings.has(extname(model).toLowerCase());
  if (!isArtifact) {
    // Weights are the model's, and no choice among its artifacts.
    const isWeights = !isFolder && extname(model).toLowerCase() === ".safetensors";
    return whole(isWeights ? dirname(model) : model);
  }
  const name = basename(withoutSlash(model));
  const file = `${name}${folderKind?.runs ?? ""}`;
  const folder = dirname(withoutSlash(model));
  const around = dirname(folder);
  if (!(await describesModel(folder)) && (await describesModel(around)) && around !== folder) {
    return { source: around, revision: undefined, artifact: { file: `${basename(folder)}/${file}` } };
  }
  return { source: folder, revision: undefined, artifact: { file } };
}

function withoutSlash(path: string): string {
  return path.length > 1 ? path.replace(/[\\/]+$/, "") : path;
}

async function describesModel(folder: string): Promise<boolean> {
  const found = await Promise.all(
    ["config.json", "crossrank.json", "tokenizer.json"].map((name) => exists(join(folder, name))),
  );
  return found.includes(true);
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/** What an address on the hub says behind its host; undefined for what is no such address. */
async function withoutHost(model: string): Promise<string | undefined> {
  if (model.startsWith("hf://")) return decoded(model.slice(5));
  const { readEnvironment } = await import("@crossrank/hub");
  const { endpoint } = await readEnvironment();
  const hosts = [...hubHosts, endpoint.replace(/^https?:\/\//, "")];
  const bare = model.replace(/^https?:\/\//, "");
  const host = hosts.find((one) => bare.toLowerCase().startsWith(`${one.toLowerCase()}/`));
  return host === undefined ? undefined : decoded(bare.slice(host.length + 1).replace(/[?#].*$/s, ""));
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Of an address: the revision behind `tree`, `blob`, `resolve` or `raw`, and what follows. */
function partsOfAddress(
  model: string,
  { source, revision }: Pick<ModelReference, "source" | "revision">,
  rest: readonly string[],
): [Pick<ModelReference, "source" | "revision">, readonly string[]] {
  const [kind, ...behind] = rest;
  if (kind === undefined) return [{ source, revision }, []];
  const [first, second, third] = behind;
  if (!["tree", "blob", "resolve", "raw"].includes(kind) || first === undefined || revision !== undefined) {
    throw new InvalidInputError(
      "model",
      `${model} is no address of a model; pass that of its page, of a folder or a file of it, or owner/name`,
    );
  }
  const isReference = first === "refs" && second !== undefined && third !== undefined;
  const named = isReference ? `refs/${second}/${third}` : first;
  return [{ source, revision: named }, behind.slice(isReference ? 3 : 1)];
}

/** With the folder that `rest` names, and the artifact, where its end is one. */
function placed(
  model: string,
  place: Pick<ModelReference, "source" | "revision">,
  rest: readonly string[],
  dtype: string | undefined,
): ModelReference {
  if (rest.some((part) => part === "" || part === "." || part === ".." || part.includes("\\"))) {
    throw new InvalidInputError("model", `${model} names no folder of a repository`);
  }
  const last = rest.at(-1) ?? "";
  const ending = extname(last).toLowerCase();
  const isArtifact = artifactEndings.has(ending) || packageOf(last) !== undefined;
  // Other files are shown by an address as well, and say no more than their folder.
  const isOther = !isArtifact && /\.(json|safetensors|md|txt|bin|model|jinja)$/i.test(last);
  const folders = isArtifact || isOther ? rest.slice(0, -1) : rest;
  if (isArtifact && dtype !== undefined) {
    throw new InvalidInputError("model", `${model} names a file and a precision; name one of them`);
  }
  return {
    ...place,
    ...(folders.length === 0 ? {} : { folder: folders.join("/") }),
    artifact: isArtifact
      ? { file: `${last}${packageOf(last)?.runs ?? ""}` }
      : dtype === undefined
        ? undefined
        : { dtype },
  };
}

/**
 * The files in a folder of a model, as a model of their own.
 *
 * @throws {InvalidInputError} when there are none.
 */
export async function inFolder(
  files: ModelFiles,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<ModelFiles> {
  const prefix = `${folder}/`;
  const all = (await files.list({ signal })).map(({ path }) => path);
  if (!all.some((path) => path.startsWith(prefix))) {
    const folders = [...new Set(all.flatMap((path) => /^(.*)\/[^/]*$/.exec(path)?.[1] ?? []))].sort();
    throw new InvalidInputError(
      "model",
      `asks for ${folder} in ${files.id}, which has ${folders.length === 0 ? "no folders" : `the folders ${folders.slice(0, 20).join(", ")}`}`,
    );
  }
  return {
    id: `${files.id}/${folder}`,
    revision: files.revision,
    list: async (options) =>
      (await files.list(options)).flatMap((file) =>
        file.path.startsWith(prefix) ? [{ ...file, path: file.path.slice(prefix.length) }] : [],
      ),
    readText: (path, options) => files.readText(prefix + path, options),
    readBytes: (path, range, options) => files.readBytes(prefix + path, range, options),
    localPath: (path, options) => files.localPath(prefix + path, options),
  };
}

/**
 * The same model with one artifact of all, so that nothing else is chosen.
 *
 * @throws {InvalidInputError} when the model has none of the precision, or no such file.
 */
export async function withOneArtifact(
  files: ModelFiles,
  artifact: NonNullable<ModelReference["artifact"]>,
  signal: AbortSignal | undefined,
): Promise<ModelFiles> {
  const listed = await files.list({ signal });
  const paths = listed.map(({ path }) => path);
  const precisions = await precisionsAmong(paths);
  const chosen =
    "file" in artifact ? artifact.file : (await artifactOfPrecision(precisions, artifact.dtype))?.path;
  if (chosen === undefined) {
    const there = [...new Set(precisions.map(({ dtype }) => dtype))].filter((dtype) => dtype !== "?");
    throw new InvalidInputError(
      "model",
      `asks for ${"dtype" in artifact ? artifact.dtype : ""}, and ${files.id} has ${there.length === 0 ? "no artifact whose name says its precision" : there.join(", ")}`,
    );
  }
  if (!paths.some((path) => path === chosen || path.startsWith(`${chosen}/`))) {
    const there = paths.filter((path) => artifactEndings.has(extname(path).toLowerCase()));
    throw new InvalidInputError(
      "model",
      `asks for ${chosen}, and ${files.id} has ${there.length === 0 ? "no such file" : there.slice(0, 20).join(", ")}`,
    );
  }
  const others = new Set(precisions.map(({ path }) => path).filter((path) => path !== chosen));
  const isOther = (path: string): boolean =>
    path !== chosen &&
    !path.startsWith(`${chosen}/`) &&
    !isPartOfSame(path, chosen) &&
    (others.has(path) ||
      artifactEndings.has(extname(path).toLowerCase()) ||
      path.split("/").some((part) => packageOf(part) !== undefined) ||
      [...others].some((other) => path.startsWith(`${other}/`)));
  return {
    id: files.id,
    revision: files.revision,
    list: async (options) => (await files.list(options)).filter(({ path }) => !isOther(path)),
    readText: (path, options) => files.readText(path, options),
    readBytes: (path, range, options) => files.readBytes(path, range, options),
    localPath: (path, options) => files.localPath(path, options),
  };
}

/**
 * Of a publisher's many spellings (`FP16`, `Q4_K`, `UD-Q8_0`) those count that count in the name of a file: the format's
 * own rule is asked what a file of that name would be.
 */
export async function artifactOfPrecision(
  precisions: readonly Precision[],
  asked: string,
): Promise<Precision | undefined> {
  const byDtype = precisions.filter(({ onlyByName }) => onlyByName === undefined);
  const exact =
    precisions.find((one) => isAskedFor(one, asked)) ??
    byDtype.find((one) => plainName(one.dtype) === plainName(asked));
  if (exact !== undefined) return exact;
  const endings = new Set(byDtype.map(({ path }) => extname(path).toLowerCase()));
  const named = await precisionsAmong([...endings].map((ending) => `model-${asked}${ending}`));
  return byDtype.find((one) =>
    named.some(({ backend, dtype }) => one.backend === backend && one.dtype === dtype && dtype !== "?"),
  );
}

/** Whether both are parts of one GGUF, as llama.cpp numbers them: `model-00001-of-00003.gguf`. */
function isPartOfSame(path: string, other: string): boolean {
  const whole = /-\d{5}(-of-\d{5}\.gguf)$/i;
  return whole.test(path) && path.replace(whole, "$1") === other.replace(whole, "$1");
}

/** Publishers write FP16 for GGUF's F16 and f16 for ONNX's fp16. */
function plainName(dtype: string): string {
  return dtype.toLowerCase().replace(/^fp(?=\d)/, "f");
}

/** Whether the files hold something that a backend runs as it is. */
export function hasArtifact(paths: readonly string[]): boolean {
  return paths.some((path) =>
    path
      .toLowerCase()
      .split("/")
      .some((part) => packageOf(part) !== undefined || artifactEndings.has(extname(part))),
  );
}

/** The GGUF that would run, whose metadata stand for the files that a repository of GGUF alone leaves out. */
export async function ggufAmong(paths: readonly string[]): Promise<string | undefined> {
  const found = (await precisionsAmong(paths)).filter(({ path }) => extname(path).toLowerCase() === ".gguf");
  return found[0]?.path;
}
