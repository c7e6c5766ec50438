import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import {
  type ArtifactInfo,
  InvalidInputError,
  type LoadRequest,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
  ModelLoadError,
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
  wanted: {
    readonly file: string | undefined;
    readonly dtype: string | undefined;
    readonly defaultDtype: string | undefined;
  },
): ArtifactChoice {
  const byPath = new Map(listed.map((file) => [file.path, file]));
  if (wanted.file !== undefined) {
    const file = byPath.get(wanted.file);
    if (file !== undefined) return { dtype: dtypeOfFile(file.path), file };
    const fix = "Name one of these in the option `file`.";
    throw new ModelFileNotFoundError({ model, expected: [wanted.file], found: mnnPaths(listed), fix });
  }
  if (wanted.dtype !== undefined && !dtypes.includes(wanted.dtype)) {
    throw new InvalidInputError(
      "dtype",
      `must be one of ${dtypes.join(", ")}, not ${JSON.stringify(wanted.dtype)}`,
    );
  }
  // A profile's default may be the name of another format's precision.
  const preferred = dtypes.filter((dtype) => dtype === wanted.defaultDtype);
  for (const dtype of wanted.dtype === undefined ? [...preferred, ...dtypes] : [wanted.dtype]) {
    const file = artifactPaths(dtype).flatMap((path) => byPath.get(path) ?? [])[0];
    if (file !== undefined) return { dtype, file };
  }
  throw notFound(model, wanted.dtype, listed);
}

/** @throws {ModelLoadError} when the file is empty or a Git LFS pointer. */
export async function fetchArtifact(
  files: ModelFiles,
  { file: { path } }: ArtifactChoice,
  options: Pick<LoadRequest, "signal" | "onProgress">,
): Promise<LocalArtifact> {
  const modelPath = await files.localPath(path, options);
  options.signal?.throwIfAborted();
  const { size } = await stat(modelPath);
  const facts = { model: files.id, backend: "mnn", file: path };
  if (size === 0)
    throw new ModelLoadError({ ...facts, problem: "the file is empty", fix: "Download it again" });
  const handle = await open(modelPath);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0);
    if (buffer.toString("latin1", 0, bytesRead).startsWith("version https://git-lfs")) {
      const fix = "Run `git lfs pull` in the model's folder";
      throw new ModelLoadError({ ...facts, problem: "it is a Git LFS pointer, not the file itself", fix });
    }
  } finally {
    await handle.close();
  }
  return { modelPath, bytes: size };
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

function notFound(
  model: string,
  dtype: string | undefined,
  listed: readonly ModelFile[],
): ModelFileNotFoundError {
  const expected = artifactPaths(dtype ?? "fp32");
  const paths = mnnPaths(listed);
  const others = dtypes.filter((name) => artifactPaths(name).some((path) => paths.includes(path)));
  if (others.length > 0) {
    const found = others.flatMap((name) => artifactPaths(name).filter((path) => paths.includes(path)));
    return new ModelFileNotFoundError({
      model,
      expected,
      found,
      fix: `Ask for dtype ${others.join(" or ")}.`,
    });
  }
  return new ModelFileNotFoundError({
    model,
    expected,
    found: paths,
    fix:
      paths.length > 0
        ? "Name one of these in the option `file` of mnn()."
        : "Convert the model to MNN, or choose the backend of the format that it comes in.",
  });
}

async function hashFile(path: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal })) {
    hash.update(chunk as Buffer);
  }
  return hash.digest("hex");
}
