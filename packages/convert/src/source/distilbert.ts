import * as z from "zod/mini";
import type { ModelDescription } from "./description.js";
import { describeEncoder, type EncoderNames, type EncoderShape, encoderParts } from "./encoder-parts.js";
import {
  type ActivationName,
  activationName,
  activationNames,
  count,
  readSettings,
  type Source,
  size,
} from "./source.js";

interface Settings {
  readonly vocab_size: number;
  readonly dim: number;
  readonly n_layers: number;
  readonly n_heads: number;
  readonly hidden_dim: number;
  readonly max_position_embeddings: number;
  readonly activation: ActivationName;
}

/** With transformers' defaults (`models/distilbert/configuration_distilbert.py`). */
const schema: z.ZodMiniType<Settings> = z.object({
  vocab_size: size,
  dim: z._default(size, 768),
  n_layers: z._default(count, 6),
  n_heads: z._default(count, 12),
  hidden_dim: z._default(size, 3072),
  max_position_embeddings: z._default(size, 512),
  activation: z._default(activationName, "gelu" as ActivationName),
  // Only the first versions of transformers: heads cut out of the weights.
  pruned_heads: z.optional(z.strictObject({})),
});

const names: EncoderNames = {
  within: "distilbert.",
  layers: "transformer.layer",
  query: "attention.q_lin",
  key: "attention.k_lin",
  value: "attention.v_lin",
  output: "attention.out_lin",
  attentionNorm: "sa_layer_norm",
  up: "ffn.lin1",
  down: "ffn.lin2",
  feedForwardNorm: "output_layer_norm",
};

/**
 * DistilBERT: BERT's layers under other names, no segments, and a classifier of two layers with a ReLU on the first
 * token (transformers 5.24, `models/distilbert/modeling_distilbert.py`: Embeddings, TransformerBlock,
 * DistilBertForSequenceClassification).
 */
export function describeDistilBert(source: Source): ModelDescription {
  const config = readSettings(source, schema);
  const shape: EncoderShape = {
    vocabulary: config.vocab_size,
    hidden: config.dim,
    layers: config.n_layers,
    heads: config.n_heads,
    inner: config.hidden_dim,
    places: config.max_position_embeddings,
    // Not in DistilBERT's configuration: its code has the number.
    epsilon: 1e-12,
    activation: activationNames[config.activation],
  };
  return describeEncoder(source, encoderParts(source, names, shape), shape, {
    dense: "pre_classifier",
    activation: "relu",
    output: "classifier",
  });
}
