import * as z from "zod/mini";
import type { Layer, Linear, ModelDescription, OutputHead } from "./description.js";
import { classifierLinear, findPrefix, headSizeOf, layerNorm, linear } from "./parts.js";
import {
  type ActivationName,
  activationName,
  activationNames,
  count,
  encoderHead,
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

/** Not in DistilBERT's configuration: its code has the number. */
const epsilon = 1e-12;

/**
 * DistilBERT: BERT's layers under other names, no segments, and a classifier of two layers with a ReLU on the first
 * token (transformers 5.24, `models/distilbert/modeling_distilbert.py`: Embeddings, TransformerBlock,
 * DistilBertForSequenceClassification).
 */
export function describeDistilBert(source: Source): ModelDescription {
  const config = readSettings(source, schema);
  const { dim: hidden } = config;
  const prefix = findPrefix(source, "distilbert.", "embeddings.word_embeddings.weight");
  const at = `${prefix}embeddings`;
  return {
    model: source.model,
    architecture: source.profile.architecture,
    vocabularySize: config.vocab_size,
    hiddenSize: hidden,
    maxPositions: config.max_position_embeddings,
    paddingId: source.profile.paddingId,
    embeddings: {
      word: source.weights.take(`${at}.word_embeddings.weight`, [config.vocab_size, hidden]),
      position: source.weights.take(`${at}.position_embeddings.weight`, [
        config.max_position_embeddings,
        hidden,
      ]),
      norm: layerNorm(source, `${at}.LayerNorm`, hidden, epsilon),
    },
    layers: Array.from({ length: config.n_layers }, (_, index) =>
      layer(source, `${prefix}transformer.layer.${index}`, config),
    ),
    head: encoderHead(
      source,
      (classes): OutputHead => ({
        kind: "classifier",
        pooling: "cls",
        classes,
        steps: [
          {
            kind: "linear",
            linear: linear(source, "pre_classifier", hidden, hidden),
            activation: "relu",
          },
          {
            kind: "linear",
            linear: classifierLinear(source, "classifier", classes, hidden),
            activation: "identity",
          },
        ],
      }),
    ),
  };
}

function layer(source: Source, name: string, config: Settings): Layer {
  const { dim: hidden, n_heads: heads } = config;
  const headSize = headSizeOf(source, hidden, heads);
  const projection = (part: string): Linear => linear(source, `${name}.attention.${part}`, hidden, hidden);
  return {
    placement: "post",
    attention: {
      heads,
      keyValueHeads: heads,
      headSize,
      query: projection("q_lin"),
      key: projection("k_lin"),
      value: projection("v_lin"),
      output: projection("out_lin"),
      scale: 1 / Math.sqrt(headSize),
      positions: { kind: "absolute" },
      causal: false,
    },
    attentionNorm: layerNorm(source, `${name}.sa_layer_norm`, hidden, epsilon),
    feedForward: {
      up: linear(source, `${name}.ffn.lin1`, config.hidden_dim, hidden),
      down: linear(source, `${name}.ffn.lin2`, hidden, config.hidden_dim),
      activation: activationNames[config.activation],
    },
    feedForwardNorm: layerNorm(source, `${name}.output_layer_norm`, hidden, epsilon),
  };
}
