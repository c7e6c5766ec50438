/** Share of scores at a limit of their scale, where different documents can no longer be told apart. Each 0 to 1. */
export interface Saturation {
  /** Exactly 0 or 1 (probabilities), exactly −1 or 1 (cosines). Logits have no such limit. */
  readonly exact: number;
  /** At a limit once written as float32: rounded to 0 or 1 (beyond logit 17.33), or a logit at the type's largest number. */
  readonly float32: number;
  /** The same for float16: 1 from logit 8.32 on, 0 from −17.33, or a logit of ±65504 and beyond. */
  readonly float16: number;
}

/** The score scale: `probability` 0 to 1, `cosine` −1 to 1, `logit` unbounded. */
export function saturationOf(
  scores: ArrayLike<number>,
  scale: "probability" | "cosine" | "logit",
): Saturation {
  const limits = {
    probability: {
      exact: (score: number) => score === 0 || score === 1,
      float32: (score: number) => Math.fround(score) === 0 || Math.fround(score) === 1,
      float16: (score: number) => score >= halfAboveRoundsToOne || score <= halfBelowRoundsToZero,
    },
    cosine: {
      exact: (score: number) => Math.abs(score) === 1,
      float32: (score: number) => Math.abs(Math.fround(score)) === 1,
      float16: (score: number) => Math.abs(score) >= halfAboveRoundsToOne,
    },
    logit: {
      exact: () => false,
      float32: (score: number) => Math.abs(score) >= largestFloat32,
      float16: (score: number) => Math.abs(score) >= largestFloat16,
    },
  }[scale];
  const share = (atLimit: (score: number) => boolean) => {
    let count = 0;
    for (let index = 0; index < scores.length; index++) if (atLimit(scores[index] ?? 0)) count++;
    return scores.length === 0 ? 0 : count / scores.length;
  };
  return { exact: share(limits.exact), float32: share(limits.float32), float16: share(limits.float16) };
}

const largestFloat32 = (2 - 2 ** -23) * 2 ** 127;
const largestFloat16 = 65_504;
/** Half precision steps by 2^-11 below 1 and by 2^-24 above 0; from the middle of the last step on it rounds to the limit. */
const halfAboveRoundsToOne = 1 - 2 ** -12;
const halfBelowRoundsToZero = 2 ** -25;
