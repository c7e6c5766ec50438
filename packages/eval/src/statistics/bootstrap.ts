import { InvalidInputError } from "@crossrank/core";
import { queriesNeeded, smallestDetectableDrop } from "./detectable.js";
import { createRandom } from "./random.js";
import { mean, quantileOfSorted, standardDeviation } from "./summary.js";

export interface ResamplingOptions {
  /** Default 10,000. */
  readonly resamples?: number | undefined;
  /** Default 1. The same seed and values give the same numbers on every machine. */
  readonly seed?: number | undefined;
}

export interface ConfidenceInterval {
  readonly mean: number;
  readonly lower: number;
  readonly upper: number;
  /** Share of intervals that hold the true mean, 0 to 1. */
  readonly level: number;
  readonly count: number;
}

/**
 * Means of resamples of the values, drawn with replacement, each as large as the sample. Ascending.
 * @throws {InvalidInputError} for no values or fewer than 1 resample.
 */
export function bootstrapMeans(values: ArrayLike<number>, options: ResamplingOptions = {}): Float64Array {
  const { resamples = 10_000, seed = 1 } = options;
  const sample = checkSample(values, 1);
  checkResamples(resamples);
  const means = new Float64Array(resamples);
  const positions = keptPositions(sample.length, resamples, seed);
  const random = createRandom(seed);
  let at = 0;
  for (let index = 0; index < resamples; index++) {
    let total = 0;
    // Not one loop that asks for the next position: a call a number takes longer than all the rest.
    if (positions === undefined)
      for (let drawn = 0; drawn < sample.length; drawn++) total += sample[random.below(sample.length)] ?? 0;
    else for (const end = at + sample.length; at < end; at++) total += sample[positions[at] as number] ?? 0;
    means[index] = total / sample.length;
  }
  return means.sort();
}

/** Most numbers that {@link kept} holds, of two bytes each. */
const mostKept = 2 ** 23;
/** Of the last sample. A report draws the same for every metric of every system, and drawing is what takes time. */
let kept: { readonly key: string; readonly positions: Uint16Array } | undefined;

/** Positions in a sample of `count`, as many as all resamples have; undefined where they are too many to keep. */
function keptPositions(count: number, resamples: number, seed: number): Uint16Array | undefined {
  if (count > 2 ** 16 || count * resamples > mostKept) return undefined;
  const key = `${count} ${resamples} ${seed}`;
  if (kept?.key !== key) {
    const random = createRandom(seed);
    const positions = new Uint16Array(count * resamples);
    for (let index = 0; index < positions.length; index++) positions[index] = random.below(count);
    kept = { key, positions };
  }
  return kept.positions;
}

/**
 * Two-sided percentile bootstrap interval of a mean (Efron 1979).
 * @throws {InvalidInputError} for fewer than two values: one value has no spread to resample, and its interval would
 *   be a point that looks certain.
 */
export function bootstrapInterval(
  values: ArrayLike<number>,
  options: ResamplingOptions & { readonly level?: number | undefined } = {},
): ConfidenceInterval {
  const { level = 0.95 } = options;
  checkShare("level", level);
  const sample = checkSample(values, 2);
  const means = bootstrapMeans(sample, options);
  return {
    mean: mean(sample),
    lower: quantileOfSorted(means, (1 - level) / 2),
    upper: quantileOfSorted(means, (1 + level) / 2),
    level,
    count: sample.length,
  };
}

export interface NonInferiority {
  /** Lower bound above −margin. */
  readonly passed: boolean;
  /** Mean of candidate − reference. */
  readonly mean: number;
  /** One-sided lower bound of it. */
  readonly lowerBound: number;
  readonly margin: number;
  readonly level: number;
  readonly count: number;
  /** Standard deviation of the differences. */
  readonly deviation: number;
  /**
   * {@link smallestDetectableDrop} of this sample; undefined where all differences are equal: a sample without spread
   * says nothing about the next one.
   */
  readonly detectableDrop: number | undefined;
  /**
   * Queries that would bring the detectable drop down to the margin; undefined for a margin of 0, and where all
   * differences are equal.
   */
  readonly queriesNeeded: number | undefined;
}

/**
 * Whether the candidate is worse than the reference by less than the margin: the lower one-sided bound (5th
 * percentile of the bootstrap means at level .95) of mean(candidate − reference) lies above −margin. Not the same as
 * "no significant difference", which a small sample always passes.
 * @param differences candidate − reference, one a query, at least two.
 * @param options.margin the loss that is accepted, in the metric's unit, at least 0.
 * @throws {InvalidInputError}
 */
export function nonInferiority(
  differences: ArrayLike<number>,
  options: ResamplingOptions & { readonly margin: number; readonly level?: number | undefined },
): NonInferiority {
  const { margin, level = 0.95 } = options;
  if (!(margin >= 0 && margin < Number.POSITIVE_INFINITY)) {
    throw new InvalidInputError("margin", `must be a finite number of at least 0, found ${margin}`);
  }
  checkShare("level", level);
  const sample = checkSample(differences, 2);
  const lowerBound = quantileOfSorted(bootstrapMeans(sample, options), 1 - level);
  const deviation = standardDeviation(sample);
  // By the values: their deviation may be a rounding error.
  const isFlat = sample.every((value) => value === sample[0]);
  return {
    passed: lowerBound > -margin,
    mean: mean(sample),
    lowerBound,
    margin,
    level,
    count: sample.length,
    deviation,
    detectableDrop: isFlat ? undefined : smallestDetectableDrop(deviation, sample.length),
    queriesNeeded: margin === 0 || isFlat ? undefined : queriesNeeded(deviation, margin),
  };
}

export function checkSample(values: ArrayLike<number>, least: number): Float64Array {
  const sample = Float64Array.from(values);
  if (sample.length < least) {
    throw new InvalidInputError(
      "values",
      `must hold at least ${least} ${least === 1 ? "number" : "numbers"}, found ${sample.length}`,
    );
  }
  const bad = sample.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new InvalidInputError(`values[${bad}]`, `must be finite, found ${sample[bad]}`);
  return sample;
}

export function checkResamples(resamples: number): void {
  if (!Number.isSafeInteger(resamples) || resamples < 1) {
    throw new InvalidInputError("resamples", `must be an integer of at least 1, found ${resamples}`);
  }
}

function checkShare(path: string, share: number): void {
  if (!(share > 0 && share < 1))
    throw new InvalidInputError(path, `must lie between 0 and 1, found ${share}`);
}
