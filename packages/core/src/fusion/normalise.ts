/**
 * How the scores of a list are made comparable with those of another.
 * - `min-max`: (score − least) / (greatest − least), 0 to 1. Equal scores are 1 each.
 * - `z-score`: (score − mean) / standard deviation of the list. Equal scores are 0 each.
 * - `none`: as they are, for lists of one scale.
 */
export type Normalisation = "min-max" | "z-score" | "none";

/** The scores on their new scale, in their order, and what counts for a document that the list misses. */
export function normalised(
  scores: readonly number[],
  normalisation: Normalisation,
): { readonly scores: readonly number[]; readonly lowest: number } {
  if (scores.length === 0) return { scores: [], lowest: 0 };
  const least = scores.reduce((a, b) => Math.min(a, b));
  const greatest = scores.reduce((a, b) => Math.max(a, b));
  if (normalisation === "none") return { scores, lowest: least };
  if (least === greatest) {
    return { scores: scores.map(() => (normalisation === "min-max" ? 1 : 0)), lowest: 0 };
  }
  // Of great numbers half of each, since their distance is not finite.
  const half = Number.isFinite(greatest - least) ? 1 : 0.5;
  const range = greatest * half - least * half;
  const unit = scores.map((score) => (score * half - least * half) / range);
  if (normalisation === "min-max") return { scores: unit, lowest: 0 };
  // Of the scores from 0 to 1: squares of great numbers overflow, and those of small ones vanish. A z-score is the same.
  const mean = unit.reduce((sum, one) => sum + one, 0) / unit.length;
  const deviation = Math.sqrt(unit.reduce((sum, one) => sum + (one - mean) ** 2, 0) / unit.length);
  return { scores: unit.map((one) => (one - mean) / deviation), lowest: (0 - mean) / deviation };
}
