import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { encodeNumbers, type TensorType } from "../src/gguf/tensor-type.js";
import { toHalf } from "../src/half.js";

/** Hexadecimal bytes; F32 holds the numbers, the others what ggml's own Python package makes of them. */
const goldens: Record<TensorType, string> = JSON.parse(
  await readFile(new URL("fixtures/gguf-quantised.json", import.meta.url), "utf8"),
);
const numbers = new Float32Array(new Uint8Array(Buffer.from(goldens.F32, "hex")).buffer);

test.each<TensorType>(["F32", "F16", "Q8_0", "Q4_0"])("%s is ggml's, byte for byte", (type) => {
  expect(numbers).toHaveLength(512);
  expect(Buffer.from(encodeNumbers(type, numbers)).toString("hex")).toBe(goldens[type]);
});

test("half precision: every half is its own, and halves between two go to the even one", () => {
  const wrong: number[] = [];
  let previous = 0;
  for (let half = 1; half < 0x7c00; half++) {
    const number = fromHalf(half);
    // Exact in float32: a half has eleven bits, the middle of two has twelve.
    const even = half % 2 === 0 ? half : half - 1;
    if (toHalf(number) !== half || toHalf(-number) !== (half | 0x8000)) wrong.push(half);
    if (toHalf((previous + number) / 2) !== even) wrong.push(half);
    previous = number;
  }
  expect(wrong).toEqual([]);
  expect(toHalf(65519.996)).toBe(0x7bff);
  expect(toHalf(65520)).toBeUndefined();
  expect(toHalf(Number.NaN)).toBeUndefined();
});

test("a number beyond half precision is an error, and no infinity", () => {
  expect(() => encodeNumbers("F16", Float32Array.of(1, 70000))).toThrow(/70000.*65504/);
  expect(() => encodeNumbers("Q8_0", new Float32Array(32).fill(8e6))).not.toThrow();
  expect(() => encodeNumbers("Q8_0", new Float32Array(32).fill(1e8))).toThrow(RangeError);
});

function fromHalf(half: number): number {
  const exponent = half >> 10;
  const fraction = half & 0x3ff;
  return exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
}
