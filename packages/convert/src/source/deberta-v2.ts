import * as z from "zod/mini";
import type { AttentionPositions, Layer, Linear, ModelDescription, Norm, OutputHead } from "./description.js";
import { classifierLinear, findPrefix, headSizeOf, layerNorm, linear } from "./parts.js";
import { shortened } from "./shortened.js";
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
  unsupported,
} from "./source.js";

interface Settings {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly max_position_embeddings: number;
  readonly hidden_act: ActivationName;
  readonly layer_norm_eps: number;
  readonly type_vocab_size: number;
  readonly position_biased_input: boolean;
  readonly relative_attention: boolean;
  readonly max_relative_positions: number;
  readonly position_buckets: number;
  readonly share_att_key: boolean;
  readonly norm_rel_ebd: "none" | "layer_norm";
  readonly pooler_hidden_act: ActivationName;
  readonly pos_att_type?: string | readonly string[] | undefined;
}

/** Graphs hold a number for each distance up to it. Published models have 512. */
const mostRelativePositions = 2 ** 17;

/** With transformers' defaults (`models/deberta_v2/configuration_deberta_v2.py`, and getattr in its modeling file). */
const schema: z.ZodMiniType<Settings> = z.object({
  vocab_size: size,
  hidden_size: size,
  num_hidden_layers: count,
  num_attention_heads: count,
  intermediate_size: size,
  max_position_embeddings: size,
  hidden_act: z._default(activationName, "gelu" as ActivationName),
  layer_norm_eps: z._default(epsilon, 1e-7),
  type_vocab_size: z._default(z.int().check(z.nonnegative(), z.maximum(2 ** 24)), 0),
  position_biased_input: z._default(z.boolean(), true),
  relative_attention: z._default(z.boolean(), false),
  // Below 1 they are not set.
  max_relative_positions: z._default(z.int().check(z.maximum(mostRelativePositions)), -1),
  position_buckets: z._default(z.int().check(z.maximum(mostRelativePositions)), -1),
  share_att_key: z._default(z.boolean(), false),
  norm_rel_ebd: z._default(z.enum(["none", "layer_norm"]), "none" as const),
  pooler_hidden_act: z._default(activationName, "gelu" as ActivationName),
  pos_att_type: z.optional(z.union([z.string(), z.array(z.string())])),
  conv_kernel_size: only(0),
  talking_head: only(false),
});

/** Which products with relative positions there are. */
interface Products {
  readonly contentToPosition: boolean;
  readonly positionToContent: boolean;
}

/**
 * DeBERTa-v2 and v3: post-norm layers with disentangled attention, and for a classifier the context pooler on the first
 * token (transformers 5.23, `models/deberta_v2/modeling_deberta_v2.py`). `legacy` is about masked language modelling
 * alone.
 */
export function describeDebertaV2(source: Source): ModelDescription {
  const config = readSettings(source, schema);
  const { hidden_size: hidden, vocab_size: vocabulary, layer_norm_eps: epsilon } = config;
  refuseOtherSizes(source, config);
  const { weights } = source;
  const prefix = findPrefix(source, "deberta.", "embeddings.word_embeddings.weight");
  const at = `${prefix}embeddings`;
  const table = `${at}.position_embeddings.weight`;
  // Not read without position_biased_input (_keys_to_ignore_on_load_unexpected).
  if (!config.position_biased_input) weights.leaveOut(table);
  const products = productsOf(source, config);
  const positions = positionsOf(source, prefix, config, products);
  return {
    model: source.model,
    architecture: source.profile.architecture,
    vocabularySize: vocabulary,
    hiddenSize: hidden,
    maxPositions: config.max_position_embeddings,
    paddingId: source.profile.paddingId,
    embeddings: {
      word: weights.take(`${at}.word_embeddings.weight`, [vocabulary, hidden]),
      ...(config.position_biased_input
        ? { position: weights.take(table, [config.max_position_embeddings, hidden]) }
        : {}),
      ...(config.type_vocab_size > 0
        ? { segment: weights.take(`${at}.token_type_embeddings.weight`, [config.type_vocab_size, hidden]) }
        : {}),
      norm: layerNorm(source, `${at}.LayerNorm`, hidden, epsilon),
      zeroPadding: true,
    },
    layers: Array.from({ length: config.num_hidden_layers }, (_, index) =>
      layer(source, config, `${prefix}encoder.layer.${index}`, products, positions),
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
            linear: linear(source, "pooler.dense", hidden, hidden),
            activation: activationNames[config.pooler_hidden_act],
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

/** Sizes that may differ from hidden_size, and then bring a projection or another head size with them. */
function refuseOtherSizes(source: Source, config: Settings): void {
  const { hidden_size: hidden, num_attention_heads: heads } = config;
  const usual: Readonly<Record<string, number>> = {
    embedding_size: hidden,
    pooler_hidden_size: hidden,
    attention_head_size: headSizeOf(source, hidden, heads),
  };
  for (const [name, value] of Object.entries(usual)) {
    const given = source.config[name] ?? value;
    if (given !== value) {
      throw unsupported(
        source,
        `config.json has ${name} ${shortened(JSON.stringify(given))}, and with hidden_size ${hidden} only ${value} is supported`,
      );
    }
  }
}

function productsOf(source: Source, { pos_att_type: given = [] }: Settings): Products {
  const names = (typeof given === "string" ? given.toLowerCase().split("|") : given).map((name) =>
    name.trim(),
  );
  const unknown = names.find((name) => !["c2p", "p2c", ""].includes(name));
  if (unknown !== undefined)
    throw unsupported(
      source,
      `config.json has pos_att_type ${shortened(JSON.stringify(unknown))}, and only c2p and p2c are supported`,
    );
  return { contentToPosition: names.includes("c2p"), positionToContent: names.includes("p2c") };
}

type Disentangled = Extract<AttentionPositions, { kind: "disentangled" }>;

/** What all layers share; undefined without relative attention. */
function positionsOf(
  source: Source,
  prefix: string,
  config: Settings,
  { contentToPosition, positionToContent }: Products,
): Omit<Disentangled, "key" | "query"> | undefined {
  if (!config.relative_attention) return undefined;
  const { hidden_size: hidden, max_relative_positions: given, position_buckets: buckets } = config;
  const maxRelativePositions = given < 1 ? config.max_position_embeddings : given;
  requireSetting(
    source,
    maxRelativePositions <= mostRelativePositions,
    `has max_position_embeddings ${maxRelativePositions}, and no max_relative_positions`,
  );
  // Beyond half of the buckets a distance is a share of the logarithm of this: it has to be above 1.
  const middle = Math.floor(buckets / 2);
  requireSetting(
    source,
    buckets < 1 || (middle > 0 && (maxRelativePositions - 1) / middle > 1),
    `has position_buckets ${buckets} for ${maxRelativePositions} max_relative_positions`,
  );
  const span = buckets > 0 ? buckets : maxRelativePositions;
  const relative = source.weights.take(`${prefix}encoder.rel_embeddings.weight`, [2 * span, hidden]);
  const relativeNorm =
    config.norm_rel_ebd === "layer_norm"
      ? layerNorm(source, `${prefix}encoder.LayerNorm`, hidden, config.layer_norm_eps)
      : undefined;
  if (!contentToPosition && !positionToContent) return undefined;
  return {
    kind: "disentangled",
    relative,
    ...(relativeNorm === undefined ? {} : { relativeNorm }),
    span,
    buckets: buckets > 0 ? buckets : undefined,
    maxRelativePositions,
  };
}

function layer(
  source: Source,
  config: Settings,
  name: string,
  { contentToPosition, positionToContent }: Products,
  positions: Omit<Disentangled, "key" | "query"> | undefined,
): Layer {
  const { hidden_size: hidden, num_attention_heads: heads, layer_norm_eps: epsilon } = config;
  const headSize = headSizeOf(source, hidden, heads);
  const own = (part: string): Linear => linear(source, `${name}.attention.self.${part}`, hidden, hidden);
  const norm = (part: string): Norm => layerNorm(source, `${name}.${part}.LayerNorm`, hidden, epsilon);
  const [query, key] = [own("query_proj"), own("key_proj")];
  const isShared = config.share_att_key;
  const relative: AttentionPositions =
    positions === undefined
      ? { kind: "absolute" }
      : {
          ...positions,
          ...(contentToPosition ? { key: isShared ? key : own("pos_key_proj") } : {}),
          ...(positionToContent ? { query: isShared ? query : own("pos_query_proj") } : {}),
        };
  return {
    placement: "post",
    attention: {
      heads,
      keyValueHeads: heads,
      headSize,
      query,
      key,
      value: own("value_proj"),
      output: linear(source, `${name}.attention.output.dense`, hidden, hidden),
      // Counted by pos_att_type, also where there is no relative attention.
      scale: 1 / Math.sqrt(headSize * (1 + Number(contentToPosition) + Number(positionToContent))),
      positions: relative,
      causal: false,
    },
    attentionNorm: norm("attention.output"),
    feedForward: {
      up: linear(source, `${name}.intermediate.dense`, config.intermediate_size, hidden),
      down: linear(source, `${name}.output.dense`, hidden, config.intermediate_size),
      activation: activationNames[config.hidden_act],
    },
    feedForwardNorm: norm("output"),
  };
}
