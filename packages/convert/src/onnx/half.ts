/** Largest finite number of half precision. */
export const largestHalf = 65_504;

const floats = new Float32Array(1);
const words = new Uint32Array(floats.buffer);

/**
 * Half-precision bits of float32 numbers, rounded to the nearest, ties to even (IEEE 754).
 * @returns undefined when one is beyond half precision's range.
 */
export function toHalf(values: Float32Array): Uint16Array | undefined {
  const halves = new Uint16Array(values.length);
  for (let index = 0; index < values.length; index += 1) {
    floats[0] = values[index] as number;
    const word = words[0] as number;
    const sign = (word >>> 16) & 0x8000;
    const magnitude = word & 0x7fff_ffff;
    // 65520 is the first that would round to infinity.
    if (magnitude >= 0x477f_f000) return undefined;
    if (magnitude >= 0x3880_0000) {
      // Normal: the exponent's bias goes from 127 to 15, and 13 bits of the fraction are rounded off.
      const rounded = magnitude + 0x0fff + ((magnitude >>> 13) & 1);
      halves[index] = sign | ((rounded - 0x3800_0000) >>> 13);
    } else {
      // Subnormal: whole multiples of 2^-24, which float64 holds exactly.
      halves[index] = sign | roundEven(Math.abs(floats[0] as number) * 2 ** 24);
    }
  }
  return halves;
}

function roundEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
