import type { Scale } from "@crossrank/core";

/** What `relevance_score` means in an answer. */
export type AnswerScale = "probability" | "mapped-cosine" | "logit" | "cosine";

export function answerScale(scale: Scale, rawScores: boolean): AnswerScale {
  if (scale === "cosine") return rawScores ? "cosine" : "mapped-cosine";
  return rawScores ? "logit" : "probability";
}

/**
 * From the ranking key to the number that clients get: OpenClaw refuses an answer with a number outside 0 to 1, AIKit
 * takes the sigmoid of all if one is outside, and Dify compares with 0.8.
 */
export function answerScore(
  { logit, score }: { readonly logit: number; readonly score: number },
  scale: AnswerScale,
): number {
  switch (scale) {
    case "probability":
      return 1 / (1 + Math.exp(-logit));
    case "mapped-cosine":
      // A cosine of float32 vectors may exceed 1 by its rounding.
      return Math.min(1, Math.max(0, (1 + score) / 2));
    case "logit":
      return logit;
    case "cosine":
      // Not the logit, which a late-interaction model sums over the query's tokens.
      return score;
  }
}
