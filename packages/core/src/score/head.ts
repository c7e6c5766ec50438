import type { OutputKind, RawOutput } from "../contract/backend.js";
import type { Head, ModelProfile } from "../contract/model-profile.js";
import type { Scale } from "../contract/result.js";

/** Output kinds that a head can read, best first. */
export function outputsFor(head: Head): readonly OutputKind[] {
  return head.kind === "cosine" ? ["pooled", "hidden-states"] : ["class-logits"];
}

/** What a profile's scores mean. */
export function scaleOf({ head, activation }: Pick<ModelProfile, "head" | "activation">): Scale {
  if (head.kind === "cosine") return "cosine";
  return activation === "sigmoid" ? "probability" : "logit";
}

/** From ranking key to score, in float64. */
export function activate(logit: number, activation: ModelProfile["activation"]): number {
  return activation === "sigmoid" ? 1 / (1 + Math.exp(-logit)) : logit;
}

/**
 * The ranking key of one row of classifier outputs.
 * @throws {RangeError} when the output does not have the head's number of classes.
 */
export function readLogit(head: Head, output: RawOutput, row: number): number {
  const wanted = head.kind === "two-class" ? 2 : 1;
  const classes = output.shape[1];
  if (output.kind !== "class-logits" || classes !== wanted) {
    throw new RangeError(
      `the model's output has shape (${output.shape.join(", ")}), and its head "${head.kind}" reads ` +
        `(rows, ${wanted}); config.json's id2label and the artifact disagree`,
    );
  }
  if (head.kind !== "two-class") return output.data[row] as number;
  const positive = output.data[row * 2 + head.positive] as number;
  const negative = output.data[row * 2 + 1 - head.positive] as number;
  return positive - negative;
}

/** The L2-normalised vector of one row, in float64. NaN throughout when the row is all zeros. */
export function readVector(
  head: Head & { kind: "cosine" },
  output: RawOutput,
  row: number,
  length: number,
): Float64Array {
  const width = output.shape.at(-1) as number;
  const vector = new Float64Array(width);
  if (output.kind === "pooled") {
    vector.set(output.data.subarray(row * width, (row + 1) * width));
  } else {
    const columns = output.shape[1] as number;
    const start = row * columns * width;
    const tokens = head.pooling === "cls" ? 1 : length;
    for (let token = 0; token < tokens; token += 1) {
      const offset = start + token * width;
      for (let i = 0; i < width; i += 1)
        vector[i] = (vector[i] as number) + (output.data[offset + i] as number);
    }
  }
  const norm = Math.sqrt(dot(vector, vector));
  // Mean pooling's division by the token count is part of the norm.
  return vector.map((value) => value / norm);
}

export function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
