import { expect, test } from "vitest";
import { judgePlain, leastRatio, pairedRatio } from "../paired.mjs";
import type { Ratio } from "../types.js";

/** Rounds of which each takes `ratio` × the other's time, on a machine that is more and more busy. */
const rounds = (ratios: readonly number[]): [number[], number[]] => {
  const busy = ratios.map((_, round) => 1 + round);
  return [ratios.map((ratio, round) => ratio * (busy[round] as number)), busy];
};

const ratioOf = (ratios: readonly number[]): Ratio | undefined => pairedRatio(...rounds(ratios));

test("a ratio is of each round by itself, whatever else the machine does", () => {
  const ratio = ratioOf([1.2, 1.2, 1.2, 1.2]);
  expect(ratio?.value).toBeCloseTo(1.2);
  expect(ratio?.lower).toBeCloseTo(1.2);
  expect(ratio?.upperBound).toBeCloseTo(1.2);
  expect(ratio?.rounds).toBe(4);
});

test("the bound of one side lies within the interval of two", () => {
  const ratio = ratioOf([0.8, 0.9, 1, 1.1, 1.25, 0.95, 1.05]) as Ratio;
  expect(ratio.lower).toBeLessThan(ratio.value);
  expect(ratio.upperBound).toBeGreaterThan(ratio.value);
  expect(ratio.upperBound).toBeLessThan(ratio.upper);
});

test("it is of the rounds that both ran in", () => {
  expect(pairedRatio([2, 2, 2, 50, 50], [1, 1, 1])?.value).toBeCloseTo(2);
});

test.each([
  ["no rounds", [], []],
  ["two rounds", [1, 1], [1, 1]],
  ["a time of nothing", [1, 0, 1], [1, 1, 1]],
  ["a time that is none", [1, Number.NaN, 1], [1, 1, 1]],
])("%s are no ratio, and nothing passes by them", (_, times, others) => {
  expect(pairedRatio(times, others)).toBeUndefined();
  expect(judgePlain(pairedRatio(times, others)).passed).toBe(false);
});

test.each([
  { kind: "level", ratios: [1, 1.01, 0.99, 1, 1], passed: true },
  { kind: "plain is slower", ratios: [1.3, 1.4, 1.2, 1.3, 1.3], passed: true },
  { kind: "surely a fifth behind", ratios: [0.8, 0.82, 0.79, 0.8, 0.81], passed: false },
  {
    kind: "perhaps a fifth behind: the rounds do not show it",
    ratios: [0.8, 1.3, 0.5, 1.1, 0.6],
    passed: true,
  },
  { kind: "a twentieth behind", ratios: [0.95, 0.94, 0.96, 0.95, 0.95], passed: true },
  { kind: "just at the bound", ratios: [0.9, 0.9, 0.9, 0.9], passed: true },
  { kind: "just below it", ratios: [0.899, 0.899, 0.899, 0.899], passed: false },
])("the gate: $kind", ({ ratios, passed }) => {
  const verdict = judgePlain(ratioOf(ratios));
  expect(verdict.passed, verdict.sentence).toBe(passed);
  expect(verdict.sentence).toContain(String(leastRatio));
});
