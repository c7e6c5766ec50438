import { toHalves } from "@crossrank/formats";
import { describe, expect, test } from "vitest";
import { rowsByDifference } from "../src/onnx/disentangled.js";
import { quantiseRows } from "../src/onnx/quantise.js";

/** What half-precision bits stand for: IEEE 754, by its definition. */
function fromHalf(bits: number): number {
  const sign = bits >>> 15 === 1 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

describe("half precision", () => {
  const finite = Array.from({ length: 0x7c00 }, (_, bits) => bits);

  test("every finite number comes back, of both signs", () => {
    for (const sign of [0, 0x8000]) {
      const bits = finite.map((magnitude) => sign | magnitude);
      expect([...(toHalves(Float32Array.from(bits, fromHalf)) ?? [])]).toEqual(bits);
    }
  });

  test("between two neighbours the nearer is taken, and of two equally near the even one", () => {
    const lower = finite.slice(0, -1);
    const middles = Float32Array.from(lower, (bits) => (fromHalf(bits) + fromHalf(bits + 1)) / 2);
    expect([...(toHalves(middles) ?? [])]).toEqual(lower.map((bits) => bits + (bits % 2)));
    // A float32 step beside the middle.
    const step = (value: number, direction: 1 | -1): number => value * (1 + direction * 2 ** -22);
    const below = Float32Array.from(middles, (middle) => step(middle, -1));
    expect([...(toHalves(below) ?? [])]).toEqual(lower);
    const above = Float32Array.from(middles, (middle) => step(middle, 1));
    expect([...(toHalves(above) ?? [])]).toEqual(lower.map((bits) => bits + 1));
  });

  test("what would become infinite is refused", () => {
    expect(toHalves(Float32Array.of(65_519))).toEqual(Uint16Array.of(0x7bff));
    expect(toHalves(Float32Array.of(1, -65_520))).toBeUndefined();
  });
});

describe("eight bits", () => {
  const columns = 101;
  const values = Float32Array.from({ length: columns * 200 }, (_, index) => Math.tan(index * 12.9898) ** 3);

  test.each(["rows", "products"] as const)("for %s: no number moves by more than half a step", (purpose) => {
    const { integers, scales } = quantiseRows(values, columns, purpose);
    for (const [index, value] of values.entries()) {
      const scale = scales[Math.floor(index / columns)] as number;
      const error = Math.abs(value - (integers[index] as number) * scale);
      expect(error).toBeLessThanOrEqual(0.5001 * scale);
    }
  });

  test("for rows: the largest of each row becomes 127", () => {
    const { integers } = quantiseRows(values, columns, "rows");
    for (let row = 0; row < 200; row += 1) {
      const magnitudes = [...integers.subarray(row * columns, (row + 1) * columns)].map(Math.abs);
      expect(Math.max(...magnitudes)).toBe(127);
    }
  });

  test("for products: no pair overflows 16 bits with the largest activations", () => {
    const { integers } = quantiseRows(values, columns, "products");
    let closest = 0;
    for (let start = 0; start < integers.length; start += columns) {
      for (let index = 0; index + 1 < columns; index += 2) {
        const pair = [integers[start + index] as number, integers[start + index + 1] as number];
        const high = 255 * pair.reduce((sum, weight) => sum + Math.max(weight, 0), 0);
        const low = 255 * pair.reduce((sum, weight) => sum + Math.min(weight, 0), 0);
        closest = Math.max(closest, high, -low);
      }
    }
    expect(closest).toBeLessThan(2 ** 15);
    // And little is given away.
    expect(closest).toBeGreaterThan(0.95 * 2 ** 15);
  });

  test("a row of zeros stays zero", () => {
    const { integers, scales } = quantiseRows(new Float32Array(6), 3, "products");
    expect([...integers]).toEqual([0, 0, 0, 0, 0, 0]);
    expect([...scales].every((scale) => scale > 0)).toBe(true);
  });
});

test("relative positions fall into DeBERTa's buckets", () => {
  // make_log_bucket_position of transformers 5.23.0 with 256 buckets and 512 positions, plus the span.
  const expected: readonly (readonly [difference: number, row: number])[] = [
    [0, 256],
    [1, 257],
    [-127, 129],
    [128, 384],
    [129, 385],
    [130, 386],
    [200, 425],
    [-300, 49],
    [400, 489],
    [511, 511],
    [-511, 1],
    [-512, 0],
  ];
  const { reach, rows } = rowsByDifference({ span: 256, buckets: 256, maxRelativePositions: 512 });
  expect(expected.map(([difference]) => [difference, rows[difference + reach]])).toEqual(expected);
});
