import type { ModelDescription } from "../source/description.js";
import { add, cast, expand, gather, layerNorm, linear, squeeze, transpose } from "./layers.js";
import { integer, integers, type ProgramBuilder, type Tensor } from "./program-builder.js";

/** What the mask adds to the scores of padding: e^-10000 is 0 in every precision, and half precision can hold it. */
const hidden = -10_000;

/** The program's inputs, int32 (batch, 1, 1, length). */
export interface Inputs {
  readonly ids: Tensor;
  readonly mask: Tensor;
  /** Of models with more than one segment. */
  readonly segments: Tensor | undefined;
}

/** The embeddings' sum, normed and projected, as (batch, hidden, 1, length). */
export function embed(builder: ProgramBuilder, inputs: Inputs, description: ModelDescription): Tensor {
  const { embeddings } = description;
  const { word, segment, norm, projection } = embeddings;
  const width = word.shape[1] ?? 0;
  const ids = squeeze(builder, inputs.ids, [1, 2], "input_ids_rows");
  let sum = gather(builder, builder.weight("embeddings_word_weight", word), ids, "embeddings_word");
  if (segment !== undefined) {
    const rows =
      inputs.segments === undefined
        ? builder.weight("embeddings_segment_weight", segment, [1, 1, width])
        : gather(
            builder,
            builder.weight("embeddings_segment_weight", segment),
            squeeze(builder, inputs.segments, [1, 2], "token_type_ids_rows"),
            "embeddings_segment",
          );
    sum = add(builder, sum, rows, "embeddings_sum_segment");
  }
  const rows = positionRows(builder, inputs, embeddings);
  if (rows !== undefined) sum = add(builder, sum, rows, "embeddings_sum");
  const channels = transpose(builder, sum, [0, 2, 1], "embeddings_channels");
  const laid = expand(builder, channels, 2, "embeddings_laid");
  const normed = norm === undefined ? laid : layerNorm(builder, laid, norm, "embeddings_norm");
  return projection === undefined ? normed : linear(builder, normed, projection, "embeddings_projection");
}

/** Rows of the position table: (batch, length, hidden), or where no id depends on the mask (length, hidden). */
function positionRows(
  builder: ProgramBuilder,
  inputs: Inputs,
  { position, paddedPositions }: ModelDescription["embeddings"],
): Tensor | undefined {
  const places = placesOf(builder, inputs.ids);
  if (paddedPositions !== undefined) {
    const { table, padding } = paddedPositions;
    const positions = paddedIds(builder, inputs, places, padding);
    return gather(
      builder,
      builder.weight("embeddings_position_weight", table),
      positions,
      "embeddings_position",
    );
  }
  if (position === undefined) return undefined;
  return gather(
    builder,
    builder.weight("embeddings_position_weight", position),
    places,
    "embeddings_position",
  );
}

/**
 * Ids of RoBERTa's positions, (batch, length): (place + padding + 1) · mask + padding · (1 − mask). The same as
 * transformers' `create_position_ids_from_input_ids` for rows that are padded on the right, without a cumulative sum,
 * which the Neural Engine does not take.
 */
function paddedIds(builder: ProgramBuilder, inputs: Inputs, places: Tensor, padding: number): Tensor {
  const mask = squeeze(builder, inputs.mask, [1, 2], "attention_mask_rows");
  const counted = builder.operation("add", "positions_counted", { x: places, y: integer(padding + 1) });
  const ofTokens = builder.operation("mul", "positions_tokens", { x: mask, y: counted });
  const isPadding = builder.operation("sub", "positions_is_padding", { x: integer(1), y: mask }, mask.type);
  const ofPadding = builder.operation("mul", "positions_padding", { x: isPadding, y: integer(padding) });
  return add(builder, ofTokens, ofPadding, "positions");
}

/** 0, 1 … length − 1, int32. Where the length is one of several, from the input's shape. */
function placesOf(builder: ProgramBuilder, ids: Tensor): Tensor {
  const length = ids.type.dimensions[3];
  if (length !== undefined) {
    return builder.constant("places", integers(Array.from({ length }, (_, place) => place)));
  }
  const shape = builder.operation("shape", "input_ids_shape", { x: ids }, { dimensions: [4] });
  const end = gather(builder, shape, { at: 3 }, "length");
  return builder.operation(
    "range_1d",
    "places",
    { start: integer(0), end, step: integer(1) },
    { element: "int32", dimensions: [undefined] },
  );
}

/** 0 for a token, a large negative number for padding: (batch, length, 1, 1). Added, so that a row of padding alone stays finite. */
export function additiveMask(builder: ProgramBuilder, mask: Tensor): Tensor {
  const weights = cast(builder, mask, builder.precision, "mask_tokens");
  const padding = builder.operation(
    "sub",
    "mask_padding",
    { x: builder.number(1), y: weights },
    weights.type,
  );
  const scaled = builder.operation("mul", "mask_scaled", { x: padding, y: builder.number(hidden) });
  return transpose(builder, scaled, [0, 3, 1, 2], "mask");
}
