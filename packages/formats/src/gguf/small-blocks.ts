import { single, truncated, writeHalf } from "./single.js";

// Blocks of 32 numbers: `quantize_row_q8_0_ref`, `_q5_1_ref`, `_q5_0_ref` and `_q4_0_ref` of ggml's ggml-quants.c, byte
// for byte as they are on x86-64.

/** A scale, and of each number its share of the largest magnitude in eight bits. */
export function encodeQ8(numbers: Float32Array, to: DataView): void {
  for (let first = 0, at = 0; first < numbers.length; first += 32, at += 34) {
    let largest = 0;
    for (let i = first; i < first + 32; i++) largest = Math.max(largest, Math.abs(numbers[i] as number));
    const scale = single(largest / 127);
    const inverse = inverted(scale);
    writeHalf(to, at, scale);
    for (let i = 0; i < 32; i++) {
      const scaled = single((numbers[first + i] as number) * inverse);
      // C's roundf: halves away from zero. float32 + 0.5 is exact in JavaScript's double.
      to.setInt8(at + 2 + i, truncated(Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5)));
    }
  }
}

/** The number of the largest magnitude, with its sign, becomes −8. */
export function encodeQ4(numbers: Float32Array, to: DataView): void {
  for (let first = 0, at = 0; first < numbers.length; first += 32, at += 18) {
    const scale = single(extremeOf(numbers, first) / -8);
    const inverse = inverted(scale);
    const level = (index: number): number =>
      Math.min(15, truncated(single(single((numbers[index] as number) * inverse) + 8.5)));
    writeHalf(to, at, scale);
    for (let i = 0; i < 16; i++) to.setUint8(at + 2 + i, level(first + i) | (level(first + 16 + i) << 4));
  }
}

/** The number of the largest magnitude, with its sign, becomes −16. */
export function encodeQ5(numbers: Float32Array, to: DataView): void {
  for (let first = 0, at = 0; first < numbers.length; first += 32, at += 22) {
    const scale = single(extremeOf(numbers, first) / -16);
    const inverse = inverted(scale);
    writeHalf(to, at, scale);
    writeFiveBits(to, at + 2, (i) =>
      Math.min(31, truncated(single(single((numbers[first + i] as number) * inverse) + 16.5))),
    );
  }
}

/** The least number is 0, the greatest 31. */
export function encodeQ5WithMinimum(numbers: Float32Array, to: DataView): void {
  for (let first = 0, at = 0; first < numbers.length; first += 32, at += 24) {
    let [least, greatest] = [numbers[first] as number, numbers[first] as number];
    for (let i = first; i < first + 32; i++) {
      const number = numbers[i] as number;
      if (number < least) least = number;
      if (number > greatest) greatest = number;
    }
    const scale = single(single(greatest - least) / 31);
    const inverse = inverted(scale);
    writeHalf(to, at, scale);
    writeHalf(to, at + 2, least);
    writeFiveBits(to, at + 4, (i) => {
      const above = single((numbers[first + i] as number) - least);
      return truncated(single(single(above * inverse) + 0.5));
    });
  }
}

/** Of 32 levels the fifth bits, then the other four of two to a byte. */
function writeFiveBits(to: DataView, at: number, levelOf: (index: number) => number): void {
  let fifth = 0;
  for (let i = 0; i < 16; i++) {
    const [low, high] = [levelOf(i), levelOf(i + 16)];
    fifth |= (((low >> 4) & 1) << i) | (((high >> 4) & 1) << (i + 16));
    to.setUint8(at + 4 + i, (low & 15) | ((high & 15) << 4));
  }
  to.setInt32(at, fifth, true);
}

/** The first number of the largest magnitude. */
function extremeOf(numbers: Float32Array, first: number): number {
  let extreme = 0;
  for (let i = first; i < first + 32; i++) {
    const number = numbers[i] as number;
    if (Math.abs(number) > Math.abs(extreme)) extreme = number;
  }
  return extreme;
}

/** Infinite where float32 has no such number: the scale itself is 0 in half precision then, and the block with it. */
function inverted(scale: number): number {
  return scale === 0 ? 0 : single(1 / scale);
}
