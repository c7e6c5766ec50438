/** Bytes of numbers in a safetensors type. */
export const widths: Readonly<Record<string, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2 };

/** Numbers in a safetensors type, each rounded to the nearest, ties to even. */
export function encodeNumbers(data: Float32Array, dtype: string): Uint8Array {
  if (dtype === "F32") return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (dtype === "F64") return new Uint8Array(Float64Array.from(data).buffer);
  const halves = new Uint16Array(data.length);
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (let place = 0; place < data.length; place += 1) {
    const word = bits[place] as number;
    halves[place] = dtype === "BF16" ? (word + 0x7fff + ((word >>> 16) & 1)) >>> 16 : toHalf(word);
  }
  return new Uint8Array(halves.buffer);
}

/** A float32's bits as those of the nearest float16; what is beyond its range becomes its largest number. */
function toHalf(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const exponent = ((word >>> 23) & 0xff) - 127;
  const fraction = word & 0x7fffff;
  if (exponent > 15) return sign | 0x7bff;
  if (exponent >= -14) {
    const half = ((exponent + 15) << 10) | (fraction >>> 13);
    const rest = fraction & 0x1fff;
    const up = rest > 0x1000 || (rest === 0x1000 && (half & 1) === 1) ? 1 : 0;
    return sign | Math.min(half + up, 0x7bff);
  }
  if (exponent < -25) return sign;
  const whole = fraction | 0x800000;
  const shift = -exponent - 1;
  const half = whole >>> shift;
  const rest = whole & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  return sign | (half + (rest > middle || (rest === middle && (half & 1) === 1) ? 1 : 0));
}
