import type { Settings } from "@crossrank/core";

/** A tensor on its way into or out of a Core ML model, row-major. */
export interface PredictorInput {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Int32Array;
}

export interface PredictorOutput {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/**
 * Something that computes a Core ML model: Core ML itself on a Mac, or the translation to ONNX anywhere. Everything
 * above it (shapes, padding, which output means what) is one code for both.
 */
export interface Predictor {
  /** E.g. `{ name: "Core ML", version: "macOS 15.1" }`. */
  readonly runtime: { readonly name: string; readonly version: string };
  /** What can change its numbers: the compute units, or the reference's arithmetic and its backend's settings. */
  readonly settings: Settings;
  /** How many predictions may be under way at once; at least 1, which is the default. */
  readonly concurrentRuns?: number;
  /** Whether a row's numbers depend on the other rows beyond rounding; they do not by default. */
  readonly rowsAffectScores?: boolean;
  /**
   * One prediction. The arrays belong to the predictor from here on.
   * @param output name of the output that is wanted.
   * @throws an Error that says what the runtime refused.
   */
  predict(inputs: readonly PredictorInput[], output: string): Promise<PredictorOutput>;
  /** Frees the model after the prediction under way. */
  close(): Promise<void>;
}
