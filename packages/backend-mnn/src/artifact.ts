import {
  type ArtifactWish,
  artifactNotFoundError,
  dtypesToTry,
  hashFile,
  requireContent,
} from "@crossrank/backend-kit";
import {
  type ArtifactInfo,
  type LoadRequest,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
} from "@crossrank/core";
import { artifactPaths, dtypeOfFile, dtypes } from "./dtype.js";

/** Which file to run, before it is fetched. */
export interface ArtifactChoice {
  readonly dtype: string;
  readonly file: ModelFile;
}

/** An artifact on this machine. */
export interface LocalArtifact {
  readonly modelPath: string;
  readonly bytes: number;
}

/**
 * The file named by `file`; else of the precision asked for, the profile's default, or the most precise there is.
 *
 * @throws {ModelFileNotFoundError} when it is not there.
 * @throws {InvalidInputError} when `dtype` is no precision.
 */
export function chooseArtifact(
  model: string,
  listed: readonly ModelFile[],
  wanted: ArtifactWish,
): ArtifactChoice {
  const byPath = new Map(listed.map((file) => [file.path, file]));
  if (wanted.file !== undefined) {
    const file = byPath.get(wanted.file);
    if (file !== undefined) return { dtype: dtypeOfFile(file.path), file };
    const fix = "Name one of these in the option `file`.";
    throw new ModelFileNotFoundError({ model, expected: [wanted.file], found: mnnPaths(listed), fix });
  }
  for (const dtype of dtypesToTry(wanted, dtypes)) {
    const file = artifactPaths(dtype).flatMap((path) => byPath.get(path) ?? [])[0];
    if (file !== undefined) return { dtype, file };
  }
  throw artifactNotFoundError({
    model,
    expected: artifactPaths(wanted.dtype ?? "fp32"),
    dtypes,
    find: (dtype) => artifactPaths(dtype).filter((path) => byPath.has(path)),
    found: mnnPaths(listed),
    fixes: {
      named: "Name one of these in the option `file` of mnn().",
      none: "Convert the model to MNN, or choose the backend of the format that it comes in.",
    },
  });
}

/** @throws {ModelLoadError} when the file is empty or a Git LFS pointer. */
export async function fetchArtifact(
  files: ModelFiles,
  { file: { path } }: ArtifactChoice,
  options: Pick<LoadRequest, "signal" | "onProgress">,
): Promise<LocalArtifact> {
  const modelPath = await files.localPath(path, options);
  options.signal?.throwIfAborted();
  const bytes = await requireContent({ model: files.id, backend: "mnn", file: path }, modelPath);
  return { modelPath, bytes };
}

/** What was loaded, with the source's hash, or the file's own where the source has none. */
export async function describeArtifact(
  { dtype, file: { path, sha256 } }: ArtifactChoice,
  { modelPath }: LocalArtifact,
  signal: AbortSignal | undefined,
): Promise<ArtifactInfo> {
  return { format: "mnn", dtype, files: [{ path, sha256: sha256 ?? (await hashFile(modelPath, signal)) }] };
}

function mnnPaths(listed: readonly ModelFile[]): readonly string[] {
  return listed.flatMap(({ path }) => (path.endsWith(".mnn") ? [path] : [])).sort();
}
