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
   * `max_window_layers` and `layer_types` say; or all but the last of so many, where `layer_types` says nothing else.
   * Undefined: none.
   */
  readonly windows?: "all" | "setting" | { readonly period: number };
  /** `pad_token_id` where config.json does not say. */
  readonly padding?: number;
  /** Every token sees every other, and a classifier reads the mean of all of them. */
  readonly isBidirectional?: boolean;
  /** Norms in front of attention and feed-forward and behind them, and attention scaled by `query_pre_attn_scalar`. */
  readonly isAround?: boolean;
  /** What attention's scores and the vocabulary's logits are capped with where config.json does not say. */
  readonly caps?: { readonly attention: number; readonly logits: number };
  /** Rotary bases of layers that see everything and of those with a window, where config.json does not say. */
  readonly bases?: { readonly full: number; readonly window: number };
  /** `num_key_value_heads` where config.json does not say; undefined: as many as heads. */
  readonly keyValueHeads?: number;
  /** `use_bidirectional_attention` is known: the window then lies half to each side. */
  readonly mayBeBidirectional?: boolean;
}

const gemmaLike = { bias: "setting", headSize: 256, isGemma: true, tied: true, padding: 0 } as const;

const kinds: Readonly<Record<string, Kind>> = {
  qwen3: { bias: "setting", headNorms: true, headSize: 128, isGemma: false, tied: false, windows: "setting" },
  qwen2: { bias: "query-key-value", headNorms: false, isGemma: false, tied: false, windows: "setting" },
  gemma: { ...gemmaLike, headNorms: false },
  gemma2: {
    ...gemmaLike,
    headNorms: false,
    isAround: true,
    windows: { period: 2 },
    caps: { attention: 50, logits: 30 },
    keyValueHeads: 4,
  },
  gemma3_text: {
    ...gemmaLike,
    headNorms: true,
    isAround: true,
    windows: { period: 6 },
    bases: { full: 1_000_000, window: 10_000 },
    keyValueHeads: 4,
    mayBeBidirectional: true,
  },
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
  readonly rope_theta?: number | undefined;
  readonly rope_local_base_freq?: number | undefined;
  readonly attention_bias: boolean;
  readonly tie_word_embeddings?: boolean | undefined;
  readonly sliding_window?: number | undefined;
  readonly use_sliding_window: boolean;
  readonly max_window_layers: number;
  readonly layer_types?: readonly LayerType[] | undefined;
  readonly pad_token_id?: number | undefined;
  readonly sliding_window_pattern?: number | undefined;
  readonly _sliding_window_pattern?: number | undefined;
  readonly query_pre_attn_scalar: number;
  readonly attn_logit_softcapping?: number | undefined;
  readonly final_logit_softcapping?: number | undefined;
  readonly use_bidirectional_attention: boolean;
}

/** What scores are capped with. */
const cap = z.number().check(z.gte(1e-3), z.lte(1e6));

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
  rope_theta: z.optional(rotaryBase),
  rope_local_base_freq: z.optional(rotaryBase),
  attention_bias: z._default(z.boolean(), false),
  tie_word_embeddings: z.optional(z.boolean()),
  sliding_window: z.optional(size),
  use_sliding_window: z._default(z.boolean(), false),
  max_window_layers: z._default(z.int().check(z.nonnegative(), z.maximum(2 ** 24)), 28),
  layer_types: z.optional(z.array(z.enum(layerTypes))),
  pad_token_id: z.optional(tokenId),
  sliding_window_pattern: z.optional(size),
  _sliding_window_pattern: z.optional(size),
  query_pre_attn_scalar: z._default(z.number().check(z.gte(1e-3), z.lte(1e6)), 256),
  attn_logit_softcapping: z.optional(cap),
  final_logit_softcapping: z.optional(cap),
  use_bidirectional_attention: z._default(z.boolean(), false),
  mlp_bias: only(false),
  use_mrope: only(false),
});

/**
 * Decoders: pre-norm layers with RMS norms, grouped-query attention with rotary positions, a gated feed-forward, and
 * logits over the vocabulary (transformers 5.23: `models/{qwen3,qwen2,gemma,llama,mistral}/modeling_*.py`,
 * 5.24: `models/{gemma2,gemma3}/modeling_*.py`). Gemma 2's caps are those of its own code ("eager" attention): torch's
 * fused attention, which transformers takes by itself, leaves that of the scores out.
 */
export async function describeDecoder(source: Source): Promise<ModelDescription> {
  const { model, profile, weights } = source;
  const kind = kinds[String(source.config["model_type"])] as Kind;
  const config = readSettings(source, schema);
  requireCausality(source, kind, config);
  const places = placesOf(source, kind, config);
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
    layers: places.map((place, index) => layer(source, kind, config, `${prefix}layers.${index}`, place)),
    finalNorm: norm(source, kind, config, `${prefix}norm`),
    head: await head(source, kind, config, word),
  };
}

/** `is_causal` is what transformers' masks go by; NVIDIA's code sets it, and files saved by it may hold it. */
function requireCausality(source: Source, kind: Kind, config: Settings): void {
  if (config.use_bidirectional_attention && kind.mayBeBidirectional !== true)
    throw unsupported(
      source,
      `config.json has use_bidirectional_attention true, which is not supported of ${String(source.config["model_type"])}`,
    );
  const { is_causal: causal } = source.config;
  if (causal === undefined || causal === !isBidirectional(kind, config)) return;
  throw unsupported(
    source,
    `config.json has is_causal ${shortened(JSON.stringify(causal) ?? "")}, which is not supported of ${String(source.config["model_type"])}`,
  );
}

/** A decoder's window where config.json names none, and does not say null (`configuration_{mistral,qwen2,qwen3}.py`). */
const usualWindow = 4096;

/** What a layer's tokens see. */
interface LayerPlaces {
  readonly type: LayerType;
  /** How many places away; undefined where that is all. */
  readonly reach: number | undefined;
}

/**
 * What each layer's tokens see. A window counts the token itself (`masking_utils.py`, sliding_window_overlay); where
 * tokens see both sides, half of it lies on each (`configuration_gemma3.py`, __post_init__). Of places that are all in
 * reach nothing is said.
 */
function placesOf(source: Source, kind: Kind, config: Settings): readonly LayerPlaces[] {
  const { num_hidden_layers: layers, layer_types: given, max_window_layers: first } = config;
  const { windows } = kind;
  const named = config.sliding_window ?? (source.nulls.has("sliding_window") ? undefined : usualWindow);
  const isUsed =
    windows === "all" || typeof windows === "object" || (windows === "setting" && config.use_sliding_window);
  const window = isUsed ? named : undefined;
  const period =
    typeof windows === "object" && kind.bases !== undefined
      ? (config.sliding_window_pattern ?? config._sliding_window_pattern ?? windows.period)
      : typeof windows === "object"
        ? windows.period
        : undefined;
  const types = layerTypesOf(source, layers, given, (index) => {
    if (period !== undefined) return (index + 1) % period === 0 ? "full_attention" : "sliding_attention";
    return window !== undefined && (windows === "all" || index >= first)
      ? "sliding_attention"
      : "full_attention";
  });
  const type = String(source.config["model_type"]);
  if (window === undefined && types.includes("sliding_attention"))
    throw unsupported(
      source,
      `config.json has layer_types sliding_attention, and ${type} has no window by it`,
    );
  const reach =
    window === undefined || window >= config.max_position_embeddings
      ? undefined
      : isBidirectional(kind, config)
        ? Math.floor(window / 2)
        : window - 1;
  // Mistral's code passes layer_types over.
  if (windows === "all" && reach !== undefined && types.includes("full_attention"))
    throw unsupported(
      source,
      `config.json has layer_types full_attention, and ${type} has its window in all layers`,
    );
  return types.map((layerType) => ({
    type: layerType,
    reach: layerType === "sliding_attention" ? reach : undefined,
  }));
}

function isBidirectional(kind: Kind, config: Settings): boolean {
  return kind.isBidirectional === true || config.use_bidirectional_attention;
}

function norm(source: Source, kind: Kind, config: Settings, name: string, width = config.hidden_size): Norm {
  const plain = rmsNorm(source, name, width, config.rms_norm_eps);
  return kind.isGemma ? { ...plain, weight: plusOne(plain.weight) } : plain;
}

function layer(source: Source, kind: Kind, config: Settings, name: string, place: LayerPlaces): Layer {
  const { hidden_size: hidden, num_attention_heads: heads, intermediate_size: inner } = config;
  const { reach } = place;
  const keyValueHeads = config.num_key_value_heads ?? kind.keyValueHeads ?? heads;
  if (heads % keyValueHeads !== 0)
    throw unsupported(source, `config.json has ${heads} heads for ${keyValueHeads} num_key_value_heads`);
  const headSize = config.head_dim ?? kind.headSize ?? headSizeOf(source, hidden, heads);
  requirePairs(source, headSize);
  const isBiased = kind.bias === "setting" ? config.attention_bias : kind.bias === "query-key-value";
  const projection = (part: string, count: number): Linear =>
    linear(source, `${name}.self_attn.${part}`, count * headSize, hidden, isBiased);
  const headNorm = (part: string): Norm => norm(source, kind, config, `${name}.self_attn.${part}`, headSize);
  const isAround = kind.isAround === true;
  const cap = capOf(source, kind, config, "attention");
  return {
    placement: isAround ? "around" : "pre",
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
      scale: 1 / Math.sqrt(isAround ? config.query_pre_attn_scalar : headSize),
      ...(cap === undefined ? {} : { cap }),
      positions: positionsOf(source, kind, config, headSize, place.type),
      causal: !isBidirectional(kind, config),
      ...(reach === undefined ? {} : { reach }),
    },
    attentionNorm: norm(source, kind, config, `${name}.input_layernorm`),
    feedForward: {
      gate: linear(source, `${name}.mlp.gate_proj`, inner, hidden, false),
      up: linear(source, `${name}.mlp.up_proj`, inner, hidden, false),
      down: linear(source, `${name}.mlp.down_proj`, hidden, inner, false),
      activation: activationOf(source, kind, config),
    },
    ...(isAround
      ? {
          attentionAfter: norm(source, kind, config, `${name}.post_attention_layernorm`),
          feedForwardNorm: norm(source, kind, config, `${name}.pre_feedforward_layernorm`),
          feedForwardAfter: norm(source, kind, config, `${name}.post_feedforward_layernorm`),
        }
      : { feedForwardNorm: norm(source, kind, config, `${name}.post_attention_layernorm`) }),
  };
}

/**
 * What config.json says, or the class where it says nothing. Gemma 3 has no caps; one that a file names is read by its
 * code of the logits and not of the scores, and is refused.
 */
function capOf(
  source: Source,
  { caps }: Kind,
  config: Settings,
  what: "attention" | "logits",
): number | undefined {
  const name = what === "attention" ? "attn_logit_softcapping" : "final_logit_softcapping";
  const given = config[name];
  if (caps !== undefined) return given ?? (source.nulls.has(name) ? undefined : caps[what]);
  if (given === undefined) return undefined;
  throw unsupported(
    source,
    `config.json has ${name} ${given}, which is not known of ${String(source.config["model_type"])}`,
  );
}

/**
 * transformers 4 has `rope_scaling` beside `rope_theta`, transformers 5 both in `rope_parameters`; for Gemma 3, whose
 * layers with a window have a base of their own, by the type of the layer.
 */
function positionsOf(
  source: Source,
  { bases }: Kind,
  config: Settings,
  headSize: number,
  type: LayerType,
): ReturnType<typeof rotaryPositions> {
  plainTheta(source, "partial_rotary_factor", pick(source, "partial_rotary_factor"));
  if (bases === undefined) return rotaryPositions(source, config.rope_theta ?? 10_000, headSize);
  const { rope_parameters: later } = source.config;
  const ofTypes = typeof later === "object" && later !== null ? later : {};
  const unknown = Object.keys(ofTypes).find((name) => !(layerTypes as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw unsupported(
      source,
      `config.json has rope_parameters ${shortened(JSON.stringify(unknown))}, and ${layerTypes.join(", ")} are known`,
    );
  const scaled = type === "full_attention" ? [["rope_scaling", source.config["rope_scaling"]] as const] : [];
  const theta =
    type === "full_attention"
      ? (config.rope_theta ?? bases.full)
      : (config.rope_local_base_freq ?? bases.window);
  return rotaryPositions(source, theta, headSize, [
    ...scaled,
    [`rope_parameters ${type}`, Reflect.get(ofTypes, type)],
  ]);
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
  const cap = capOf(source, kind, config, "logits");
  const capped = cap === undefined ? {} : { cap };
  if (!isTied)
    return {
      kind: "vocabulary",
      projection: weights.take(own, [vocabulary, hidden]),
      tied: false,
      ...capped,
    };
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
  return { kind: "vocabulary", projection, tied: true, ...capped };
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
