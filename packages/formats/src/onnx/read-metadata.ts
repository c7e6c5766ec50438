import { open } from "node:fs/promises";

/** Enough for what stands before the graph. */
const headBytes = 256 << 10;

/** Field numbers of ModelProto and StringStringEntryProto: onnx/onnx.proto of the ONNX project. */
const graphField = 7;
const metadataField = 14;
const keyField = 1;
const valueField = 2;

const varint = 0;
const lengthDelimited = 2;

/**
 * What an .onnx file says about itself by key and value (`metadata_props`). Reads its head alone: what stands behind
 * the graph is not found, and a damaged file says nothing: it is the runtime's to refuse.
 */
export async function readModelMetadata(path: string): Promise<ReadonlyMap<string, string>> {
  const handle = await open(path);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(headBytes), 0, headBytes, 0);
    return metadataOf(buffer.subarray(0, bytesRead));
  } finally {
    await handle.close();
  }
}

function metadataOf(head: Uint8Array): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  for (const { field, bytes } of fieldsOf(head)) {
    if (field !== metadataField) continue;
    const texts = new Map(
      [...fieldsOf(bytes)].map((part) => [part.field, new TextDecoder().decode(part.bytes)]),
    );
    metadata.set(texts.get(keyField) ?? "", texts.get(valueField) ?? "");
  }
  return metadata;
}

/** Fields of a message that hold bytes, up to the graph, or to what cannot be read. */
function* fieldsOf(message: Uint8Array): Iterable<{ readonly field: number; readonly bytes: Uint8Array }> {
  let place = 0;
  const number = (): number => {
    let value = 0;
    // Seven bits a byte, the lowest first; beyond 2^53 it is no length that could be meant.
    for (let scale = 1; place < message.length && scale < 2 ** 53; scale *= 128) {
      const byte = message[place++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  while (place < message.length) {
    const tag = number();
    const field = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (wireType === varint) {
      if (Number.isNaN(number())) return;
      continue;
    }
    const length = wireType === lengthDelimited ? number() : Number.NaN;
    if (field === graphField || !(place + length <= message.length)) return;
    yield { field, bytes: message.subarray(place, place + length) };
    place += length;
  }
}
