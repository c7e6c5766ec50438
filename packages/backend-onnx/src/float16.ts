/** IEEE 754 half precision, as its 16 bits, to float32. Exact: every half is a float32. */
export function float16ToFloat32(bits: Uint16Array): Float32Array {
  const values = new Float32Array(bits.length);
  for (let index = 0; index < bits.length; index++) {
    const half = bits[index] ?? 0;
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 0x1f) {
      values[index] = fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    } else if (exponent === 0) {
      values[index] = sign * fraction * 2 ** -24;
    } else {
      values[index] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
    }
  }
  return values;
}
