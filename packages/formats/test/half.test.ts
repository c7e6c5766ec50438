import { expect, test } from "vitest";
import { fromHalf, toHalf } from "../src/index.js";

test("every finite half is a number, and back", () => {
  const wrong: number[] = [];
  for (let bits = 0; bits < 2 ** 16; bits += 1) {
    const number = fromHalf(bits);
    if (Number.isFinite(number) && toHalf(number) !== bits) wrong.push(bits);
  }
  expect(wrong).toEqual([]);
});

test("numbers that IEEE 754 names", () => {
  expect([0x3c00, 0xc000, 0x7bff, 0x0400, 0x03ff, 0x0001, 0x3555].map(fromHalf)).toEqual([
    1,
    -2,
    65_504,
    2 ** -14,
    1023 * 2 ** -24,
    2 ** -24,
    0.333251953125,
  ]);
  expect(fromHalf(0x8000)).toBe(-0);
  expect(fromHalf(0x7c00)).toBe(Number.POSITIVE_INFINITY);
  expect(fromHalf(0xfc00)).toBe(Number.NEGATIVE_INFINITY);
  expect(fromHalf(0x7e01)).toBeNaN();
});
