/** @import { WeightTensor } from "./random-weights.mjs" */

/**
 * The safetensors format: eight bytes of header length, a JSON header, the data.
 *
 * @param {readonly WeightTensor[]} weights
 * @returns {Buffer}
 */
export function safetensorsFile(weights) {
  /** @type {Record<string, unknown>} */
  const header = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const { name, dims, values } of weights) {
    header[name] = { dtype: "F32", shape: dims, data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
  }
  const json = JSON.stringify(header);
  // Spaces, so that the data begins at a multiple of eight bytes.
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const data = weights.map(
    ({ values }) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  );
  return Buffer.concat([length, text, ...data]);
}
