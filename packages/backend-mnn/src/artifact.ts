import {
  type ArtifactFormat,
  type ArtifactWish,
  chooseArtifact,
  type FoundArtifact,
  hashFile,
  requireContent,
} from "@crossrank/backend-kit";
import type { ArtifactInfo, LoadRequest, ModelFile, ModelFiles } from "@crossrank/core";
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

/** Artifacts among a model's files: of each precision the best place alone. */
export function artifactsAmong(paths: readonly string[]): readonly FoundArtifact[] {
  return dtypes.flatMap((dtype) => {
    const path = artifactPaths(dtype).find((candidate) => paths.includes(candidate));
    return path === undefined ? [] : [{ dtype, path }];
  });
}

export function mnnPaths(paths: readonly string[]): readonly string[] {
  return paths.filter((path) => path.endsWith(".mnn")).sort();
}

const format: ArtifactFormat = {
  dtypes,
  artifacts: artifactsAmong,
  candidates: mnnPaths,
  expected: artifactPaths,
  accepts: () => true,
  fixes: {
    named: "Name one of these in the option `file` of mnn().",
    none: "Where the model has safetensors, write it from them with `crossrank convert --to mnn`; else choose the backend of the format that it comes in.",
  },
};

/**
 * The artifact by the rule of all backends.
 *
 * @throws {ModelFileNotFoundError} when it is not there.
 * @throws {InvalidInputError} when `dtype` is no precision.
 */
export function chooseFile(model: string, listed: readonly ModelFile[], wish: ArtifactWish): ArtifactChoice {
  const byPath = new Map(listed.map((file) => [file.path, file]));
  const {
    dtype,
    paths: [path],
  } = chooseArtifact(model, [...byPath.keys()], wish, format);
  return { dtype: dtype ?? dtypeOfFile(path), file: byPath.get(path) as ModelFile };
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
  return {
    format: "mnn",
    dtype,
    files: [{ path, sha256: sha256 ?? (await hashFile(modelPath, { signal })) }],
  };
}
