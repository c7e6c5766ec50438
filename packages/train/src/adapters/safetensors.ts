/** A tensor of float32 to write. */
export interface NamedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly read: () => Promise<Float32Array>;
}

/** A safetensors file of float32 in pieces: the header, then one tensor after the other. */
export async function* safetensorsPieces(
  tensors: readonly NamedTensor[],
  metadata: Readonly<Record<string, string>> = {},
): AsyncGenerator<Uint8Array> {
  const entries: [string, unknown][] = [["__metadata__", { format: "pt", ...metadata }]];
  let at = 0;
  for (const { name, shape } of tensors) {
    const end = at + 4 * shape.reduce((product, size) => product * size, 1);
    entries.push([name, { dtype: "F32", shape, data_offsets: [at, end] }]);
    at = end;
  }
  const text = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const padding = (8 - (text.length % 8)) % 8;
  const start = Buffer.alloc(8 + text.length + padding, " ");
  start.writeBigUInt64LE(BigInt(text.length + padding));
  text.copy(start, 8);
  yield start;
  for (const { read } of tensors) yield bytesOf(await read());
}

/** Little-endian, as the format is. */
export function bytesOf(data: Float32Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
