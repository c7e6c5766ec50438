/** How far probabilities are from what came true. Less is better. */
export interface CalibrationMeasure {
  /** Mean of −ln of the probability that was given to what came true: nats a pair, 0 or more. */
  readonly logLoss: number;
  /** Expected calibration error: mean distance of a bin's probability from its share of relevant pairs, 0 to 1. */
  readonly calibrationError: number;
}

/** What a calibration was fitted on, and how well it fits. */
export interface CalibrationFit {
  readonly pairs: number;
  /** How many of them are relevant. */
  readonly relevant: number;
  /** Of the plain sigmoid of the logit; null for cosines, which are no logits. */
  readonly before: CalibrationMeasure | null;
  /** On the pairs that it was fitted on. */
  readonly after: CalibrationMeasure;
  /**
   * On pairs that the fit did not see: five folds by group, each measured by a fit on the other four. Null where there
   * are fewer than two groups, or a fold leaves one class alone.
   */
  readonly heldOut: CalibrationMeasure | null;
  /** Of the judged pairs: a task or a file, as the user named it. */
  readonly source?: string | undefined;
  /** Which model on which runtime gave the logits. */
  readonly of?: string | undefined;
}

/**
 * How a model's logits become probabilities that can be trusted, as data: fitted on judged pairs by
 * `crossrank calibrate`, or taken from a model's card. The order of documents stays.
 * - `temperature`: the sigmoid of `logit / temperature`. A card that divides by 5 has the temperature 5.
 * - `platt`: the sigmoid of `slope · logit + intercept`.
 */
export type Calibration = (
  | {
      readonly method: "temperature";
      /** Above 0. */
      readonly temperature: number;
    }
  | {
      readonly method: "platt";
      /** Above 0. */
      readonly slope: number;
      readonly intercept: number;
    }
) & {
  /** What it was fitted on, and how well it fits. Undefined of one that was written by hand. */
  readonly fit?: CalibrationFit | undefined;
};

/** Which probabilities stand in a result. */
export interface AppliedCalibration {
  /** `sigmoid`: the model has no calibration, and the probability is the sigmoid of its logit. */
  readonly method: Calibration["method"] | "sigmoid";
  /** The probability is the sigmoid of `slope · logit + intercept`. */
  readonly slope: number;
  readonly intercept: number;
  /** Where it was found, e.g. `"crossrank.json"`. */
  readonly source: string;
}

/** What a call wants of its scores: those of the model's own activation, or probabilities. */
export type ActivationChoice = "model" | "probability";
