import * as z from "zod/mini";
import type { AttentionPositions, ModelDescription } from "./description.js";
import { describeEncoder, type EncoderNames, type EncoderShape, encoderParts } from "./encoder-parts.js";
import { headOfRoberta } from "./roberta.js";
import {
  type ActivationName,
  activationName,
  activationNames,
  count,
  epsilon,
  only,
  readSettings,
  requireSetting,
  type Source,
  size,
} from "./source.js";

interface Settings {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly hidden_act: ActivationName;
  readonly max_position_embeddings: number;
  readonly layer_norm_eps: number;
  readonly relative_attention_num_buckets: number;
}

/** With transformers' defaults (`models/mpnet/configuration_mpnet.py`). */
const schema: z.ZodMiniType<Settings> = z.object({
  vocab_size: size,
  hidden_size: size,
  num_hidden_layers: count,
  num_attention_heads: count,
  intermediate_size: size,
  hidden_act: z._default(activationName, "gelu" as ActivationName),
  max_position_embeddings: z._default(size, 512),
  layer_norm_eps: z._default(epsilon, 1e-12),
  relative_attention_num_buckets: z._default(count, 32),
  is_decoder: only(false),
  // Only the first versions of transformers: heads cut out of the weights.
  pruned_heads: z.optional(z.strictObject({})),
});

const names: EncoderNames = {
  within: "mpnet.",
  layers: "encoder.layer",
  query: "attention.attn.q",
  key: "attention.attn.k",
  value: "attention.attn.v",
  output: "attention.attn.o",
  attentionNorm: "attention.LayerNorm",
  up: "intermediate.dense",
  down: "output.dense",
  feedForwardNorm: "output.LayerNorm",
};

/** The modeling file's own, whatever config.json says of buckets and padding. */
const [buckets, maxDistance, padding] = [32, 128, 1];

/**
 * MPNet: BERT's layers without segments, places from 2 on, and a bias on all attention by the distance of two tokens,
 * one table for all layers (transformers 5.24, `models/mpnet/modeling_mpnet.py`: MPNetEmbeddings, MPNetEncoder,
 * MPNetClassificationHead).
 */
export function describeMpnet(source: Source): ModelDescription {
  const config = readSettings(source, schema);
  const { num_attention_heads: heads, relative_attention_num_buckets: rows } = config;
  requireSetting(
    source,
    rows >= buckets,
    `has relative_attention_num_buckets ${rows}, and MPNet's code counts ${buckets}`,
  );
  const shape: EncoderShape = {
    vocabulary: config.vocab_size,
    hidden: config.hidden_size,
    layers: config.num_hidden_layers,
    heads,
    inner: config.intermediate_size,
    places: config.max_position_embeddings,
    skipped: padding + 1,
    epsilon: config.layer_norm_eps,
    activation: activationNames[config.hidden_act],
  };
  const positionsOf = (prefix: string): AttentionPositions => ({
    kind: "bucketed",
    bias: source.weights.take(`${prefix}encoder.relative_attention_bias.weight`, [rows, heads]),
    buckets,
    maxDistance,
  });
  return describeEncoder(source, encoderParts(source, names, shape, positionsOf), shape, headOfRoberta);
}
