import { expect, test } from "vitest";
import { floorSeconds, workOf } from "../engines/work.mjs";
import { compileFloor, readFloor, runFloor } from "../floor/floor.mjs";

test("the multiply-adds of one layer, counted by hand", () => {
  const shape = { layers: 1, hidden: 2, heads: 1, intermediate: 3, positions: 8, vocabulary: 10 };
  // Of a token: queries, keys, values and their output 4 × 2 × 2, feed-forward 2 × 2 × 3. Of the head: 2 × 2 + 2.
  expect(workOf(shape, [5])).toEqual({ weights: 5 * (16 + 12) + 6, attention: 2 * 2 * 25 });
  expect(workOf(shape, [5, 1])).toEqual({ weights: 6 * (16 + 12) + 12, attention: 2 * 2 * 26 });
});

test("int8's attention is held against fp32, and what a processor lacks has no floor", () => {
  const floor = {
    fp32: { instruction: "a", perSecond: 10 },
    int8: { instruction: "b", perSecond: 20 },
  };
  const work = { weights: 100, attention: 50 };
  expect(floorSeconds(work, floor, "fp32")).toBe(15);
  expect(floorSeconds(work, floor, "int8")).toBe(10);
  expect(floorSeconds(work, floor, "bf16")).toBeUndefined();
});

test("of each kind the instruction that does most counts", () => {
  const lines = [
    { kind: "int8", instruction: "slow", perSecond: 1 },
    { kind: "int8", instruction: "fast", perSecond: 3 },
    { kind: "fp32", instruction: "only", perSecond: 2 },
  ].map((row) => JSON.stringify(row));
  expect(readFloor(lines.join("\n"))).toEqual({
    int8: { instruction: "fast", perSecond: 3 },
    fp32: { instruction: "only", perSecond: 2 },
  });
  expect(() => readFloor('{"missing": "no loops"}')).toThrow("no loops");
});

test.runIf(process.arch === "x64" && process.platform === "linux")("the loops run here", async () => {
  const floor = await runFloor(await compileFloor());
  // Any processor of x86-64 with AVX2 does more, and none computes eight bits more slowly than thirty-two.
  expect(floor.fp32?.perSecond).toBeGreaterThan(1e9);
  expect(floor.int8?.perSecond).toBeGreaterThan(floor.fp32?.perSecond ?? Number.NaN);
});

test("without a compiler the floor says what it needs", async () => {
  const before = process.env["CC"];
  process.env["CC"] = "/no/such/compiler";
  try {
    await expect(compileFloor()).rejects.toThrow("install gcc");
  } finally {
    if (before === undefined) delete process.env["CC"];
    else process.env["CC"] = before;
  }
});
