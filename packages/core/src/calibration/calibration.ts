import type { AppliedCalibration, Calibration } from "../contract/calibration.js";
import { InvalidInputError } from "../contract/errors.js";
import type { ModelProfile, ProfileSources } from "../contract/model-profile.js";
import type { PairScore, Scale } from "../contract/result.js";
import { scaleOf } from "../score/head.js";

/** Greatest of a calibration's numbers, and 1 / greatest the least above 0: beyond it a line is no sensible one. */
export const greatest = 1e100;

/** The sigmoid, in float64, without an overflow on either side. */
export function sigmoid(value: number): number {
  if (value >= 0) return 1 / (1 + Math.exp(-value));
  const small = Math.exp(value);
  return small / (1 + small);
}

/** Slope and intercept of a calibration. */
export function lineOf(calibration: Calibration): { readonly slope: number; readonly intercept: number } {
  return calibration.method === "temperature"
    ? { slope: 1 / calibration.temperature, intercept: 0 }
    : { slope: calibration.slope, intercept: calibration.intercept };
}

/** The probability that a document with this logit is relevant. */
export function calibratedProbability(logit: number, calibration: Calibration): number {
  const { slope, intercept } = lineOf(calibration);
  return sigmoid(slope * logit + intercept);
}

/**
 * What `activation: "probability"` means for a model.
 *
 * @throws {InvalidInputError} for cosines without a calibration: they are no logits, and their sigmoid says nothing.
 */
export function calibrationOf(
  profile: Pick<ModelProfile, "head" | "activation" | "calibration">,
  sources: ProfileSources,
): AppliedCalibration {
  const { calibration } = profile;
  if (calibration !== undefined) {
    const source = sources.calibration ?? "given by the caller";
    return { method: calibration.method, ...lineOf(calibration), source };
  }
  // Also of late interaction, whose logit is a sum of cosines: one a token of the query.
  if (scaleOf(profile) === "cosine") {
    throw new InvalidInputError(
      "activation",
      "is probability, and this model gives cosines, which are no logits. Fit a calibration with `crossrank calibrate`, or leave the option out",
    );
  }
  return { method: "sigmoid", slope: 1, intercept: 0, source: "the model's logit, not calibrated" };
}

/** What a result's scores become under a calibration. Logits, and with them the order, stay. */
export function withProbabilities<Result extends { readonly scores: readonly PairScore[] }>(
  result: Result,
  calibration: AppliedCalibration,
): Omit<Result, "scores"> & {
  readonly scores: readonly PairScore[];
  readonly scale: Scale;
  readonly calibration: AppliedCalibration;
} {
  const { slope, intercept } = calibration;
  const probability = (logit: number): number => sigmoid(slope * logit + intercept);
  const scores = result.scores.map((score): PairScore => {
    const { logit, relevantSpans } = score;
    if (logit === null) return score;
    return {
      ...{ ...score, score: probability(logit) },
      ...(relevantSpans === undefined
        ? {}
        : { relevantSpans: relevantSpans.map((span) => ({ ...span, score: probability(span.logit) })) }),
    };
  });
  return { ...result, scores, scale: "probability", calibration };
}
