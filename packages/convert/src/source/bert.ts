import * as z from "zod/mini";
import { sliceRows } from "./derived-weight.js";
import type { Embeddings, Layer, Linear, ModelDescription, OutputHead } from "./description.js";
import { classifierLinear, findPrefix, headSizeOf, layerNorm, linear } from "./parts.js";
import {
  type ActivationName,
  activationName,
  activationNames,
  count,
  encoderHead,
  epsilon,
  only,
  readSettings,
  requireSetting,
  type Source,
  size,
  tokenId,
} from "./source.js";

/** The settings that BERT and RoBERTa share, without those that have one value alone. */
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

/** What BERT and RoBERTa have in common, settings and parts. */
export interface BertParts {
  readonly settings: BertSettings;
  /** What stands before the encoder's names: `bert.`, or nothing in an encoder saved alone. */
  readonly prefix: string;
  readonly embeddings: Embeddings;
  readonly layers: readonly Layer[];
}

/**
 * BERT: embeddings of word, place and segment, post-norm layers, and for a classifier the pooler (dense, tanh) of the
 * first token (transformers 5.23, `models/bert/modeling_bert.py`: BertEmbeddings, BertLayer, BertPooler,
 * BertForSequenceClassification).
 */
export function describeBert(source: Source): ModelDescription {
  const { settings: config, prefix, ...parts } = bertParts(source, "bert.", () => 0);
  const { profile, model } = source;
  const hidden = config.hidden_size;
  const head = encoderHead(source, (classes): OutputHead => {
    const pooler = linear(source, `${prefix}pooler.dense`, hidden, hidden);
    const classifier = classifierLinear(source, "classifier", classes, hidden);
    return {
      kind: "classifier",
      pooling: "cls",
      classes,
      steps: [
        { kind: "linear", linear: pooler, activation: "tanh" },
        { kind: "linear", linear: classifier, activation: "identity" },
      ],
    };
  });
  return {
    model,
    architecture: profile.architecture,
    vocabularySize: config.vocab_size,
    hiddenSize: hidden,
    maxPositions: config.max_position_embeddings,
    paddingId: profile.paddingId,
    ...parts,
    head,
  };
}

/**
 * @param within what stands before the encoder's names in a model with a head; an encoder saved alone has nothing.
 * @param skippedOf how many rows at the start of the position table no token uses.
 * @param widthOf columns of the tables, where they are not the hidden size.
 */
export function bertParts(
  source: Source,
  within: string,
  skippedOf: (settings: BertSettings) => number,
  widthOf: (settings: BertSettings) => number = ({ hidden_size }) => hidden_size,
): BertParts {
  const config = readSettings(source, schema);
  const prefix = findPrefix(source, within, "embeddings.word_embeddings.weight");
  const skipped = skippedOf(config);
  const { max_position_embeddings: places } = config;
  const width = widthOf(config);
  requireSetting(
    source,
    skipped < places,
    `has max_position_embeddings ${places}, and its tokens' places begin at ${skipped}`,
  );
  const at = `${prefix}embeddings`;
  const positions = source.weights.take(`${at}.position_embeddings.weight`, [
    config.max_position_embeddings,
    width,
  ]);
  return {
    settings: config,
    prefix,
    embeddings: {
      word: source.weights.take(`${at}.word_embeddings.weight`, [config.vocab_size, width]),
      ...(skipped === 0
        ? { position: positions }
        : {
            position: sliceRows(positions, skipped, config.max_position_embeddings),
            paddedPositions: { table: positions, padding: skipped - 1 },
          }),
      segment: source.weights.take(`${at}.token_type_embeddings.weight`, [config.type_vocab_size, width]),
      norm: layerNorm(source, `${at}.LayerNorm`, width, config.layer_norm_eps),
    },
    layers: Array.from({ length: config.num_hidden_layers }, (_, index) =>
      layer(source, `${prefix}encoder.layer.${index}`, config),
    ),
  };
}

function layer(source: Source, name: string, config: BertSettings): Layer {
  const { hidden_size: hidden, num_attention_heads: heads, layer_norm_eps: epsilon } = config;
  const headSize = headSizeOf(source, hidden, heads);
  const projection = (part: string): Linear => linear(source, `${name}.attention.${part}`, hidden, hidden);
  return {
    placement: "post",
    attention: {
      heads,
      keyValueHeads: heads,
      headSize,
      query: projection("self.query"),
      key: projection("self.key"),
      value: projection("self.value"),
      output: projection("output.dense"),
      scale: 1 / Math.sqrt(headSize),
      positions: { kind: "absolute" },
      causal: false,
    },
    attentionNorm: layerNorm(source, `${name}.attention.output.LayerNorm`, hidden, epsilon),
    feedForward: {
      up: linear(source, `${name}.intermediate.dense`, config.intermediate_size, hidden),
      down: linear(source, `${name}.output.dense`, hidden, config.intermediate_size),
      activation: activationNames[config.hidden_act],
    },
    feedForwardNorm: layerNorm(source, `${name}.output.LayerNorm`, hidden, epsilon),
  };
}
