import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import type { WriteProgress } from "../progress.js";
import type { Graph } from "./graph.js";
import { type ExternalPlace, graphHead, modelHead, tensorHead } from "./messages.js";
import { byteLength, type StoredTensor } from "./tensor.js";

export interface ModelFileRequest {
  readonly path: string;
  readonly graph: Graph;
  readonly name: string;
  readonly opset: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** Bytes from which on the weights get a file of their own; at most {@link largestMessage}. */
  readonly externalFrom: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: WriteProgress) => void) | undefined;
}

/** A protobuf message ends below 2 GiB, and so does an ONNX file without external data. */
export const largestMessage: number = 2 ** 31 - 1;

/** So that a runtime can map a tensor into memory: advice of onnx.proto, at `TensorProto.external_data`. */
const alignment = 4096;

/** Shapes and the like stay in the graph, where tools look for them. */
const externalTensorFrom = 1024;

/** @returns absolute paths of what was written: the graph, and the file of its weights where there is one. */
export async function writeModelFile(request: ModelFileRequest): Promise<readonly string[]> {
  const tensors = [...request.graph.tensors.values()];
  const bytes = tensors.reduce((sum, tensor) => sum + byteLength(tensor), 0);
  if (bytes < request.externalFrom) {
    const { parts, total } = layOut(request, tensors, new Map());
    if (total < request.externalFrom) {
      await writeFile(request, request.path, parts, { before: 0, total });
      return [request.path];
    }
  }
  const dataPath = `${request.path}_data`;
  const { places, parts, length } = placeOutside(tensors, basename(dataPath));
  const graph = layOut(request, tensors, places);
  const total = graph.total + length;
  await writeFile(request, dataPath, parts, { before: 0, total });
  await writeFile(request, request.path, graph.parts, { before: length, total });
  return [request.path, dataPath];
}

/** What a file is made of, in order. */
type Part = Uint8Array | StoredTensor;

/** The lengths of everything are known ahead, so that no message has to be whole in memory. */
function layOut(
  { graph, name, opset, metadata }: ModelFileRequest,
  tensors: readonly StoredTensor[],
  places: ReadonlyMap<StoredTensor, ExternalPlace>,
): { readonly parts: readonly Part[]; readonly total: number } {
  const body: Part[] = [graphHead(graph, name)];
  for (const tensor of tensors) {
    const place = places.get(tensor);
    body.push(tensorHead(tensor, place));
    if (place === undefined) body.push(tensor);
  }
  const length = body.reduce((sum, part) => sum + lengthOf(part), 0);
  const head = modelHead({ opset, domains: graph.domains, metadata }, length);
  return { parts: [head, ...body], total: head.length + length };
}

function placeOutside(
  tensors: readonly StoredTensor[],
  location: string,
): {
  readonly places: ReadonlyMap<StoredTensor, ExternalPlace>;
  readonly parts: readonly Part[];
  readonly length: number;
} {
  const places = new Map<StoredTensor, ExternalPlace>();
  const parts: Part[] = [];
  let length = 0;
  for (const tensor of tensors) {
    if (byteLength(tensor) < externalTensorFrom) continue;
    const offset = Math.ceil(length / alignment) * alignment;
    if (offset > length) parts.push(new Uint8Array(offset - length));
    places.set(tensor, { location, offset });
    parts.push(tensor);
    length = offset + byteLength(tensor);
  }
  return { places, parts, length };
}

async function writeFile(
  { signal, onProgress }: ModelFileRequest,
  path: string,
  parts: readonly Part[],
  { before, total }: { before: number; total: number },
): Promise<void> {
  signal?.throwIfAborted();
  const handle = await open(path, "w");
  try {
    let written = before;
    const write = async (bytes: Uint8Array): Promise<void> => {
      signal?.throwIfAborted();
      await writeAll(handle, bytes);
      written += bytes.length;
      onProgress?.({ written, total });
    };
    for (const part of parts) {
      if (part instanceof Uint8Array) {
        await write(part);
        continue;
      }
      const end = written + byteLength(part);
      for await (const chunk of part.chunks()) await write(chunk);
      // Everything behind it would be read from the wrong place.
      if (written !== end) {
        throw new Error(
          `${part.name} gave ${byteLength(part) + written - end} bytes instead of ${byteLength(part)}`,
        );
      }
    }
  } finally {
    await handle.close();
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length; ) {
    offset += (await handle.write(bytes, offset, bytes.length - offset)).bytesWritten;
  }
}

function lengthOf(part: Part): number {
  return part instanceof Uint8Array ? part.length : byteLength(part);
}
