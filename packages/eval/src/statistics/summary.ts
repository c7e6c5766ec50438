import { InvalidInputError } from "@crossrank/core";

/**
 * Sum with Neumaier's compensation ("Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", ZAMM
 * 1974): the error stays near one rounding however many and however different the terms. 0 for none.
 */
export function sum(values: Iterable<number>): number {
  let total = 0;
  let lost = 0;
  for (const value of values) {
    const next = total + value;
    lost += Math.abs(total) >= Math.abs(value) ? total - next + value : value - next + total;
    total = next;
  }
  return total + lost;
}

/** @throws {InvalidInputError} for no values. */
export function mean(values: ArrayLike<number> & Iterable<number>): number {
  checkNotEmpty(values);
  return sum(values) / values.length;
}

/** Of a sample (n − 1 below), in two passes; 0 for one value. @throws {InvalidInputError} for no values. */
export function standardDeviation(values: ArrayLike<number> & Iterable<number>): number {
  const center = mean(values);
  if (values.length === 1) return 0;
  return Math.sqrt(sum(Array.from(values, (value) => (value - center) ** 2)) / (values.length - 1));
}

/**
 * Linear between order statistics (type 7 of Hyndman and Fan 1996, the default of numpy and R).
 * @param sorted ascending.
 * @param share 0 to 1.
 * @throws {InvalidInputError} for no values, or a share outside 0 to 1.
 */
export function quantileOfSorted(sorted: ArrayLike<number>, share: number): number {
  checkNotEmpty(sorted);
  if (!(share >= 0 && share <= 1)) throw new InvalidInputError("share", `must be 0 to 1, found ${share}`);
  const position = share * (sorted.length - 1);
  const below = Math.floor(position);
  const low = sorted[below] ?? 0;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] ?? low;
  return low + (high - low) * (position - below);
}

/** As {@link quantileOfSorted}, of values in any order. */
export function quantile(values: ArrayLike<number>, share: number): number {
  return quantileOfSorted(Float64Array.from(values).sort(), share);
}

function checkNotEmpty(values: ArrayLike<number>): void {
  if (values.length === 0) throw new InvalidInputError("values", "must hold at least one number");
}
