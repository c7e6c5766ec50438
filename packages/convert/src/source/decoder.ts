import * as z from "zod/mini";
import { dividedBy, plusOne } from "./derived-weight.js";
import type { Activation, Layer, Linear, ModelDescription, Norm, OutputHead } from "./description.js";
import { classifierLinear, findPrefix, headSizeOf, linear, requirePairs, rmsNorm } from "./parts.js";
import { plainTheta, rotaryPositions } from "./rope.js";
import { shortened } from "./shortened.js";
import {
  type ActivationName,
  activationName,
  activationNames,
  classifierHead,
  count,
  epsilon,
  only,
  readSettings,
  rotaryBase,
  type Source,
  size,
  tokenId,
  unsupported,
} from "./source.js";
import { type LayerType, layerTypes, layerTypesOf } from "./windows.js";

/** In what the decoders differ from one another (transformers 5.23, `models/{name}/modeling_{name}.py`). */
interface Kind {
  /** Biases of the attention's projections: as `attention_bias` says, or as the code has it. */
  readonly bias: "setting" | "query-key-value" | "none";
  /** Norms over each head's query and key. */
  readonly headNorms: boolean;
  /** Numbers beside the head size of hidden_size / num_attention_heads, where config.json gives none. */
  readonly headSize?: number;
  /** Gemma: norms multiply by 1 + weight, embeddings by √hidden, and "gelu" means its approximation. */
  readonly isGemma: boolean;
  /** `tie_word_embeddings` where config.json does not say. */
  readonly tied: boolean;
  /**
   * Which layers have a window: `all`, where `sliding_window` is not null, or as `use_sliding_window`,
   * `max_window_layers` and `layer_types` say. Undefined: none.
   */
  readonly windows?: "all" | "setting";
  /** `pad_token_id` where config.json does not say. */
  readonly padding?: number;
  /** Every token sees every other, and a classifier reads the mean of all of them. */
  readonly isBidirectional?: boolean;
}

const kinds: Readonly<Record<string, Kind>> = {
  qwen3: { bias: "setting", headNorms: true, headSize: 128, isGemma: false, tied: false, windows: "setting" },
  qwen2: { bias: "query-key-value", headNorms: false, isGemma: false, tied: false, windows: "setting" },
  gemma: { bias: "setting", headNorms: false, headSize: 256, isGemma: true, tied: true, padding: 0 },
  llama: { bias: "setting", headNorms: false, isGemma: false, tied: false },
  // NVIDIA's, of code of its own (NeMo AutoModel, `components/models/llama_bidirectional/model.py` at 04fb006).
  llama_bidirec: { bias: "setting", headNorms: false, isGemma: false, tied: false, isBidirectional: true },
  mistral: { bias: "none", headNorms: false, isGemma: false, tied: false, windows: "all" },
};

interface Settings {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads?: number | undefined;
  readonly head_dim?: number | undefined;
  readonly intermediate_size: number;
  readonly max_position_embeddings: number;
  readonly hidden_act?: ActivationName | undefined;
  readonly hidden_activation?: ActivationName | undefined;
  readonly rms_norm_eps: number;
  readonly rope_theta: number;
  readonly attention_bias: boolean;
  readonly tie_word_embeddings?: boolean | undefined;
  readonly sliding_window?: number | undefined;
  readonly use_sliding_window: boolean;
  readonly max_window_layers: number;
  readonly layer_types?: readonly LayerType[] | undefined;
  readonly pad_token_id?: number | undefined;
}

const schema: z.ZodMiniType<Settings> = z.object({
  vocab_size: size,
  hidden_size: size,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: z.optional(count),
  head_dim: z.optional(size),
  intermediate_size: size,
  max_position_embeddings: size,
  hidden_act: z.optional(activationName),
  hidden_activation: z.optional(activationName),
  rms_norm_eps: z._default(epsilon, 1e-6),
  rope_theta: z._default(rotaryBase, 10_000),
  attention_bias: z._default(z.boolean(), false),
  tie_word_embeddings: z.optional(z.boolean()),
  sliding_window: z.optional(size),
  use_sliding_window: z._default(z.boolean(), false),
  max_window_layers: z._default(z.int().check(z.nonnegative(), z.maximum(2 ** 24)), 28),
  layer_types: z.optional(z.array(z.enum(layerTypes))),
  pad_token_id: z.optional(tokenId),
  mlp_bias: only(false),
  use_bidirectional_attention: only(false),
  use_mrope: only(false),
});

/**
 * Decoders: pre-norm layers with RMS norms, grouped-query attention with rotary positions, a gated feed-forward, and
 * logits over the vocabulary (transformers 5.23: `models/{qwen3,qwen2,gemma,llama,mistral}/modeling_*.py`).
 */
export async function describeDecoder(source: Source): Promise<ModelDescription> {
  const { model, profile, weights } = source;
  const kind = kinds[String(source.config["model_type"])] as Kind;
  const config = readSettings(source, schema);
  requireCausality(source, kind);
  const reaches = reachesOf(source, kind, config);
  const { hidden_size: hidden, vocab_size: vocabulary } = config;
  const prefix = findPrefix(source, "model.", "embed_tokens.weight");
  const word = `${prefix}embed_tokens.weight`;
  return {
    model,
    architecture: profile.architecture,
    vocabularySize: vocabulary,
    hiddenSize: hidden,
    maxPositions: config.max_position_embeddings,
    paddingId: profile.paddingId,
    embeddings: {
      word: weights.take(word, [vocabulary, hidden]),
      // torch multiplies by it in the precision that the model runs in: float32 here, whatever the file holds.
      ...(kind.isGemma ? { scale: Math.fround(Math.sqrt(hidden)) } : {}),
    },
    layers: reaches.map((reach, index) => layer(source, kind, config, `${prefix}layers.${index}`, reach)),
    finalNorm: norm(source, kind, config, `${prefix}norm`),
    head: await head(source, kind, config, word),
  };
}

/** `is_causal` is what transformers' masks go by; NVIDIA's code sets it, and files saved by it may hold it. */
function requireCausality(source: Source, { isBidirectional = false }: Kind): void {
  const { is_causal: causal } = source.config;
  if (causal === undefined || causal === !isBidirectional) return;
  throw unsupported(
    source,
    `config.json has is_causal ${shortened(JSON.stringify(causal) ?? "")}, which is not supported of ${String(source.config["model_type"])}`,
  );
}

/** A decoder's window where config.json names none, and does not say null (`configuration_{mistral,qwen2,qwen3}.py`). */
const usualWindow = 4096;

/**
 * How many places back each layer's tokens see; undefined where that is all. A window counts the token itself
 * (`masking_utils.py`, sliding_window_overlay), and of places that are all in reach nothing is said.
 */
function reachesOf(source: Source, kind: Kind, config: Settings): readonly (number | undefined)[] {
  const { num_hidden_layers: layers, layer_types: given, max_window_layers: first } = config;
  const named = config.sliding_window ?? (source.nulls.has("sliding_window") ? undefined : usualWindow);
  const isUsed = kind.windows === "all" || (kind.windows === "setting" && config.use_sliding_window);
  const window = isUsed ? named : undefined;
  const types = layerTypesOf(source, layers, given, (index) =>
    window !== undefined && (kind.windows === "all" || index >= first)
      ? "sliding_attention"
      : "full_attention",
  );
  const type = String(source.config["model_type"]);
  if (window === undefined && types.includes("sliding_attention"))
    throw unsupported(
      source,
      `config.json has layer_types sliding_attention, and ${type} has no window by it`,
    );
  const reach = window === undefined || window >= config.max_position_embeddings ? undefined : window - 1;
  // Mistral's code passes layer_types over.
  if (kind.windows === "all" && reach !== undefined && types.includes("full_attention"))
    throw unsupported(
      source,
      `config.json has layer_types full_attention, and ${type} has its window in all layers`,
    );
  return types.map((layerType) => (layerType === "sliding_attention" ? reach : undefined));
}

function norm(source: Source, kind: Kind, config: Settings, name: string, width = config.hidden_size): Norm {
  const plain = rmsNorm(source, name, width, config.rms_norm_eps);
  return kind.isGemma ? { ...plain, weight: plusOne(plain.weight) } : plain;
}

function layer(source: Source, kind: Kind, config: Settings, name: string, reach: number | undefined): Layer {
  const { hidden_size: hidden, num_attention_heads: heads, intermediate_size: inner } = config;
  const keyValueHeads = config.num_key_value_heads ?? heads;
  if (heads % keyValueHeads !== 0)
    throw unsupported(source, `config.json has ${heads} heads for ${keyValueHeads} num_key_value_heads`);
  const headSize = config.head_dim ?? kind.headSize ?? headSizeOf(source, hidden, heads);
  requirePairs(source, headSize);
  const isBiased = kind.bias === "setting" ? config.attention_bias : kind.bias === "query-key-value";
  const projection = (part: string, count: number): Linear =>
    linear(source, `${name}.self_attn.${part}`, count * headSize, hidden, isBiased);
  const headNorm = (part: string): Norm => norm(source, kind, config, `${name}.self_attn.${part}`, headSize);
  return {
    placement: "pre",
    attention: {
      heads,
      keyValueHeads,
      headSize,
      query: projection("q_proj", heads),
      key: projection("k_proj", keyValueHeads),
      value: projection("v_proj", keyValueHeads),
      output: linear(
        source,
        `${name}.self_attn.o_proj`,
        hidden,
        heads * headSize,
        kind.bias === "setting" && config.attention_bias,
      ),
      ...(kind.headNorms ? { queryNorm: headNorm("q_norm"), keyNorm: headNorm("k_norm") } : {}),
      scale: 1 / Math.sqrt(headSize),
      positions: positionsOf(source, config, headSize),
      causal: kind.isBidirectional !== true,
      ...(reach === undefined ? {} : { reach }),
    },
    attentionNorm: norm(source, kind, config, `${name}.input_layernorm`),
    feedForward: {
      gate: linear(source, `${name}.mlp.gate_proj`, inner, hidden, false),
      up: linear(source, `${name}.mlp.up_proj`, inner, hidden, false),
      down: linear(source, `${name}.mlp.down_proj`, hidden, inner, false),
      activation: activationOf(source, kind, config),
    },
    feedForwardNorm: norm(source, kind, config, `${name}.post_attention_layernorm`),
  };
}

/** transformers 4 has `rope_scaling` beside `rope_theta`, transformers 5 both in `rope_parameters`. */
function positionsOf(source: Source, config: Settings, headSize: number): ReturnType<typeof rotaryPositions> {
  plainTheta(source, "partial_rotary_factor", pick(source, "partial_rotary_factor"));
  return rotaryPositions(source, config.rope_theta, headSize);
}

function pick({ config }: Source, name: string): Record<string, unknown> | undefined {
  return config[name] === undefined ? undefined : { [name]: config[name] };
}

/**
 * Gemma's first files say "gelu" and mean the approximation (`configuration_gemma.py`, __post_init__); transformers 4
 * had `hidden_activation` for it.
 */
function activationOf(source: Source, { isGemma }: Kind, config: Settings): Activation {
  const { hidden_act: named, hidden_activation: meant } = config;
  if (!isGemma) return activationNames[named ?? "silu"];
  const activation = meant ?? (named === undefined || named === "gelu" ? "gelu_pytorch_tanh" : named);
  if (activation === "gelu_pytorch_tanh") return "gelu-tanh";
  throw unsupported(
    source,
    `config.json has hidden activation ${activation}, and of gemma only gelu_pytorch_tanh is known`,
  );
}

async function head(source: Source, kind: Kind, config: Settings, word: string): Promise<OutputHead> {
  const { weights, profile } = source;
  const { vocab_size: vocabulary, hidden_size: hidden } = config;
  const classifier = classifierHead(source, (classes) => lastTokenHead(source, kind, config, classes));
  if (classifier !== undefined) return classifier;
  if (profile.head.kind !== "answer-tokens") return { kind: "none" };
  const own = "lm_head.weight";
  const isTied = config.tie_word_embeddings ?? kind.tied;
  if (!isTied)
    return { kind: "vocabulary", projection: weights.take(own, [vocabulary, hidden]), tied: false };
  const projection = weights.take(word, [vocabulary, hidden]);
  const copy = weights.takeOptional(own, [vocabulary, hidden]);
  // transformers 4 takes the embeddings, transformers 5 the other table if it differs: only a copy is unambiguous.
  const { positive: yes, negative: no = yes } = profile.head;
  for (const token of copy === undefined ? [] : new Set([yes, no])) {
    if (token >= vocabulary)
      throw weights.problem(undefined, `has no token ${token}, which the profile names`);
    const [ours, theirs] = [await projection.rows(token, token + 1), await copy?.rows(token, token + 1)];
    if (ours.every((value, index) => value === theirs?.[index])) continue;
    throw unsupported(
      source,
      `config.json ties the output to the embeddings, and ${own} differs from ${word}: which of them counts depends ` +
        "on transformers' version",
    );
  }
  return { kind: "vocabulary", projection, tied: true };
}

/**
 * A classifier on the last token that is not padding by config.json's own account, `pad_token_id`; where that is null,
 * on the last one (transformers 4.57.6 and 5.24.0, `modeling_layers.py`, GenericForSequenceClassification).
 */
function lastTokenHead(source: Source, kind: Kind, config: Settings, classes: number): OutputHead {
  if (kind.isBidirectional === true) return meanHead(source, config, classes);
  const usual = source.nulls.has("pad_token_id") ? undefined : kind.padding;
  const passedOver = config.pad_token_id ?? usual;
  const linear = classifierLinear(source, "score", classes, config.hidden_size, false);
  return {
    kind: "classifier",
    pooling: "last",
    ...(passedOver === undefined ? {} : { passedOver }),
    classes,
    steps: [{ kind: "linear", linear, activation: "identity" }],
  };
}

/** Of other decoders such entries are something else. */
const meanSchema = z.object({
  pooling: z._default(z.string(), "avg"),
  temperature: z._default(z.number().check(z.gte(1e-6), z.lte(1e6)), 1),
});

/** The mean of all tokens, and logits divided by a temperature, which the weights are divided by here. */
function meanHead(source: Source, { hidden_size }: Settings, classes: number): OutputHead {
  const { pooling, temperature } = readSettings(source, meanSchema);
  if (pooling !== "avg")
    throw unsupported(
      source,
      `config.json has pooling ${shortened(JSON.stringify(pooling))}, and only avg is known of llama_bidirec`,
    );
  const { weight } = classifierLinear(source, "score", classes, hidden_size, false);
  return {
    kind: "classifier",
    pooling: "mean",
    classes,
    steps: [{ kind: "linear", linear: { weight: dividedBy(weight, temperature) }, activation: "identity" }],
  };
}
