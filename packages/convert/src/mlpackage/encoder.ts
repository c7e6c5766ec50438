import type { ModelDescription, OutputHead } from "../source/description.js";
import { attend } from "./attention.js";
import { additiveMask, embed, type Inputs } from "./embeddings.js";
import { activate, add, cast, firstPlace, layerNorm, linear, squeeze } from "./layers.js";
import {
  flag,
  integers,
  type Precision,
  ProgramBuilder,
  scalar,
  type Tensor,
  tensorType,
} from "./program-builder.js";

/** What the program gives. */
export type EncoderOutput =
  /** `logit` (batch, classes). */
  | Extract<OutputHead, { kind: "classifier" }>
  /** `pooled_output` (batch, hidden), not normalised. */
  | { readonly kind: "pooled"; readonly pooling: "cls" | "mean" };

export interface EncoderRequest {
  readonly description: ModelDescription;
  readonly output: EncoderOutput;
  readonly precision: Precision;
  readonly opset: string;
  readonly batch: number;
  /** Undefined: one of several, which the description of the model lists. */
  readonly length: number | undefined;
}

/** The whole program, but for the places of its weights. */
export interface EncoderProgram {
  readonly builder: ProgramBuilder;
  readonly output: Tensor;
}

/** The network of a BERT or RoBERTa, in the layout of the Neural Engine: (batch, channels, 1, length) throughout. */
export function encoderProgram(request: EncoderRequest): EncoderProgram {
  const { description, precision, opset, batch, length } = request;
  const input = (name: string): Tensor => ({ name, type: tensorType("int32", [batch, 1, 1, length]) });
  const inputs: Inputs = {
    ids: input("input_ids"),
    mask: input("attention_mask"),
    segments: takesSegments(description) ? input("token_type_ids") : undefined,
  };
  const builder = new ProgramBuilder({
    precision,
    opset,
    inputs: Object.values(inputs).filter((tensor) => tensor !== undefined),
  });
  let hidden = embed(builder, inputs, description);
  const mask = additiveMask(builder, inputs.mask);
  for (const [index, layer] of description.layers.entries()) {
    const name = `layer_${index}`;
    const attended = attend(builder, hidden, layer.attention, mask, `${name}_attention`);
    hidden = add(builder, attended, hidden, `${name}_attention_sum`);
    if (layer.attentionNorm !== undefined) {
      hidden = layerNorm(builder, hidden, layer.attentionNorm, `${name}_attention_norm`);
    }
    const { up, down, activation } = layer.feedForward;
    const inner = linear(builder, hidden, up, `${name}_up`);
    const active = activate(builder, inner, activation, `${name}_active`);
    const fed = linear(builder, active, down, `${name}_down`);
    hidden = add(builder, fed, hidden, `${name}_sum`);
    hidden = layerNorm(builder, hidden, layer.feedForwardNorm, `${name}_norm`);
  }
  return { builder, output: finish(builder, hidden, inputs.mask, request.output) };
}

/** A table with one row is a constant. */
function takesSegments({ embeddings }: ModelDescription): boolean {
  return (embeddings.segment?.shape[0] ?? 0) > 1;
}

function finish(builder: ProgramBuilder, hidden: Tensor, mask: Tensor, output: EncoderOutput): Tensor {
  if (output.kind === "pooled") {
    const pooled =
      output.pooling === "cls" ? firstPlace(builder, hidden, "first") : meanOf(builder, hidden, mask);
    return give(builder, pooled, "pooled_output");
  }
  let vector = firstPlace(builder, hidden, "first");
  for (const [index, step] of output.steps.entries()) {
    const name = `head_${index}`;
    vector =
      step.kind === "norm"
        ? layerNorm(builder, vector, step.norm, name)
        : activate(builder, linear(builder, vector, step.linear, name), step.activation, `${name}_active`);
  }
  return give(builder, vector, "logit");
}

/** (batch, channels, 1, 1) as (batch, channels), float32. The last operation has the output's name. */
function give(builder: ProgramBuilder, vector: Tensor, name: string): Tensor {
  if (vector.type.element === "fp32") return squeeze(builder, vector, [2, 3], name);
  return cast(builder, squeeze(builder, vector, [2, 3], `${name}_half`), "fp32", name);
}

/**
 * The mean over real tokens; of a row of padding, zeros. In float32 at every precision: the sum of 512 halves may be
 * beyond half precision's range, and weights of 1/512 would push small numbers below it. It is one pass over the last
 * hidden states, and the output is float32 anyhow.
 */
function meanOf(builder: ProgramBuilder, hidden: Tensor, mask: Tensor): Tensor {
  const vectors = cast(builder, hidden, "fp32", "hidden_float32");
  const weights = cast(builder, mask, "fp32", "mask_float32");
  const tokens = builder.operation("mul", "pooled_tokens", { x: vectors, y: weights });
  const sum = sumOf(builder, tokens, "pooled_sum");
  const counted = sumOf(builder, weights, "pooled_counted");
  const count = builder.operation("maximum", "pooled_count", { x: counted, y: scalar("fp32", 1) });
  return builder.operation("real_div", "pooled", { x: sum, y: count });
}

function sumOf(builder: ProgramBuilder, x: Tensor, name: string): Tensor {
  return builder.operation(
    "reduce_sum",
    name,
    { x, axes: integers([3]), keep_dims: flag(true) },
    { dimensions: x.type.dimensions.with(3, 1) },
  );
}
