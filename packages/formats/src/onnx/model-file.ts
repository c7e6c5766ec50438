import { basename } from "node:path";
import type { WriteProgress } from "../progress.js";
import { type Part, type StreamedPart, writeParts } from "../write-parts.js";
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
  const { path, signal, onProgress } = request;
  const tensors = [...request.graph.tensors.values()];
  const bytes = tensors.reduce((sum, tensor) => sum + byteLength(tensor), 0);
  if (bytes < request.externalFrom) {
    const { parts, total } = layOut(request, tensors, new Map());
    if (total < request.externalFrom) {
      await writeParts({ path, parts, before: 0, total, signal, onProgress });
      return [path];
    }
  }
  const dataPath = `${path}_data`;
  const { places, parts, length } = placeOutside(tensors, basename(dataPath));
  const graph = layOut(request, tensors, places);
  const total = graph.total + length;
  await writeParts({ path: dataPath, parts, before: 0, total, signal, onProgress });
  await writeParts({ path, parts: graph.parts, before: length, total, signal, onProgress });
  return [path, dataPath];
}

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
    if (place === undefined) body.push(streamed(tensor));
  }
  const length = body.reduce((sum, part) => sum + part.length, 0);
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
    parts.push(streamed(tensor));
    length = offset + byteLength(tensor);
  }
  return { places, parts, length };
}

/** The tensor as the file streams it. */
function streamed(tensor: StoredTensor): StreamedPart {
  return { name: tensor.name, length: byteLength(tensor), chunks: () => tensor.chunks() };
}
