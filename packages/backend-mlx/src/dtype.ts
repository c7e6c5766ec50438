import type { NumericBounds } from "@crossrank/core";
import type { Compute } from "./native.js";

/** How a precision is made of a model's own weights. */
export interface Precision {
  /** In what the model computes where nothing else is asked for. */
  readonly compute: Compute;
  /** Bits of the matrices' numbers; undefined leaves them. */
  readonly bits: number | undefined;
}

const precisions: Readonly<Record<string, Precision>> = {
  fp32: { compute: "float32", bits: undefined },
  bf16: { compute: "bfloat16", bits: undefined },
  fp16: { compute: "float16", bits: undefined },
  q8: { compute: "float32", bits: 8 },
  q4: { compute: "float32", bits: 4 },
};

/** Names of the precisions that weights can be loaded in, most precise first. */
export const dtypes: readonly string[] = Object.keys(precisions);

/** @param dtype one of `dtypes`. */
export function precisionOf(dtype: string): Precision {
  return precisions[dtype] ?? { compute: "float32", bits: undefined };
}

/**
 * How far a model's numbers lie from float32's where every result on the way is rounded. Measured on the fixtures of
 * packages/conformance, whose weights are random and larger than a trained model's: bfloat16 .43 of a logit and .036 of a
 * cosine at most, float16 .046 and .0065.
 */
const bounds: Readonly<Record<Compute, NumericBounds | undefined>> = {
  float32: undefined,
  float16: { logit: 0.06, cosine: 0.02, reason: "every step's results are rounded to float16" },
  bfloat16: { logit: 0.5, cosine: 0.05, reason: "every step's results are rounded to bfloat16" },
};

export function boundsOf(compute: Compute): NumericBounds | undefined {
  return bounds[compute];
}
