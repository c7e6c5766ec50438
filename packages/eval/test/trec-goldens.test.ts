import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createRandom, evaluate, type ScorePrecision, sum } from "../src/index.js";
import { drawCase } from "./random-runs.js";

// Written by lab/eval/build_metric_goldens.py from trec_eval's own code; the sums and weights are explained there.
interface Goldens {
  readonly firstSeed: number;
  readonly weightSeed: number;
  readonly metrics: readonly string[];
  readonly detailed: readonly Record<ScorePrecision, Record<string, readonly number[]>>[];
  readonly sums: Record<ScorePrecision, readonly number[]>;
}

const goldens: Goldens = JSON.parse(readFileSync(new URL("./goldens/metrics.json", import.meta.url), "utf8"));

function measured(number: number, scorePrecision: ScorePrecision): Map<string, number[]> {
  const { qrels, run, relevanceLevel } = drawCase(goldens.firstSeed + number);
  const { results } = evaluate(qrels, run, goldens.metrics, { relevanceLevel, scorePrecision });
  return new Map(
    Array.from(qrels.keys(), (query) => [
      query,
      results.map((result) => result.queries.get(query)?.trec ?? Number.NaN),
    ]),
  );
}

describe.each(["float32", "float64"] as const)("trec_eval on random runs, scores as %s", (precision) => {
  it("gives the same values for every query and metric", () => {
    expect(goldens.detailed.length).toBeGreaterThanOrEqual(40);
    goldens.detailed.forEach((golden, number) => {
      const values = measured(number, precision);
      expect([...values.keys()]).toEqual(Object.keys(golden[precision]));
      for (const [query, row] of Object.entries(golden[precision])) {
        row.forEach((expected, index) => {
          expect(values.get(query)?.[index], `case ${number} ${query} ${goldens.metrics[index]}`).toBeCloseTo(
            expected,
            10,
          );
        });
      }
    });
  });

  it("gives the same weighted sums over thousands of runs", () => {
    expect(goldens.sums[precision].length).toBeGreaterThanOrEqual(4000);
    goldens.sums[precision].forEach((expected, number) => {
      const random = createRandom(goldens.weightSeed);
      const weighted = [...measured(number, precision).values()].flatMap((row) =>
        row.map((value) => value * (1 + random.below(999))),
      );
      expect(Math.abs(sum(weighted) - expected), `case ${number}`).toBeLessThan(1e-9 * (1 + expected));
    });
  });
});

it("the two precisions are not the same question", () => {
  const differing = goldens.sums.float32.filter((value, index) => value !== goldens.sums.float64[index]);
  expect(differing.length).toBeGreaterThan(500);
});
