import { mean, sum } from "../statistics/summary.js";

/** candidate ≈ intercept + slope · reference, by least squares. */
export interface LinearFit {
  readonly slope: number;
  readonly intercept: number;
  /** Share of the candidate's variance that the line explains, 0 to 1; 1 for a constant candidate, which a line fits. */
  readonly rSquared: number;
  /** Standard deviation around the line, with n − 2 degrees of freedom; 0 for two points. */
  readonly residualDeviation: number;
}

/** Undefined for fewer than two points or a constant reference. */
export function fitLine(reference: Float64Array, candidate: Float64Array): LinearFit | undefined {
  if (reference.length < 2) return undefined;
  const centerX = mean(reference);
  const centerY = mean(candidate);
  const dx = reference.map((value) => value - centerX);
  const dy = candidate.map((value) => value - centerY);
  const xx = sum(dx.map((value) => value * value));
  if (xx === 0) return undefined;
  const slope = sum(dx.map((value, index) => value * (dy[index] ?? 0))) / xx;
  const yy = sum(dy.map((value) => value * value));
  const residual = sum(dx.map((value, index) => ((dy[index] ?? 0) - slope * value) ** 2));
  return {
    slope,
    intercept: centerY - slope * centerX,
    rSquared: yy === 0 ? 1 : Math.max(0, 1 - residual / yy),
    residualDeviation: reference.length === 2 ? 0 : Math.sqrt(residual / (reference.length - 2)),
  };
}
