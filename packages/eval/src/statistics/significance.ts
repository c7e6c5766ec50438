import { InvalidInputError } from "@crossrank/core";
import { checkResamples, checkSample, type ResamplingOptions } from "./bootstrap.js";
import { createRandom } from "./random.js";
import { mean, sum } from "./summary.js";

export interface SignFlipTest {
  /** (count + 1) / (B + 1), where count is the flips at least as extreme as what was seen: never 0. */
  readonly pValue: number;
  /** Mean of the differences as they are. */
  readonly mean: number;
  readonly resamples: number;
}

/**
 * Paired randomisation test: if two systems are alike, the sign of each query's difference is a coin's. Draws B
 * assignments of signs; the p-value counts the observed one among them (Phipson and Smyth, "Permutation p-values
 * should never be zero", 2010).
 * @param differences candidate − reference, one a query.
 * @param options.alternative `two-sided` (default), or `greater`: the candidate is better.
 * @throws {InvalidInputError}
 */
export function signFlipTest(
  differences: ArrayLike<number>,
  options: ResamplingOptions & { readonly alternative?: "two-sided" | "greater" | undefined } = {},
): SignFlipTest {
  const { resamples = 10_000, seed = 1, alternative = "two-sided" } = options;
  const sample = checkSample(differences, 1);
  checkResamples(resamples);
  const extremity = alternative === "two-sided" ? Math.abs : (value: number) => value;
  const observed = extremity(sum(sample));
  // Sums of the same numbers in other signs that are equal in exact arithmetic may differ by rounding: still as extreme.
  const slack = 1e-12 * sum(sample.map(Math.abs));
  const random = createRandom(seed);
  let count = 0;
  for (let index = 0; index < resamples; index++) {
    let total = 0;
    let bits = 0;
    for (let position = 0; position < sample.length; position++) {
      if (position % 32 === 0) bits = random.nextUint32();
      const value = sample[position] ?? 0;
      total += bits & 1 ? value : -value;
      bits >>>= 1;
    }
    if (extremity(total) >= observed - slack) count++;
  }
  return { pValue: (count + 1) / (resamples + 1), mean: mean(sample), resamples };
}

/**
 * P-values adjusted for their number after Holm ("A simple sequentially rejective multiple test procedure", 1979):
 * the i-th smallest of m is multiplied by m − i + 1, never below the one before it, at most 1. In the order given.
 * @throws {InvalidInputError} for a value outside 0 to 1.
 */
export function holm(pValues: readonly number[]): readonly number[] {
  pValues.forEach((value, index) => {
    if (!(value >= 0 && value <= 1)) {
      throw new InvalidInputError(`pValues[${index}]`, `must be 0 to 1, found ${value}`);
    }
  });
  const ascending = pValues.map((value, index) => ({ value, index })).sort((a, b) => a.value - b.value);
  const adjusted = new Array<number>(pValues.length);
  let least = 0;
  ascending.forEach(({ value, index }, position) => {
    least = Math.max(least, Math.min(1, value * (pValues.length - position)));
    adjusted[index] = least;
  });
  return adjusted;
}
