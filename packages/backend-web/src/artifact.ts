import { type ArtifactPart, collectParts, dtypeToTell } from "@crossrank/backend-onnx/graph";
import {
  type ArtifactInfo,
  type LoadRequest,
  type ModelFile,
  type ModelFiles,
  ModelLoadError,
} from "@crossrank/core";
import {
  type ByteSource,
  type GraphNodes,
  type GraphSummary,
  precisionOf,
  readGraph,
  readNodes,
} from "@crossrank/formats/onnx";
import { sha256 } from "./sha256.js";

/** What WebAssembly can address, less what a model needs beside its weights. */
const mostBytes = 2 ** 31 - 1;
const pieceBytes = 1 << 24;
const pointerStart = "version https://git-lfs";

/** An artifact in the browser's memory, or where the browser keeps its blobs. */
export interface BlobArtifact {
  /** The .onnx first. */
  readonly parts: readonly [ArtifactPart<Blob>, ...ArtifactPart<Blob>[]];
  /** What the .onnx says; undefined where it cannot be followed. */
  readonly graph: GraphSummary | undefined;
  /** Its nodes; undefined where they cannot be read. */
  readonly nodes: GraphNodes | undefined;
}

/** @throws {ModelLoadError} when a file is missing, empty, a Git LFS pointer, too short, too large, or outside of the model. */
export async function readArtifact(
  files: ModelFiles,
  file: ModelFile,
  options: Pick<LoadRequest, "signal" | "onProgress">,
): Promise<BlobArtifact> {
  const listed = await files.list({ signal: options.signal });
  let room = mostBytes;
  const fetch = async (path: string): Promise<{ place: Blob; bytes: number }> => {
    const size = listed.find((one) => one.path === path)?.size ?? 0;
    const facts = { model: files.id, backend: "web", file: path };
    if (size === 0) {
      throw new ModelLoadError({ ...facts, problem: "the file is empty", fix: "Download it again" });
    }
    if (size > room) {
      throw new ModelLoadError({
        ...facts,
        problem: `the model is larger than the ${mostBytes} bytes that a page can hold`,
        fix: "Take a smaller precision",
      });
    }
    room -= size;
    const place = await readWhole(files, { path, size }, options);
    if ((await place.slice(0, 64).text()).startsWith(pointerStart)) {
      const fix = "Publish the file itself: run `git lfs pull` where the files are served from";
      throw new ModelLoadError({ ...facts, problem: "it is a Git LFS pointer, not the file itself", fix });
    }
    return { place, bytes: place.size };
  };
  const { parts, graph } = await collectParts(
    { files, file, backend: "web" },
    { fetch, read: (blob) => readGraph(sourceOf(blob)) },
    options.signal,
  );
  return { parts, graph, nodes: await readNodes(sourceOf(parts[0].place)) };
}

/** What was loaded, with the source's hashes, or the files' own where the source has none. */
export async function describeArtifact(files: ModelFiles, artifact: BlobArtifact): Promise<ArtifactInfo> {
  const [main] = artifact.parts;
  const content = artifact.graph === undefined ? undefined : precisionOf(artifact.graph).dtype;
  const hashed: { path: string; sha256: string }[] = [];
  for (const { file, place } of artifact.parts) {
    const hash = file.sha256 ?? (await sha256(place));
    if (hash === undefined) {
      throw new ModelLoadError({
        model: files.id,
        backend: "web",
        file: file.path,
        problem: "its sha256 cannot be computed, because the page is no secure context",
        fix: "Serve the page over https, or from localhost",
      });
    }
    hashed.push({ path: file.path, sha256: hash });
  }
  return { format: "onnx", dtype: dtypeToTell(main.file.path, content), files: hashed };
}

async function readWhole(
  files: ModelFiles,
  { path, size }: Pick<ModelFile, "path" | "size">,
  options: Pick<LoadRequest, "signal" | "onProgress">,
): Promise<Blob> {
  const pieces: Blob[] = [];
  for (let start = 0; start < size; ) {
    options.signal?.throwIfAborted();
    const end = Math.min(size, start + pieceBytes);
    const piece = await files.readBytes(path, { start, end }, options);
    if (piece.length === 0) break;
    pieces.push(new Blob([piece as Uint8Array<ArrayBuffer>]));
    start += piece.length;
  }
  return new Blob(pieces);
}

function sourceOf(blob: Blob): ByteSource {
  return {
    size: blob.size,
    read: async (start, end) => new Uint8Array(await blob.slice(start, Math.max(start, end)).arrayBuffer()),
  };
}
