import {
  precisionClassOf as classOf,
  numericBounds,
  type PrecisionBounds,
  type PrecisionClass,
  precisionClasses,
} from "@crossrank/core/verify";
import { UnknownPrecisionError } from "../errors.js";
import type { NonInferiority } from "../statistics/bootstrap.js";
import type { ScoreComparison } from "./compare-scores.js";

export { type PrecisionClass, precisionClasses };

/** As core's `precisionClassOf`. @throws {UnknownPrecisionError} for a dtype that fits no class: it needs a gate of its own. */
export function precisionClassOf(dtype: string): PrecisionClass {
  const precision = classOf(dtype);
  if (precision === undefined) throw new UnknownPrecisionError({ dtype, supported: precisionClasses });
  return precision;
}

/** Bounds of one precision class; what is undefined is reported and not judged. */
export interface GateBounds {
  /** L1, logits of tiny models against the reference's. */
  readonly numerics: PrecisionBounds;
  /** L2, score table of frozen pairs: least values. */
  readonly scores: { readonly tau: number | undefined; readonly topOne: number | undefined };
  /** L3: least share of the reference's metric. `degradedBelow`: passes, and is called degraded, below this share. */
  readonly quality: { readonly retention: number; readonly degradedBelow: number };
}

/**
 * Start values by precision class. fp32's score bounds are those of fp16: no rounding of fp32 reaches them. "Degraded"
 * is what does not retain what 8-bit must.
 */
export const gateBounds: Readonly<Record<PrecisionClass, GateBounds>> = {
  fp32: {
    numerics: numericBounds.fp32.logit,
    scores: { tau: 0.99, topOne: 0.98 },
    quality: { retention: 0.999, degradedBelow: 0.999 },
  },
  fp16: {
    numerics: numericBounds.fp16.logit,
    scores: { tau: 0.99, topOne: 0.98 },
    quality: { retention: 0.999, degradedBelow: 0.999 },
  },
  "8-bit": {
    numerics: numericBounds["8-bit"].logit,
    scores: { tau: 0.95, topOne: 0.92 },
    quality: { retention: 0.99, degradedBelow: 0.99 },
  },
  "4-bit": {
    numerics: numericBounds["4-bit"].logit,
    scores: { tau: undefined, topOne: undefined },
    quality: { retention: 0.97, degradedBelow: 0.99 },
  },
};

/** Loss of nDCG@10 a task that is accepted, in the metric's unit. */
export const defaultMargin = 0.005;

export interface GateResult {
  readonly level: "L1" | "L2" | "L3";
  /** E.g. `"τ-b"`. */
  readonly check: string;
  /** `reported`: no bound for this precision. `degraded` passes, with a word of warning. */
  readonly outcome: "passed" | "degraded" | "failed" | "reported";
  /** Undefined where it cannot be computed; a judged check then fails. */
  readonly value: number | undefined;
  readonly bound: number | undefined;
  /** Which check, by how much, and whether the sample could have seen it. */
  readonly sentence: string;
}

/**
 * L1: logits of the same pairs, in the same order, candidate against reference. The same check holds a batch of N
 * against N batches of one.
 * @param logits finite; a candidate's number that is not fails.
 */
export function judgeNumerics(
  logits: { readonly reference: readonly number[]; readonly candidate: readonly number[] },
  precision: PrecisionClass,
  bounds: GateBounds["numerics"] = gateBounds[precision].numerics,
): readonly GateResult[] {
  const { reference, candidate } = logits;
  const results: GateResult[] = [];
  const count = reference.length;
  const comparable = count > 0 && count === candidate.length;
  const bad = candidate.findIndex((value) => !Number.isFinite(value));
  if (!comparable || bad >= 0) {
    const problem = comparable
      ? `logit ${bad} is ${candidate[bad]}`
      : `there are ${candidate.length} logits for ${count} of the reference`;
    return [
      {
        level: "L1",
        check: "finite",
        outcome: "failed",
        value: undefined,
        bound: undefined,
        sentence: `L1: ${problem}.`,
      },
    ];
  }
  const absolute = Float64Array.from(candidate, (value, index) =>
    Math.abs(value - (reference[index] ?? 0)),
  ).sort();
  const middle = absolute.length / 2;
  const median = ((absolute[Math.ceil(middle) - 1] ?? 0) + (absolute[Math.floor(middle)] ?? 0)) / 2;
  results.push(
    atMost("L1", "max |Δ logit|", absolute.at(-1), bounds.maximum, `over ${count} pairs`),
    atMost("L1", "median |Δ logit|", median, bounds.median, `over ${count} pairs`),
  );
  const { signMargin } = bounds;
  if (signMargin !== undefined) {
    const clear = reference.filter((value) => Math.abs(value) > signMargin).length;
    const flipped = reference.filter(
      (value, index) => Math.abs(value) > signMargin && Math.sign(value) !== Math.sign(candidate[index] ?? 0),
    ).length;
    results.push(
      atMost("L1", "changed signs", flipped, 0, `of ${clear} logits further than ${signMargin} from 0`),
    );
  }
  return results;
}

/** L2: a score table. τ-b is the mean within queries, or over all pairs where no query has two. */
export function judgeScores(
  comparison: ScoreComparison,
  precision: PrecisionClass,
  bounds: GateBounds["scores"] = gateBounds[precision].scores,
): readonly GateResult[] {
  const { kendall, topOne, pairs, queries, unmatched } = comparison;
  const lost = unmatched.reference + unmatched.candidate;
  const within = kendall.withinQueries !== undefined;
  const seen =
    bounds.topOne === undefined || topOne.queries === 0 || 1 / topOne.queries <= 1 - bounds.topOne
      ? ""
      : `; one query alone is ${show(1 / topOne.queries)}, so that this sample cannot tell one changed query from a failure: ` +
        `use at least ${Math.ceil(1 / (1 - bounds.topOne) - 1e-9)}`;
  return [
    atMost("L2", "unmatched pairs", lost, 0, `beside ${pairs} common ones`),
    atLeast(
      "L2",
      "τ-b",
      within ? kendall.withinQueries : kendall.pooled,
      bounds.tau,
      within ? `mean within ${queries} queries, ${pairs} pairs` : `over ${pairs} pairs`,
    ),
    // Pairs without a second document of their query have no top: τ-b alone judges them.
    topOne.queries === 0
      ? {
          level: "L2",
          check: "top-1 overlap",
          outcome: "reported",
          value: undefined,
          bound: bounds.topOne,
          sentence: "L2 top-1 overlap: no query has two pairs.",
        }
      : atLeast(
          "L2",
          "top-1 overlap",
          topOne.overlap,
          bounds.topOne,
          `over ${topOne.queries} queries${seen}`,
        ),
  ];
}

export interface QualityFacts {
  /** E.g. `"ndcg@10"`. */
  readonly metric: string;
  /** Means of the metric, expected value over tie orders, 0 to 1. */
  readonly candidate: number;
  readonly reference: number;
  /** Means of a random order and of the constant score (in trec_eval's order), on the same candidates. */
  readonly random: number;
  readonly constant: number;
  /** Of candidate − reference, per query. */
  readonly nonInferiority: NonInferiority;
}

/** L3: quality. */
export function judgeQuality(
  facts: QualityFacts,
  precision: PrecisionClass,
  bounds: GateBounds["quality"] = gateBounds[precision].quality,
): readonly GateResult[] {
  const { metric, candidate, reference } = facts;
  const retention = reference > 0 ? candidate / reference : undefined;
  const kept = atLeast(
    "L3",
    `${metric} retention`,
    retention,
    bounds.retention,
    `${show(candidate)} of ${show(reference)}. ${visibility(facts.nonInferiority, (1 - bounds.retention) * reference)}`,
  );
  const degraded = kept.outcome === "passed" && (retention ?? 0) < bounds.degradedBelow;
  return [
    degraded
      ? {
          ...kept,
          outcome: "degraded",
          sentence: `${kept.sentence} Degraded: below ${show(bounds.degradedBelow)}.`,
        }
      : kept,
    judgeNonInferiority(metric, facts.nonInferiority),
    above(metric, candidate, "random order", facts.random),
    above(metric, candidate, "constant score", facts.constant),
  ];
}

/** The change of the mean alone, to either side: |Δ| must be below the bound. */
export function judgeChange(
  { metric, candidate, reference }: Pick<QualityFacts, "metric" | "candidate" | "reference">,
  bound: number,
): GateResult {
  const change = candidate - reference;
  const passed = Math.abs(change) < bound;
  return {
    level: "L3",
    check: `${metric} change`,
    outcome: passed ? "passed" : "failed",
    value: change,
    bound,
    sentence:
      `L3 ${metric} change ${passed ? "passed" : "failed"}: ${show(candidate)} against ${show(reference)}, ` +
      `${show(change)}, is ${passed ? "below" : "not below"} ${show(bound)} to either side.`,
  };
}

/** The non-inferiority bound alone, for a gate that is only a margin. */
export function judgeNonInferiority(metric: string, test: NonInferiority): GateResult {
  const { passed, mean, lowerBound, margin, level, count } = test;
  const bound = `the lower ${show(level * 100)} % bound of its change is ${show(lowerBound)}`;
  let verdict: string;
  if (passed) verdict = `above −${show(margin)} by ${show(lowerBound + margin)}`;
  else if (mean <= -margin) {
    verdict = `not above −${show(margin)} (short by ${show(-margin - lowerBound)}), and the mean change itself loses that much`;
  } else {
    const needed = test.queriesNeeded === undefined ? "" : `; about ${test.queriesNeeded} queries could`;
    verdict = `not above −${show(margin)} (short by ${show(-margin - lowerBound)}), although the mean change is within it: the sample cannot rule the loss out${needed}`;
  }
  return {
    level: "L3",
    check: `${metric} non-inferiority`,
    outcome: passed ? "passed" : "failed",
    value: lowerBound,
    bound: -margin,
    sentence:
      `L3 ${metric} ${passed ? "passed" : "failed"}: it changes by ${show(mean)} over ${count} queries, and ${bound}, ${verdict}. ` +
      visibility(test, margin),
  };
}

/** Whether a drop of this size could have been seen. */
function visibility(test: NonInferiority, drop: number): string {
  const { detectableDrop, count, mean } = test;
  if (detectableDrop === undefined) {
    const what = mean === 0 ? "No query changes" : "All queries change alike";
    return `${what} in this sample of ${count}: without spread it does not say whether a drop of ${show(drop)} would be seen.`;
  }
  if (detectableDrop <= drop) {
    return `A drop of ${show(drop)} would be seen in this sample: it finds ${show(detectableDrop)} in 80 % of cases.`;
  }
  return `A drop of ${show(drop)} could go unseen: with ${count} queries only one of ${show(detectableDrop)} or more is found in 80 % of cases.`;
}

function above(metric: string, value: number, row: string, floor: number): GateResult {
  const passed = value > floor;
  return {
    level: "L3",
    check: `${metric} above ${row}`,
    outcome: passed ? "passed" : "failed",
    value,
    bound: floor,
    sentence: `L3 ${metric} ${passed ? "passed" : "failed"}: ${show(value)} is ${passed ? "above" : "not above"} the ${show(floor)} of a ${row}.`,
  };
}

function atMost(
  level: GateResult["level"],
  check: string,
  value: number | undefined,
  bound: number | undefined,
  detail: string,
): GateResult {
  return bounded(level, check, value, bound, detail, "most");
}

function atLeast(
  level: GateResult["level"],
  check: string,
  value: number | undefined,
  bound: number | undefined,
  detail: string,
): GateResult {
  return bounded(level, check, value, bound, detail, "least");
}

function bounded(
  level: GateResult["level"],
  check: string,
  value: number | undefined,
  bound: number | undefined,
  detail: string,
  side: "most" | "least",
): GateResult {
  if (bound === undefined) {
    return {
      level,
      check,
      outcome: "reported",
      value,
      bound,
      sentence: `${level} ${check}: ${show(value)} (${detail}); not judged at this precision.`,
    };
  }
  if (value === undefined || Number.isNaN(value)) {
    return {
      level,
      check,
      outcome: "failed",
      value: undefined,
      bound,
      sentence: `${level} ${check} failed: it cannot be computed (${detail}).`,
    };
  }
  const passed = side === "most" ? value <= bound : value >= bound;
  const by = show(Math.abs(value - bound));
  const relation = passed
    ? `within the bound of at ${side} ${show(bound)} by ${by}`
    : `${side === "most" ? "above the most" : "below the least"} allowed, ${show(bound)}, by ${by}`;
  return {
    level,
    check,
    outcome: passed ? "passed" : "failed",
    value,
    bound,
    sentence: `${level} ${check} ${passed ? "passed" : "failed"}: ${show(value)} is ${relation} (${detail}).`,
  };
}

/** Four digits; what summation left over of 0 is 0. */
function show(value: number | undefined): string {
  if (value === undefined) return "unknown";
  return String(Math.abs(value) < 1e-9 ? 0 : Number(value.toPrecision(4))).replace("-", "−");
}
