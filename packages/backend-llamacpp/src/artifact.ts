import {
  type ArtifactFormat,
  type ArtifactWish,
  chooseArtifact,
  type FoundArtifact,
  hashFile,
} from "@crossrank/backend-kit";
import {
  type ArtifactInfo,
  type LoadRequest,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
  ModelLoadError,
} from "@crossrank/core";
import { GgufFormatError, type GgufHeader, readGgufHeader } from "@crossrank/formats/gguf";
import { dtypeOfHeader, dtypeOfPath, dtypes, isFloat, precisionNamed, shownDtype } from "./dtype.js";
import { joinHeaders, partsOf, splitName } from "./split.js";

/** Which file to run, before it is fetched. */
export interface ArtifactChoice {
  /** One, or the parts of one that was split, in their order. */
  readonly files: readonly [ModelFile, ...ModelFile[]];
  /** What its name says; undefined when it says nothing. */
  readonly dtype: string | undefined;
}

/** A file on this machine, its head read. Of one in parts the first, which names the others to llama.cpp. */
export interface LocalArtifact {
  readonly path: string;
  readonly localPaths: readonly [string, ...string[]];
  /** Of parts the metadata of the first, and the tensors of all. */
  readonly header: GgufHeader;
  readonly dtype: string;
}

/** What decides between two files of one precision: `gguf/` before elsewhere, then the shorter path of folders. */
function rank(path: string): number {
  return path.startsWith("gguf/") ? 0 : 1 + path.split("/").length;
}

/**
 * Files that llama.cpp may run, in the order of preference; of a split one the first part. Those of a vision model's
 * projector and of a quantiser's measurements are none.
 */
export function ggufPaths(paths: readonly string[]): readonly string[] {
  const there = new Set(paths);
  const isLaterPart = (path: string): boolean => {
    const first = splitName(path)?.first;
    return first !== undefined && first !== path && there.has(first);
  };
  return paths
    .filter((path) => /\.gguf$/i.test(path) && !/mmproj|imatrix/i.test(path) && !isLaterPart(path))
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** Artifacts of a model's files, the most precise first; last those whose name says no precision. */
export function artifactsAmong(paths: readonly string[]): readonly FoundArtifact[] {
  const found = ggufPaths(paths).map((path) => ({ dtype: dtypeOfPath(path) ?? "?", path }));
  return [...dtypes, "?"].flatMap((dtype) => found.filter((one) => one.dtype === dtype));
}

const fixWithoutFiles =
  "Where the model has safetensors, write one from them with `crossrank convert --to gguf`; else choose the backend of the format that it comes in.";

/**
 * Bytes above which a float artifact comes behind Q8_0 where nobody asked for a precision: half the bytes and the time,
 * for a difference below that of two runs of a benchmark.
 */
const largeArtifact = 2e9;

/** The precisions in the order to take them where nobody asked for one. */
function orderFor(listed: readonly ModelFile[]): readonly string[] {
  const sizes = new Map(listed.map(({ path, size }) => [path, size]));
  const paths = [...sizes.keys()];
  const artifacts = artifactsAmong(paths);
  const isLarge = (dtype: string): boolean => {
    const first = artifacts.find((artifact) => artifact.dtype === dtype)?.path;
    const parts = first === undefined ? [] : partsOf(first, paths);
    return parts.reduce((sum, path) => sum + (sizes.get(path) ?? 0), 0) > largeArtifact;
  };
  const large = dtypes.filter((dtype) => isFloat(dtype) && isLarge(dtype));
  const others = dtypes.filter((dtype) => !large.includes(dtype));
  const behind = others.indexOf("Q8_0") + 1;
  return [...others.slice(0, behind), ...large, ...others.slice(behind)];
}

const format: ArtifactFormat = {
  dtypes,
  artifacts: artifactsAmong,
  candidates: ggufPaths,
  expected: (dtype) => [`gguf/model-${dtype}.gguf`],
  accepts: (path) => ggufPaths([path]).length > 0,
  fixes: { named: "Name one of these in the option `file` of llamacpp().", none: fixWithoutFiles },
};

/**
 * The file by the rule of all backends. One whose name says no precision is the last choice, and a float one above 2 GB
 * comes behind Q8_0.
 *
 * @throws {ModelFileNotFoundError} when it, or a part of it, is not there.
 * @throws {InvalidInputError} when `dtype` is no precision.
 */
export function chooseFile(
  model: string,
  listed: readonly ModelFile[],
  wanted: ArtifactWish,
): ArtifactChoice {
  const byPath = new Map(listed.map((file) => [file.path, file]));
  const paths = [...byPath.keys()];
  const {
    dtype,
    paths: [path],
  } = chooseArtifact(model, paths, wishOf(wanted), { ...format, dtypes: orderFor(listed) });
  const parts = partsOf(path, paths);
  const missing = parts.filter((part) => !byPath.has(part));
  if (missing.length > 0) {
    throw new ModelFileNotFoundError({
      model,
      expected: missing,
      found: parts.filter((part) => byPath.has(part)),
      fix: "Put all parts of the file into one folder.",
    });
  }
  const [first, ...others] = parts.map((part) => byPath.get(part) as ModelFile);
  return { files: [first as ModelFile, ...others], dtype: dtype ?? dtypeOfPath(path) };
}

/** With the names that publishers write, such as UD-Q4_K_XL. */
function wishOf(wanted: ArtifactWish): ArtifactWish {
  const spelled = (dtype: string | undefined): string | undefined =>
    dtype === undefined ? undefined : (precisionNamed(dtype) ?? dtype);
  return { ...wanted, dtype: spelled(wanted.dtype), defaultDtype: spelled(wanted.defaultDtype) };
}

/**
 * Fetches the file, or all its parts, and reads their heads.
 *
 * @throws {ModelFileNotFoundError} when it has not the precision asked for.
 * @throws {ModelLoadError} when it is no sound GGUF.
 */
export async function fetchArtifact(
  files: ModelFiles,
  { files: parts, dtype: named }: ArtifactChoice,
  { dtype: asked, signal, onProgress }: Pick<LoadRequest, "dtype" | "signal" | "onProgress">,
): Promise<LocalArtifact> {
  const [{ path }] = parts;
  const headers: GgufHeader[] = [];
  const localPaths: string[] = [];
  for (const part of parts) {
    const localPath = await files.localPath(part.path, { signal, onProgress });
    signal?.throwIfAborted();
    headers.push(await sound(files.id, part.path, () => readGgufHeader(localPath)));
    localPaths.push(localPath);
  }
  const header = await sound(files.id, path, async () => joinHeaders(headers));
  const [first, ...others] = localPaths;
  const dtype = shownDtype(dtypeOfHeader(header), named);
  const wanted = precisionNamed(asked ?? "");
  if (wanted !== undefined && wanted !== dtype) {
    throw new ModelFileNotFoundError({
      model: files.id,
      expected: [`GGUF file of dtype ${wanted}`],
      found: [`${path} (${dtype})`],
      fix: `Ask for dtype ${dtype}${named === dtype ? "" : ", or name the file itself"}.`,
    });
  }
  return { path, localPaths: [first as string, ...others], header, dtype };
}

async function sound<T>(model: string, file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    if (!(cause instanceof GgufFormatError)) throw cause;
    const fix = "Download or convert it again, and compare its sha256";
    throw new ModelLoadError({ model, backend: "llamacpp", file, problem: cause.message, fix }, { cause });
  }
}

/** What was loaded, with the source's hashes, or the files' own where the source has none. */
export async function describeArtifact(
  { files }: ArtifactChoice,
  { localPaths, dtype }: LocalArtifact,
  signal: AbortSignal | undefined,
): Promise<ArtifactInfo> {
  const hashed: { path: string; sha256: string }[] = [];
  for (const [index, { path, sha256 }] of files.entries()) {
    hashed.push({ path, sha256: sha256 ?? (await hashFile(localPaths[index] as string, { signal })) });
  }
  return { format: "gguf", dtype, files: hashed };
}
