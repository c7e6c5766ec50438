import { judgeNonInferiority } from "@crossrank/eval";
import { measureOf } from "../data/held-out.js";
import type { GateOutcome } from "./training-report.js";

/**
 * Whether an artifact ranks no worse than the base model: the one-sided 95 % bound of its change lies above −margin.
 *
 * @param values nDCG@10 of every query, as {@link base}.
 * @param margin the loss that is accepted, 0 to 1.
 * @throws {UnpairedQueriesError} unless both have the same queries.
 */
export function judgeAgainstBase(
  artifact: string,
  values: ReadonlyMap<string, number>,
  base: ReadonlyMap<string, number>,
  margin: number,
): GateOutcome {
  const { interval, change } = measureOf(values, base, { margin });
  const before = measureOf(base, undefined).interval;
  if (change === undefined) throw new RangeError("The base has no values.");
  return {
    artifact,
    base: before.mean,
    value: interval.mean,
    interval: { lower: interval.lower, upper: interval.upper },
    change: { mean: change.mean, lowerBound: change.lowerBound },
    margin,
    queries: values.size,
    passed: change.passed,
    sentence: judgeNonInferiority("nDCG@10", change).sentence.replace(/^L3 /, ""),
  };
}
