import type { PairScore } from "../contract/result.js";

/**
 * Positions of the pairs, best first: by logit descending, ties by position. Pairs without a logit come last, by
 * position. Logits are compared at full precision and never through the activation, which makes ties by rounding.
 */
export function rankByLogit(scores: readonly Pick<PairScore, "logit">[]): number[] {
  const keys = scores.map(({ logit }) => logit ?? Number.NEGATIVE_INFINITY);
  return keys
    .map((_, index) => index)
    .sort((a, b) => {
      const [left, right] = [keys[a] as number, keys[b] as number];
      return left === right ? a - b : right > left ? 1 : -1;
    });
}
