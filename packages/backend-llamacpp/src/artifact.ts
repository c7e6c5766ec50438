import { type ArtifactWish, hashFile, unknownDtypeError } from "@crossrank/backend-kit";
import {
  type ArtifactInfo,
  type LoadRequest,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
  ModelLoadError,
} from "@crossrank/core";
import { dtypeOfHeader, dtypeOfPath, dtypes, knownDtype } from "./dtype.js";
import { GgufFormatError, type GgufHeader, readGgufHeader } from "./gguf-header.js";

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

/**
 * The file named by `file`; else of the precision asked for, the profile's default, or the most precise there is. In
 * `gguf/` before elsewhere. A file whose name says no precision is the last choice.
 *
 * @throws {ModelFileNotFoundError} when it is not there.
 * @throws {InvalidInputError} when `dtype` is no precision.
 */
export function chooseArtifact(
  model: string,
  listed: readonly ModelFile[],
  wanted: ArtifactWish,
): ArtifactChoice {
  const candidates = listed
    .filter(({ path }) => /\.gguf$/i.test(path) && !/mmproj/i.test(path))
    .map((file) => ({ file, dtype: dtypeOfPath(file.path) }))
    .sort((a, b) => rank(a.file.path) - rank(b.file.path) || (a.file.path < b.file.path ? -1 : 1));
  const found = candidates.map(({ file }) => file.path);

  if (wanted.file !== undefined) {
    const choice = candidates.find(({ file }) => file.path === wanted.file);
    if (choice !== undefined) return choice;
    const fix = found.length > 0 ? "Name one of these in the option `file`." : fixWithoutFiles;
    throw new ModelFileNotFoundError({ model, expected: [wanted.file], found, fix });
  }

  if (wanted.dtype !== undefined && knownDtype(wanted.dtype) === undefined) {
    throw unknownDtypeError(wanted.dtype, dtypes);
  }
  // The profile's default may be the name of another format's precision.
  const dtype = knownDtype(wanted.dtype ?? wanted.defaultDtype ?? "");
  const named = (dtype === undefined ? dtypes : [dtype]).flatMap(
    (name) => candidates.find((candidate) => candidate.dtype === name) ?? [],
  );
  const choice = named[0] ?? candidates.find((candidate) => candidate.dtype === undefined);
  if (choice !== undefined) return choice;
  const others = [...new Set(candidates.flatMap((candidate) => candidate.dtype ?? []))];
  throw new ModelFileNotFoundError({
    model,
    expected: [`gguf/model-${dtype ?? "F32"}.gguf`],
    found,
    fix: others.length > 0 ? `Ask for dtype ${others.join(" or ")}.` : fixWithoutFiles,
  });
}

const fixWithoutFiles =
  "Write one with `crossrank convert --to gguf`, or choose the backend of another format.";

function rank(path: string): number {
  return path.startsWith("gguf/") ? 0 : 1 + path.split("/").length;
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
  const wanted = knownDtype(asked ?? "");
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
