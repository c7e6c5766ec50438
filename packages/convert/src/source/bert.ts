import * as z from "zod/mini";
import type { ModelDescription } from "./description.js";
import { describeEncoder, type EncoderShape, encoderParts, namesOfBert } from "./encoder-parts.js";
import {
  type ActivationName,
  activationName,
  activationNames,
  count,
  epsilon,
  only,
  readSettings,
  type Source,
  size,
  tokenId,
} from "./source.js";

/** The settings that BERT, RoBERTa and ELECTRA share, without those that have one value alone. */
export interface BertSettings {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly max_position_embeddings: number;
  readonly hidden_act: ActivationName;
  readonly layer_norm_eps: number;
  readonly pad_token_id?: number | undefined;
  readonly type_vocab_size: number;
}

/** With transformers' defaults (`models/bert/configuration_bert.py`). */
const schema: z.ZodMiniType<BertSettings> = z.object({
  vocab_size: size,
  hidden_size: size,
  num_hidden_layers: count,
  num_attention_heads: count,
  intermediate_size: size,
  max_position_embeddings: size,
  hidden_act: z._default(activationName, "gelu" as ActivationName),
  layer_norm_eps: z._default(epsilon, 1e-12),
  pad_token_id: z.optional(tokenId),
  type_vocab_size: z._default(size, 2),
  position_embedding_type: only("absolute"),
  is_decoder: only(false),
  add_cross_attention: only(false),
  // Only the first versions of transformers: heads cut out of the weights.
  pruned_heads: z.optional(z.strictObject({})),
});

/** @throws as {@link readSettings}. */
export function readBertSettings(source: Source): BertSettings {
  return readSettings(source, schema);
}

/** @param more what differs from BERT. */
export function shapeOfBert(
  config: BertSettings,
  more: Pick<EncoderShape, "width" | "skipped"> = {},
): EncoderShape {
  return {
    vocabulary: config.vocab_size,
    hidden: config.hidden_size,
    layers: config.num_hidden_layers,
    heads: config.num_attention_heads,
    inner: config.intermediate_size,
    places: config.max_position_embeddings,
    segments: config.type_vocab_size,
    epsilon: config.layer_norm_eps,
    activation: activationNames[config.hidden_act],
    ...more,
  };
}

/**
 * BERT: embeddings of word, place and segment, post-norm layers, and for a classifier the pooler (dense, tanh) of the
 * first token (transformers 5.23, `models/bert/modeling_bert.py`: BertEmbeddings, BertLayer, BertPooler,
 * BertForSequenceClassification).
 */
export function describeBert(source: Source): ModelDescription {
  const shape = shapeOfBert(readBertSettings(source));
  const parts = encoderParts(source, { within: "bert.", ...namesOfBert }, shape);
  const dense = `${parts.prefix}pooler.dense`;
  return describeEncoder(source, parts, shape, { dense, activation: "tanh", output: "classifier" });
}
