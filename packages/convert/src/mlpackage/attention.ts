import type { Attention } from "../source/description.js";
import { add, linear, split, transpose } from "./layers.js";
import { flag, integer, type ProgramBuilder, type Tensor, text } from "./program-builder.js";

/**
 * Multi-head attention as apple/ml-ane-transformers lays it out (`ane_transformers/reference/multihead_attention.py`):
 * each head by itself, keys before queries in the scores, (batch, keys, 1, queries), so that nothing has more than four
 * dimensions and the last one stays the longest. The query is scaled before the product, which keeps scores small.
 *
 * @param mask (batch, keys, 1, 1), added to every head's scores.
 */
export function attend(
  builder: ProgramBuilder,
  x: Tensor,
  attention: Attention,
  mask: Tensor,
  name: string,
): Tensor {
  const { heads } = attention;
  const [batch, , , length] = x.type.dimensions;
  const query = linear(builder, x, attention.query, `${name}_query`);
  const scaled = builder.operation("mul", `${name}_query_scaled`, {
    x: query,
    y: builder.number(attention.scale),
  });
  const key = linear(builder, x, attention.key, `${name}_key`);
  const turned = transpose(builder, key, [0, 3, 2, 1], `${name}_key_turned`);
  const value = linear(builder, x, attention.value, `${name}_value`);
  const queries = split(builder, scaled, { axis: 1, parts: heads }, `${name}_query_heads`);
  const keys = split(builder, turned, { axis: 3, parts: heads }, `${name}_key_heads`);
  const values = split(builder, value, { axis: 1, parts: heads }, `${name}_value_heads`);

  const mixed = queries.map((ofQuery, head) => {
    const scores = builder.operation(
      "einsum",
      `${name}_scores_${head}`,
      { values: [keys[head] as Tensor, ofQuery], equation: text("bkhc,bchq->bkhq") },
      { element: builder.precision, dimensions: [batch, length, 1, length] },
    );
    const masked = add(builder, scores, mask, `${name}_masked_${head}`);
    const weights = builder.operation("softmax", `${name}_weights_${head}`, { x: masked, axis: integer(1) });
    return builder.operation(
      "einsum",
      `${name}_mixed_${head}`,
      { values: [values[head] as Tensor, weights], equation: text("bchk,bkhq->bchq") },
      { element: builder.precision, dimensions: [batch, attention.headSize, 1, length] },
    );
  });
  const [only] = mixed;
  const joined =
    mixed.length === 1 && only !== undefined
      ? only
      : builder.operation(
          "concat",
          `${name}_mixed`,
          { values: mixed, axis: integer(1), interleave: flag(false) },
          { element: builder.precision, dimensions: value.type.dimensions },
        );
  return linear(builder, joined, attention.output, `${name}_output`);
}
