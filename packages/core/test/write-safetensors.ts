export interface Entry {
  readonly dtype: "F32" | "F64" | "F16" | "BF16" | "I64";
  readonly shape: number[];
  readonly bytes: Uint8Array;
}

/** A safetensors file of these tensors, in this order. */
export function safetensors(tensors: Readonly<Record<string, Entry>>): Uint8Array {
  let offset = 0;
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
  return Uint8Array.from(
    [length, text, ...Object.values(tensors).map(({ bytes }) => bytes)].flatMap((part) => [...part]),
  );
}

export const f32 = (shape: number[], values: readonly number[]): Entry => ({
  dtype: "F32",
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});
/** Of binary16 or bfloat16 numbers, as their bits. */
export const half = (dtype: "F16" | "BF16", values: readonly number[]): Entry => ({
  dtype,
  shape: [values.length],
  bytes: new Uint8Array(Uint16Array.from(values).buffer),
});
