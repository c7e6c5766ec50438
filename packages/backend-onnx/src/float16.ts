import { fromHalf } from "@crossrank/core/half";

/** IEEE 754 half precision, as its 16 bits, to float32. Exact: every half is a float32. */
export function float16ToFloat32(bits: Uint16Array): Float32Array {
  const values = new Float32Array(bits.length);
  for (let index = 0; index < bits.length; index++) values[index] = fromHalf(bits[index] ?? 0);
  return values;
}
