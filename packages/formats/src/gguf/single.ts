import { largestHalf, toHalf } from "../half.js";

/** What C's `float` holds of a number: ggml's reference quantisers round after each step, and so must we. */
export const single: (number: number) => number = Math.fround;

/**
 * @returns the half's bits.
 * @throws {RangeError} where half precision has no such number.
 */
export function writeHalf(to: DataView, offset: number, number: number): number {
  const half = toHalf(number);
  if (half === undefined)
    throw new RangeError(`${number} is beyond half precision, which ends at ${largestHalf}`);
  to.setUint16(offset, half, true);
  return half;
}

/**
 * C's cast of a float to an integer as x86-64 makes it (`cvttss2si`): what no 32 bits hold, an infinity among them, has
 * zeros in the bytes that are kept of it.
 */
export function truncated(number: number): number {
  return number > -2_147_483_648 && number < 2_147_483_648 ? Math.trunc(number) : 0;
}

const scratch = new Float32Array(1);
const scratchBits = new Int32Array(scratch.buffer);

/**
 * ggml's `nearest_int`: the nearest whole number, halves to the even one, of a number that C's `float` holds. Beyond
 * ±4194303 it is the bits that are left, which the reference writes too.
 */
export function nearest(number: number): number {
  // 1.5 · 2²³: behind it a float has no fraction.
  if (number >= -4_194_303 && number <= 4_194_303) return single(number + 12_582_912) - 12_582_912;
  scratch[0] = number + 12_582_912;
  return ((scratchBits[0] as number) & 0x7f_ffff) - 0x40_0000;
}
