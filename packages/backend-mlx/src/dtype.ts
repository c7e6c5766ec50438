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
