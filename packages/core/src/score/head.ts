import type { OutputRequest, RawOutput } from "../contract/backend.js";
import type { Head, HeadModule, ModelProfile, Pooling } from "../contract/model-profile.js";
import type { Scale } from "../contract/result.js";

/** Output kinds that a head can read, best first, and the tokens that they are about. */
export function outputsFor(head: Head): OutputRequest {
  switch (head.kind) {
    case "logit":
    case "two-class":
    case "class":
      return { kinds: ["class-logits"] };
    case "pooled-chain":
      // An artifact that has the chain inside gives the class logits themselves.
      return { kinds: ["class-logits", "pooled", "hidden-states"] };
    case "cosine":
      return { kinds: ["pooled", "hidden-states"] };
    case "answer-tokens":
      return {
        kinds: ["token-logits"],
        tokens: head.negative === undefined ? [head.positive] : [head.positive, head.negative],
      };
    case "max-sim":
      return { kinds: ["hidden-states"] };
    case "marker-cosine":
      return { kinds: ["marked-states"], tokens: [head.query, head.document] };
  }
}

/** The modules that core computes after pooling. */
export function modulesOf(head: Head): readonly HeadModule[] {
  return "modules" in head ? (head.modules ?? []) : [];
}

/** What a profile's scores mean. */
export function scaleOf({ head, activation }: Pick<ModelProfile, "head" | "activation">): Scale {
  if (head.kind === "cosine" || head.kind === "marker-cosine" || head.kind === "max-sim") return "cosine";
  return ({ identity: "logit", sigmoid: "probability", tanh: "tanh" } as const)[activation];
}

/** From ranking key to score, in float64. */
export function activate(logit: number, activation: ModelProfile["activation"]): number {
  if (activation === "tanh") return Math.tanh(logit);
  return activation === "sigmoid" ? 1 / (1 + Math.exp(-logit)) : logit;
}

/**
 * The ranking key of one row of class logits or answer-token logits.
 * @throws {RangeError} when the output does not have as many numbers a row as the head reads.
 */
export function readLogit(head: Head, output: RawOutput, row: number): number {
  const wanted =
    head.kind === "class"
      ? head.classes
      : head.kind === "two-class" || (head.kind === "answer-tokens" && head.negative !== undefined)
        ? 2
        : 1;
  const kind = head.kind === "answer-tokens" ? "token-logits" : "class-logits";
  if (output.kind !== kind || output.shape.length !== 2 || output.shape[1] !== wanted) {
    throw new RangeError(
      `the model's output has shape (${output.shape.join(", ")}), and its head "${head.kind}" reads ` +
        `(rows, ${wanted}); ${head.kind === "answer-tokens" ? "the profile" : "config.json's id2label"} and the artifact disagree`,
    );
  }
  const value = (column: number): number => output.data[row * wanted + column] as number;
  if (head.kind === "two-class") return value(head.positive) - value(1 - head.positive);
  if (head.kind === "class") {
    const others = Array.from({ length: wanted }, (_, column) => column).filter(
      (one) => one !== head.positive,
    );
    return value(head.positive) - logOfSum(others.map(value));
  }
  if (head.kind !== "answer-tokens") return value(0);
  return (value(0) - (head.negative === undefined ? 0 : value(1))) / (head.temperature ?? 1);
}

/** log Σ exp, without an overflow on the way. */
function logOfSum(values: readonly number[]): number {
  const most = Math.max(...values);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** The pooled vector of one row, in float64, before modules and normalisation. */
export function readVector(pooling: Pooling, output: RawOutput, row: number, length: number): Float64Array {
  const width = output.shape.at(-1) as number;
  const vector = new Float64Array(width);
  if (output.kind === "pooled") {
    vector.set(output.data.subarray(row * width, (row + 1) * width));
    return vector;
  }
  const columns = output.shape[1] as number;
  const first = pooling === "last-token" ? length - 1 : 0;
  const last = pooling === "mean" ? length : first + 1;
  for (let token = first; token < last; token += 1) {
    const offset = (row * columns + token) * width;
    for (let i = 0; i < width; i += 1)
      vector[i] = (vector[i] as number) + (output.data[offset + i] as number);
  }
  return vector.map((value) => value / (last - first));
}

/** The vectors of the first `count` tokens of one row, in float64. */
export function readStates(output: RawOutput, row: number, count: number): Float64Array[] {
  const [, columns = 0, width = 0] = output.shape;
  if (output.kind !== "hidden-states" || output.shape.length !== 3 || columns < count) {
    throw new RangeError(
      `the model's output has shape (${output.shape.join(", ")}), and row ${row} of the batch has ${count} tokens`,
    );
  }
  return Array.from({ length: count }, (_, token) => {
    const start = (row * columns + token) * width;
    return Float64Array.from(output.data.subarray(start, start + width));
  });
}

/** The vectors at the first `count` marks of one row, in float64. */
export function readMarks(output: RawOutput, row: number, count: number): Float64Array[] {
  const [, marks = 0, width = 0] = output.shape;
  if (output.kind !== "marked-states" || output.shape.length !== 3 || marks < count) {
    throw new RangeError(
      `the model's output has shape (${output.shape.join(", ")}), and row ${row} of the batch has ${count} marks`,
    );
  }
  return Array.from({ length: count }, (_, mark) =>
    Float64Array.from(output.data.subarray((row * marks + mark) * width, (row * marks + mark + 1) * width)),
  );
}
