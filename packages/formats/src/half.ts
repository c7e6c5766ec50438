export { fromHalf } from "@crossrank/core/files";

/** Largest finite number of half precision (IEEE 754 binary16). */
export const largestHalf = 65_504;

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/**
 * Half-precision bits of a float32 number, rounded to the nearest, ties to even (IEEE 754).
 * @returns undefined for what rounds to an infinity.
 */
export function toHalf(number: number): number | undefined {
  scratch[0] = number;
  const bits = scratchBits[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fff_ffff;
  // 65520 is half way between the largest half and the next that there is not.
  if (magnitude >= 0x477f_f000) return undefined;
  // From 2^-14 on the result is normal: exponents differ by 112, thirteen bits fall away.
  if (magnitude >= 0x3880_0000) {
    const rounded = magnitude - 0x3800_0000 + 0x0fff + ((magnitude >>> 13) & 1);
    return sign | (rounded >>> 13);
  }
  // Subnormal halves are multiples of 2^-24; adding 0.5 leaves such a multiple, rounded to even, in the low bits.
  scratch[0] = Math.abs(number) + 0.5;
  return sign | ((scratchBits[0] ?? 0) - 0x3f00_0000);
}

/** The same for many. @returns undefined when one is beyond half precision's range. */
export function toHalves(numbers: Float32Array): Uint16Array | undefined {
  const halves = new Uint16Array(numbers.length);
  for (let index = 0; index < numbers.length; index += 1) {
    const half = toHalf(numbers[index] ?? 0);
    if (half === undefined) return undefined;
    halves[index] = half;
  }
  return halves;
}
