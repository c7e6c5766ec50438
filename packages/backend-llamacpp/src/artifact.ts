import {
  type ArtifactFormat,
  type ArtifactWish,
  chooseArtifact,
  type FoundArtifact,
  hashFile,
  knownDtype,
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
import { dtypeOfHeader, dtypeOfPath, dtypes } from "./dtype.js";

/** Which file to run, before it is fetched. */
export interface ArtifactChoice {
  readonly file: ModelFile;
  /** What its name says; undefined when it says nothing. */
  readonly dtype: string | undefined;
}

/** A file on this machine, its head read. */
export interface LocalArtifact {
  readonly path: string;
  readonly localPath: string;
  readonly header: GgufHeader;
  readonly dtype: string;
}

/** What decides between two files of one precision: `gguf/` before elsewhere, then the shorter path of folders. */
function rank(path: string): number {
  return path.startsWith("gguf/") ? 0 : 1 + path.split("/").length;
}

/** Files that llama.cpp may run, in the order of preference. Those of a vision model's projector are none. */
export function ggufPaths(paths: readonly string[]): readonly string[] {
  return paths
    .filter((path) => /\.gguf$/i.test(path) && !/mmproj/i.test(path))
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** Artifacts of a model's files, the most precise first; last those whose name says no precision. */
export function artifactsAmong(paths: readonly string[]): readonly FoundArtifact[] {
  const found = ggufPaths(paths).map((path) => ({ dtype: dtypeOfPath(path) ?? "?", path }));
  return [...dtypes, "?"].flatMap((dtype) => found.filter((one) => one.dtype === dtype));
}

const fixWithoutFiles =
  "Write one with `crossrank convert --to gguf`, or choose the backend of another format.";

const format: ArtifactFormat = {
  dtypes,
  artifacts: artifactsAmong,
  candidates: ggufPaths,
  expected: (dtype) => [`gguf/model-${dtype}.gguf`],
  fixes: { named: "Name one of these in the option `file` of llamacpp().", none: fixWithoutFiles },
};

/**
 * The file by the rule of all backends. One whose name says no precision is the last choice.
 *
 * @throws {ModelFileNotFoundError} when it is not there.
 * @throws {InvalidInputError} when `dtype` is no precision.
 */
export function chooseFile(
  model: string,
  listed: readonly ModelFile[],
  wanted: ArtifactWish,
): ArtifactChoice {
  const byPath = new Map(listed.map((file) => [file.path, file]));
  const {
    dtype,
    paths: [path],
  } = chooseArtifact(model, [...byPath.keys()], wanted, format);
  return { file: byPath.get(path) as ModelFile, dtype: dtype ?? dtypeOfPath(path) };
}

/**
 * Fetches the file and reads its head.
 *
 * @throws {ModelFileNotFoundError} when it has not the precision asked for.
 * @throws {ModelLoadError} when it is no sound GGUF.
 */
export async function fetchArtifact(
  files: ModelFiles,
  { file, dtype: named }: ArtifactChoice,
  { dtype: asked, signal, onProgress }: Pick<LoadRequest, "dtype" | "signal" | "onProgress">,
): Promise<LocalArtifact> {
  const { path } = file;
  const localPath = await files.localPath(path, { signal, onProgress });
  signal?.throwIfAborted();
  let header: GgufHeader;
  try {
    header = await readGgufHeader(localPath);
  } catch (cause) {
    if (!(cause instanceof GgufFormatError)) throw cause;
    throw new ModelLoadError(
      {
        model: files.id,
        backend: "llamacpp",
        file: path,
        problem: cause.message,
        fix: "Download or convert it again, and compare its sha256",
      },
      { cause },
    );
  }
  const dtype = dtypeOfHeader(header) ?? named ?? "unknown";
  const wanted = knownDtype(asked ?? "", dtypes);
  if (wanted !== undefined && wanted !== dtype) {
    throw new ModelFileNotFoundError({
      model: files.id,
      expected: [`GGUF file of dtype ${wanted}`],
      found: [`${path} (${dtype})`],
      fix: `Ask for dtype ${dtype}.`,
    });
  }
  return { path, localPath, header, dtype };
}

/** What was loaded, with the source's hash, or the file's own where the source has none. */
export async function describeArtifact(
  { file }: ArtifactChoice,
  { path, localPath, dtype }: LocalArtifact,
  signal: AbortSignal | undefined,
): Promise<ArtifactInfo> {
  const sha256 = file.sha256 ?? (await hashFile(localPath, signal));
  return { format: "gguf", dtype, files: [{ path, sha256 }] };
}
