import * as z from "zod/mini";
import { sliceRows } from "./derived-weight.js";
import type { Layer, Linear, ModelDescription, Norm, OutputHead } from "./description.js";
import { classifierLinear, findPrefix, headSizeOf, layerNorm, linear, requirePairs } from "./parts.js";
import { plainTheta } from "./rope.js";
import {
  type ActivationName,
  activationName,
  activationNames,
  count,
  encoderHead,
  epsilon,
  readSettings,
  rotaryBase,
  type Source,
  size,
  unsupported,
} from "./source.js";
import { type LayerType, layerTypes, layerTypesOf } from "./windows.js";

interface Settings {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly max_position_embeddings: number;
  readonly hidden_activation: ActivationName;
  readonly norm_eps: number;
  readonly norm_bias: boolean;
  readonly attention_bias: boolean;
  readonly mlp_bias: boolean;
  readonly local_attention: number;
  readonly sliding_window?: number | undefined;
  readonly layer_types?: readonly LayerType[] | undefined;
  readonly global_attn_every_n_layers: number;
  readonly global_rope_theta: number;
  readonly local_rope_theta: number;
  readonly rope_parameters?: Readonly<Record<string, unknown>> | undefined;
  readonly classifier_pooling: "cls" | "mean";
  readonly classifier_bias: boolean;
  readonly classifier_activation: ActivationName;
}

/** With transformers' defaults (`models/modernbert/configuration_modernbert.py`). */
const schema: z.ZodMiniType<Settings> = z.object({
  vocab_size: size,
  hidden_size: size,
  num_hidden_layers: count,
  num_attention_heads: count,
  intermediate_size: size,
  max_position_embeddings: size,
  hidden_activation: z._default(activationName, "gelu" as ActivationName),
  norm_eps: z._default(epsilon, 1e-5),
  norm_bias: z._default(z.boolean(), false),
  attention_bias: z._default(z.boolean(), false),
  mlp_bias: z._default(z.boolean(), false),
  local_attention: z._default(size, 128),
  sliding_window: z.optional(size),
  layer_types: z.optional(z.array(z.enum(layerTypes))),
  global_attn_every_n_layers: z._default(size, 3),
  global_rope_theta: z._default(rotaryBase, 160_000),
  local_rope_theta: z._default(rotaryBase, 10_000),
  rope_parameters: z.optional(z.record(z.string(), z.unknown())),
  classifier_pooling: z._default(z.enum(["cls", "mean"]), "cls" as const),
  classifier_bias: z._default(z.boolean(), false),
  classifier_activation: z._default(activationName, "gelu" as ActivationName),
});

/**
 * ModernBERT: pre-norm layers (the first without a norm before its attention), rotary positions, attention that is
 * local in most layers, a gated feed-forward, no segments (transformers 5.23, `models/modernbert/modeling_modernbert.py`;
 * a window of `local_attention` reaches half of it to each side, `configuration_modernbert.py`, sliding_window).
 */
export function describeModernBert(source: Source): ModelDescription {
  const config = readSettings(source, schema);
  const { hidden_size: hidden, norm_eps: epsilon, norm_bias: normBias } = config;
  const prefix = findPrefix(source, "model.", "embeddings.tok_embeddings.weight");
  const thetas = thetasOf(source, config);
  const reach = Math.floor(config.local_attention / 2);
  if (config.sliding_window !== undefined && config.sliding_window !== reach) {
    // transformers' sliding_window of a ModernBERT is half of local_attention, and sets it.
    throw unsupported(
      source,
      `config.json has sliding_window ${config.sliding_window} and local_attention ${config.local_attention}, which contradict each other`,
    );
  }
  const norm = (name: string): Norm => layerNorm(source, name, hidden, epsilon, normBias);
  const { num_hidden_layers: count, global_attn_every_n_layers: every, layer_types: given } = config;
  const types = layerTypesOf(source, count, given, (index) =>
    index % every === 0 ? "full_attention" : "sliding_attention",
  );
  return {
    model: source.model,
    architecture: source.profile.architecture,
    vocabularySize: config.vocab_size,
    hiddenSize: hidden,
    maxPositions: config.max_position_embeddings,
    paddingId: source.profile.paddingId,
    embeddings: {
      word: source.weights.take(`${prefix}embeddings.tok_embeddings.weight`, [config.vocab_size, hidden]),
      norm: norm(`${prefix}embeddings.norm`),
    },
    layers: types.map((type, index) =>
      layer(source, `${prefix}layers.${index}`, config, {
        isFirst: index === 0,
        theta: thetas[type],
        reach: type === "sliding_attention" ? reach : undefined,
      }),
    ),
    finalNorm: norm(`${prefix}final_norm`),
    head: encoderHead(
      source,
      (classes): OutputHead => ({
        kind: "classifier",
        pooling: config.classifier_pooling,
        classes,
        steps: [
          {
            kind: "linear",
            linear: linear(source, "head.dense", hidden, hidden, config.classifier_bias),
            activation: activationNames[config.classifier_activation],
          },
          { kind: "norm", norm: norm("head.norm") },
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

function thetasOf(source: Source, config: Settings): Readonly<Record<LayerType, number>> {
  plainTheta(source, "rope_scaling", source.config["rope_scaling"]);
  const ofType = (type: LayerType): number | undefined =>
    plainTheta(source, `rope_parameters.${type}`, config.rope_parameters?.[type]);
  return {
    full_attention: ofType("full_attention") ?? config.global_rope_theta,
    sliding_attention: ofType("sliding_attention") ?? config.local_rope_theta,
  };
}

function layer(
  source: Source,
  name: string,
  config: Settings,
  place: { readonly isFirst: boolean; readonly theta: number; readonly reach: number | undefined },
): Layer {
  const { hidden_size: hidden, num_attention_heads: heads, intermediate_size: inner } = config;
  const headSize = headSizeOf(source, hidden, heads);
  requirePairs(source, headSize);
  const norm = (part: string): Norm =>
    layerNorm(source, `${name}.${part}`, hidden, config.norm_eps, config.norm_bias);
  // One matrix for query, key and value, and one for the two halves of the gated layer.
  const fused = linear(source, `${name}.attn.Wqkv`, 3 * hidden, hidden, config.attention_bias);
  const wide = linear(source, `${name}.mlp.Wi`, 2 * inner, hidden, config.mlp_bias);
  return {
    placement: "pre",
    attention: {
      heads,
      keyValueHeads: heads,
      headSize,
      query: part(fused, 0, hidden),
      key: part(fused, hidden, 2 * hidden),
      value: part(fused, 2 * hidden, 3 * hidden),
      output: linear(source, `${name}.attn.Wo`, hidden, hidden, config.attention_bias),
      scale: 1 / Math.sqrt(headSize),
      positions: { kind: "rotary", theta: place.theta },
      causal: false,
      reach: place.reach,
    },
    attentionNorm: place.isFirst ? undefined : norm("attn_norm"),
    feedForward: {
      gate: part(wide, 0, inner),
      up: part(wide, inner, 2 * inner),
      down: linear(source, `${name}.mlp.Wo`, hidden, inner, config.mlp_bias),
      activation: activationNames[config.hidden_activation],
    },
    feedForwardNorm: norm("mlp_norm"),
  };
}

function part({ weight, bias }: Linear, from: number, to: number): Linear {
  const rows = sliceRows(weight, from, to);
  return bias === undefined ? { weight: rows } : { weight: rows, bias: sliceRows(bias, from, to) };
}
