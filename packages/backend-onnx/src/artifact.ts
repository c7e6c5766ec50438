import { realpath } from "node:fs/promises";
import { basename, dirname } from "node:path";
import {
  type ArtifactFormat,
  type ArtifactWish,
  chooseArtifact,
  type FoundArtifact,
  hashFiles,
  requireContent,
} from "@crossrank/backend-kit";
import type { ArtifactInfo, LoadRequest, ModelFile, ModelFiles } from "@crossrank/core";
import { artifactPaths, dtypeOfFile, dtypes } from "./dtype.js";

/** Which files to run, before any is fetched. */
export interface ArtifactChoice {
  readonly dtype: string;
  /** The .onnx file first, then its external data. */
  readonly files: readonly ModelFile[];
}

/** An artifact on this machine. */
export interface LocalArtifact {
  readonly modelPath: string;
  /** Absolute paths of all files, `modelPath` first. */
  readonly paths: readonly string[];
  /** External data that ONNX Runtime would not find or refuse, by the name that the graph uses. */
  readonly detachedData: readonly { readonly name: string; readonly path: string }[];
  /** Bytes of all files together. */
  readonly bytes: number;
}

/** Artifacts of a model's files: of each precision the best place alone. */
export function artifactsAmong(paths: readonly string[]): readonly FoundArtifact[] {
  const there = new Set(paths);
  return dtypes.flatMap((dtype) => {
    const path = artifactPaths(dtype).find((candidate) => there.has(candidate));
    return path === undefined ? [] : [{ dtype, path }];
  });
}

export function onnxPaths(paths: readonly string[]): readonly string[] {
  return paths.filter((path) => path.endsWith(".onnx")).sort();
}

const format: ArtifactFormat = {
  dtypes,
  artifacts: artifactsAmong,
  candidates: onnxPaths,
  expected: artifactPaths,
  // ONNX Runtime has a format of its own besides, with other endings.
  accepts: () => true,
  fixes: {
    named: "Name one of these in the option `file` of onnx().",
    none: "Write it from the model's safetensors with `crossrank convert --to onnx`, or choose the backend of the format that it comes in.",
  },
};

/**
 * The artifact by the rule of all backends, with its external data.
 *
 * @throws {ModelFileNotFoundError} when it is not there.
 * @throws {InvalidInputError} when `dtype` is no precision.
 */
export function chooseFiles(
  model: string,
  listed: readonly ModelFile[],
  wanted: ArtifactWish,
): ArtifactChoice {
  const byPath = new Map(listed.map((file) => [file.path, file]));
  const {
    dtype,
    paths: [path],
  } = chooseArtifact(model, [...byPath.keys()], wanted, format);
  return {
    dtype: dtype ?? dtypeOfFile(path),
    files: [path, ...externalData(path, byPath)].flatMap((name) => byPath.get(name) ?? []),
  };
}

/** Fetches the files, one after the other, the small graph first. @throws {ModelLoadError} when one is empty or a Git LFS pointer. */
export async function fetchArtifact(
  files: ModelFiles,
  { files: chosen }: ArtifactChoice,
  options: Pick<LoadRequest, "signal" | "onProgress">,
): Promise<LocalArtifact> {
  const paths: string[] = [];
  let bytes = 0;
  for (const { path } of chosen) {
    const localPath = await files.localPath(path, options);
    options.signal?.throwIfAborted();
    bytes += await requireContent({ model: files.id, backend: "onnx", file: path }, localPath);
    paths.push(localPath);
  }
  const [modelPath = "", ...dataPaths] = paths;
  const detachedData: { name: string; path: string }[] = [];
  for (const [index, path] of dataPaths.entries()) {
    const name = basename(chosen[index + 1]?.path ?? path);
    if (await isDetached(modelPath, path, name)) {
      detachedData.push({ name, path });
    }
  }
  return { modelPath, paths, detachedData, bytes };
}

/** What was loaded, with the source's hashes, or the file's own where the source has none. */
export async function describeArtifact(
  files: ModelFiles,
  { dtype, files: chosen }: ArtifactChoice,
  signal: AbortSignal | undefined,
): Promise<ArtifactInfo> {
  return { format: "onnx", dtype, files: await hashFiles(files, chosen, signal) };
}

/** Names as exporters write them: `model.onnx_data`, `model.onnx_data_1`, `model.onnx.data`. */
function externalData(path: string, byPath: ReadonlyMap<string, ModelFile>): readonly string[] {
  return [...byPath.keys()].filter((name) => /^[._]data(_\d+)?$/.test(suffixOf(name, path))).sort();
}

function suffixOf(name: string, prefix: string): string {
  return name.startsWith(prefix) ? name.slice(prefix.length) : "";
}

/**
 * ONNX Runtime follows symbolic links and then refuses external data outside of the model's real folder
 * ("External data path escapes model directory"); and it looks for it under the name that the graph uses.
 */
async function isDetached(modelPath: string, dataPath: string, name: string): Promise<boolean> {
  const beside = dirname(modelPath) === dirname(dataPath) && basename(dataPath) === name;
  return !beside || dirname(await realpath(modelPath)) !== dirname(await realpath(dataPath));
}
