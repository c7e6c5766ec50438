import type { Activation, Linear, Norm } from "../source/description.js";
import { flag, integer, integers, type ProgramBuilder, type Tensor, text } from "./program-builder.js";

/** Pieces of a transformer on (batch, channels, 1, length), the layout of the Neural Engine. */

/** W x + b as a convolution of one place. */
export function linear(builder: ProgramBuilder, x: Tensor, { weight, bias }: Linear, name: string): Tensor {
  const [outputs, inputs] = weight.shape as readonly [number, number];
  const [batch, , height, length] = x.type.dimensions;
  return builder.operation(
    "conv",
    name,
    {
      x,
      weight: builder.weight(`${name}_weight`, weight, [outputs, inputs, 1, 1]),
      ...(bias === undefined ? {} : { bias: builder.weight(`${name}_bias`, bias) }),
      strides: integers([1, 1]),
      pad_type: text("valid"),
      pad: integers([0, 0, 0, 0]),
      dilations: integers([1, 1]),
      groups: integer(1),
    },
    { dimensions: [batch, outputs, height, length] },
  );
}

/**
 * Over the channels. One operation, not its steps: a runtime that squares in half precision overflows from deviations
 * of 256 on, and how `layer_norm` accumulates is left to it; coremltools, too, joins the steps into this one. BERT's
 * epsilon of 1e-12 is no number of half precision; `number` makes it 2^-24.
 */
export function layerNorm(
  builder: ProgramBuilder,
  x: Tensor,
  { weight, bias, epsilon }: Norm,
  name: string,
): Tensor {
  return builder.operation("layer_norm", name, {
    x,
    axes: integers([1]),
    gamma: builder.weight(`${name}_gamma`, weight),
    ...(bias === undefined ? {} : { beta: builder.weight(`${name}_beta`, bias) }),
    epsilon: builder.number(epsilon),
  });
}

export function activate(builder: ProgramBuilder, x: Tensor, activation: Activation, name: string): Tensor {
  switch (activation) {
    case "identity":
      return x;
    case "gelu":
      return builder.operation("gelu", name, { x, mode: text("EXACT") });
    case "gelu-tanh":
      return builder.operation("gelu", name, { x, mode: text("TANH_APPROXIMATION") });
    case "silu":
    case "relu":
    case "tanh":
      return builder.operation(activation, name, { x });
  }
}

export function add(builder: ProgramBuilder, x: Tensor, y: Tensor, name: string): Tensor {
  return builder.operation("add", name, { x, y });
}

/** As it stands, of the same type: a cast to the type that it has already would be an operation for nothing. */
export function cast(
  builder: ProgramBuilder,
  x: Tensor,
  element: "fp16" | "fp32" | "int32",
  name: string,
): Tensor {
  if (x.type.element === element) return x;
  return builder.operation("cast", name, { x, dtype: text(element) }, { element });
}

/** @param perm of all dimensions. */
export function transpose(builder: ProgramBuilder, x: Tensor, perm: readonly number[], name: string): Tensor {
  const dimensions = perm.map((axis) => x.type.dimensions[axis]);
  return builder.operation("transpose", name, { x, perm: integers(perm) }, { dimensions });
}

/** @param axes that have one place each. */
export function squeeze(builder: ProgramBuilder, x: Tensor, axes: readonly number[], name: string): Tensor {
  const dimensions = x.type.dimensions.filter((_, axis) => !axes.includes(axis));
  return builder.operation("squeeze", name, { x, axes: integers(axes) }, { dimensions });
}

export function expand(builder: ProgramBuilder, x: Tensor, axis: number, name: string): Tensor {
  const dimensions = x.type.dimensions.toSpliced(axis, 0, 1);
  return builder.operation("expand_dims", name, { x, axes: integers([axis]) }, { dimensions });
}

/** Rows of a table, or entries of a vector. */
export function gather(
  builder: ProgramBuilder,
  x: Tensor,
  indices: Tensor | { readonly at: number },
  name: string,
): Tensor {
  const [, ...row] = x.type.dimensions;
  const places = "at" in indices ? [] : indices.type.dimensions;
  return builder.operation(
    "gather",
    name,
    {
      x,
      indices: "at" in indices ? integer(indices.at) : indices,
      axis: integer(0),
      batch_dims: integer(0),
      // iOS 16's has no such parameter.
      ...(builder.opset === "CoreML6" ? {} : { validate_indices: flag(false) }),
    },
    { dimensions: [...places, ...row] },
  );
}

/** Parts of equal size along an axis. */
export function split(
  builder: ProgramBuilder,
  x: Tensor,
  { axis, parts }: { readonly axis: number; readonly parts: number },
  name: string,
): readonly Tensor[] {
  if (parts === 1) return [x];
  const size = (x.type.dimensions[axis] as number) / parts;
  const type = { ...x.type, dimensions: x.type.dimensions.with(axis, size) };
  const outputs = Array.from({ length: parts }, (_, part) => ({ name: `${name}_${part}`, type }));
  const sizes = integers(Array.from({ length: parts }, () => size));
  builder.operationOfMany("split", name, { x, split_sizes: sizes, axis: integer(axis) }, outputs);
  return outputs;
}

/** The first place of each row: (batch, channels, 1, 1). */
export function firstPlace(builder: ProgramBuilder, x: Tensor, name: string): Tensor {
  const [batch, channels] = x.type.dimensions as readonly number[];
  const dimensions = [batch as number, channels as number, 1, 1];
  return builder.operation(
    "slice_by_index",
    name,
    { x, begin: integers([0, 0, 0, 0]), end: integers(dimensions) },
    { dimensions },
  );
}
