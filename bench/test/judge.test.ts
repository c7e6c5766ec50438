import { expect, test } from "vitest";
import { judge } from "../judge.mjs";
import type { Measured } from "../measure.mjs";
import { renderReport } from "../report.mjs";
import type { BenchModel, ContestantOptions } from "../types.js";

const model: BenchModel = {
  name: "minilm",
  folder: "",
  file: "onnx/model.onnx",
  dtype: "fp32",
  safetensors: true,
};

function measured(
  name: string,
  seconds: number[],
  {
    logits = [1, 2, 3],
    p99 = 5,
    options = {},
  }: { logits?: number[]; p99?: number; options?: ContestantOptions } = {},
): Measured {
  return {
    contestant: { name, title: name, command: "", args: [], options, sweep: name === "sweep" },
    version: "1.0",
    scored: { logits, truncated: [false, false, true], tokens: [10, 20, 30] },
    seconds,
    processorSeconds: seconds.map(() => undefined),
    delay: { p50: 1, p99, max: p99 },
    peakMemory: 1e8,
  };
}

const judgeAll = (...all: Measured[]) => judge(model, 9e7, { measured: all, sweep: [], skipped: [] });

test("ratios are of medians of the rounds that both ran in, and the aims are computed from them", () => {
  const { results, aims } = judgeAll(
    measured("crossrank", [1, 3, 9]),
    measured("sweep", [3, 3, 3]),
    measured("sweep", [2.95, 2.9, 9]),
    measured("transformers.js", [11, 12]),
  );

  expect(results.map(({ name, rate }) => [name, rate])).toEqual([
    ["crossrank", 1],
    ["sweep", 3 / 2.95],
    ["transformers.js", 3 / 11.5],
  ]);
  expect(results[1]?.ratio).toBeCloseTo(3 / 2.95);
  expect(results[2]?.ratio).toBeCloseTo(2 / 11.5);
  expect(aims.map(({ met }) => met)).toEqual([true, true, true]);
  expect(aims[0]?.text).toContain("5.8 ×");
  expect(aims[1]?.text).toContain("−1.7 %");
});

test("aims are missed as plainly as met", () => {
  const { aims } = judgeAll(
    measured("crossrank", [2], { p99: 50 }),
    measured("sweep", [1.8]),
    measured("transformers.js", [9]),
  );
  expect(aims.map(({ met }) => met)).toEqual([false, false, false]);
});

test("no ratio for logits that are not crossrank's, and none judged by it", () => {
  const report = judgeAll(
    measured("crossrank", [1]),
    measured("transformers.js", [9], { logits: [1, 2.02, 3] }),
  );
  expect(report.results[1]).toMatchObject({ ratio: undefined, difference: expect.closeTo(0.02) });
  expect(report.aims[0]?.met).toBeUndefined();
  expect(renderReport(report)).toContain("transformers.js — no ratio");
});

test("a cut document does not count as a disagreement, a missing logit does", () => {
  const cut = judgeAll(measured("crossrank", [1]), measured("transformers.js", [9], { logits: [1, 2, 99] }));
  expect(cut.results[1]?.difference).toBe(0);
  const missing = judgeAll(measured("crossrank", [1]), measured("transformers.js", [9], { logits: [1] }));
  expect(missing.results[1]?.difference).toBe(Number.POSITIVE_INFINITY);
});

test("int8 may differ, because activations are quantised by the batch; it is shown", () => {
  const { results } = judge({ ...model, dtype: "int8" }, 1e7, {
    measured: [measured("crossrank", [1]), measured("transformers.js", [9], { logits: [1, 2.05, 3] })],
    sweep: [],
    skipped: [],
  });
  expect(results[1]?.ratio).toBeCloseTo(1 / 9);
  expect(results[1]?.difference).toBeCloseTo(0.05);
});
