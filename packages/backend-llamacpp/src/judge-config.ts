import { classDefaults, flagIn, flagsIn, numberIn, textIn } from "./config-values.js";
import { compareLayout } from "./judge-layout.js";
import type { Metadata } from "./metadata.js";
import { Refusal } from "./refusal.js";

/** Keys of the file (behind the architecture's prefix), each with where config.json may say the same, best first. */
const wholeNumbers: Readonly<Record<string, readonly string[]>> = {
  embedding_length: ["hidden_size"],
  block_count: ["num_hidden_layers"],
  feed_forward_length: ["intermediate_size"],
  "attention.head_count": ["num_attention_heads"],
  "attention.head_count_kv": ["num_key_value_heads"],
  "attention.key_length": ["head_dim"],
  "attention.value_length": ["head_dim"],
};

const numbers: Readonly<Record<string, readonly string[]>> = {
  "attention.layer_norm_epsilon": ["norm_eps", "layer_norm_eps"],
  "attention.layer_norm_rms_epsilon": ["rms_norm_eps"],
  "rope.freq_base": [
    "rope_parameters.full_attention.rope_theta",
    "rope_parameters.rope_theta",
    "global_rope_theta",
    "rope_theta",
  ],
  "rope.freq_base_swa": [
    "rope_parameters.sliding_attention.rope_theta",
    "local_rope_theta",
    "rope_local_base_freq",
  ],
  final_logit_softcapping: ["final_logit_softcapping"],
  attn_logit_softcapping: ["attn_logit_softcapping"],
};

type Default = (metadata: Metadata, prefix: string) => number | undefined;

/**
 * What llama.cpp takes for a key that the file leaves out (`load_arch_hparams` of its models, and measured with files
 * that leave it out). A key that is not here has no default: the file does not load without it, or the architecture
 * has no use for it.
 */
const defaults: Readonly<Record<string, Default>> = {
  "attention.head_count_kv": (metadata, prefix) => metadata.count(`${prefix}.attention.head_count`),
  "attention.key_length": headSize,
  "attention.value_length": headSize,
  "rope.freq_base": (_, prefix) => (prefix === "bert" ? undefined : 10_000),
  "rope.freq_base_swa": (metadata, prefix) => {
    if (prefix === "gemma3") return 10_000;
    return prefix === "modern-bert" || prefix === "gemma2"
      ? (metadata.number(`${prefix}.rope.freq_base`) ?? 10_000)
      : undefined;
  },
  final_logit_softcapping: (_, prefix) => ({ gemma2: 30, gemma3: 0 })[prefix],
  attn_logit_softcapping: (_, prefix) => ({ gemma2: 50 })[prefix],
};

function headSize(metadata: Metadata, prefix: string): number | undefined {
  const [width, heads] = [
    metadata.count(`${prefix}.embedding_length`),
    metadata.count(`${prefix}.attention.head_count`),
  ];
  return width === undefined || !heads ? undefined : Math.floor(width / heads);
}

/**
 * Holds what decides the numbers that are computed against the model's config.json, so that a file of another model, one
 * that leaves a key out, or one with a flipped bit in its metadata, is not run with plausible scores. What config.json
 * leaves out is transformers' default, as llama.cpp's is for the file.
 *
 * @throws {Refusal} naming the first that differs.
 */
export function judgeConfig(metadata: Metadata, architecture: string, config: unknown): void {
  if (typeof config !== "object" || config === null) return;
  const wantedOf = (names: readonly string[]): number | undefined =>
    numberIn(config, names) ?? numberIn(classDefaults(config, architecture), names);
  requireCaps(architecture, config);
  for (const [key, names] of Object.entries(wholeNumbers)) {
    const name = `${architecture}.${key}`;
    compare(name, metadata.count(name), defaults[key]?.(metadata, architecture), wantedOf(names));
  }
  for (const [key, names] of Object.entries(numbers)) {
    const name = `${architecture}.${key}`;
    compare(name, metadata.number(name), defaults[key]?.(metadata, architecture), wantedOf(names));
  }
  compareRotation(metadata, architecture, config);
  compareScaling(metadata, architecture, config);
  compareLayout(metadata, architecture, config);
  judgeGraph(metadata, architecture, config);
}

/** null says that nothing is capped, where no entry says the class's own cap. */
function requireCaps(architecture: string, config: object): void {
  const none = ["attn_logit_softcapping", "final_logit_softcapping"].find(
    (name) => architecture === "gemma2" && Reflect.get(config, name) === null,
  );
  if (none !== undefined)
    throw new Refusal(
      `config.json has ${none} null, and llama.cpp computes a cap for the architecture "gemma2", whatever the file says`,
      "Use another format of this model, such as ONNX",
    );
}

function compare(
  key: string,
  found: number | undefined,
  assumed: number | undefined,
  wanted: number | undefined,
): void {
  const used = found ?? assumed;
  if (used === undefined || wanted === undefined) return;
  // The file has float32, the configuration decimals.
  if (Math.abs(used - wanted) <= 1e-6 * Math.abs(wanted)) return;
  if (found === undefined) {
    throw new Refusal(
      `its metadata have no "${key}", for which llama.cpp takes ${used}, and config.json has ${wanted}`,
      "Convert it again with a converter that writes the key, such as `crossrank convert --to gguf`",
    );
  }
  throw new Refusal(
    `"${key}" of its metadata is ${found}, and config.json has ${wanted}`,
    "The file is damaged or of another model: put it beside the model that it was made from",
  );
}

/** Numbers of a head that are rotated: without the key all of them. */
function compareRotation(metadata: Metadata, architecture: string, config: object): void {
  if (architecture === "bert") return;
  const share = numberIn(config, ["partial_rotary_factor", "rope_parameters.partial_rotary_factor"]);
  if (share === undefined) return;
  const size = metadata.count(`${architecture}.attention.key_length`) ?? headSize(metadata, architecture);
  if (size === undefined) return;
  const key = `${architecture}.rope.dimension_count`;
  compare(key, metadata.count(key), size, Math.floor(share * size));
}

/** Positions that are stretched: without the keys llama.cpp stretches none. */
function compareScaling(metadata: Metadata, architecture: string, config: object): void {
  if (architecture === "bert") return;
  const kinds = ["rope_type", "type"].flatMap((name) => [
    `rope_scaling.${name}`,
    `rope_parameters.${name}`,
    `rope_parameters.full_attention.${name}`,
  ]);
  const kind = textIn(config, kinds) ?? "default";
  const found = metadata.text(`${architecture}.rope.scaling.type`) ?? "none";
  const key = `${architecture}.rope.scaling.factor`;
  if (found !== (kind === "default" ? "none" : kind)) {
    // A file that stretches by 1 stretches nothing.
    if (kind === "default" && (metadata.number(key) ?? 1) === 1) return;
    throw new Refusal(
      `"${architecture}.rope.scaling.type" of its metadata is ${JSON.stringify(found.slice(0, 40))}, and config.json has ${JSON.stringify(kind.slice(0, 40))}`,
      "Use another format of this model, such as ONNX",
    );
  }
  if (kind === "default") return;
  const statedAs = (name: string): number | undefined =>
    numberIn(config, [
      `rope_scaling.${name}`,
      `rope_parameters.${name}`,
      `rope_parameters.full_attention.${name}`,
    ]);
  compare(key, metadata.number(key), 1, statedAs("factor"));
  if (kind !== "yarn") return;
  const original = `${architecture}.rope.scaling.original_context_length`;
  const context = metadata.count(`${architecture}.context_length`);
  compare(original, metadata.count(original), context, statedAs("original_max_position_embeddings"));
}

const gelu = ["gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_accurate", "gelu_pytorch_tanh"];

/** What the graphs of llama.cpp compute, and no key of a file changes. */
const activations: Readonly<Record<string, readonly string[]>> = {
  bert: gelu,
  "modern-bert": gelu,
  qwen2: ["silu", "swish"],
  qwen3: ["silu", "swish"],
  gemma: gelu,
  gemma2: gelu,
  gemma3: gelu,
};

function judgeGraph(metadata: Metadata, architecture: string, config: object): void {
  const refuse = (name: string, value: unknown, computed: string): never => {
    throw new Refusal(
      `config.json has ${name} ${JSON.stringify(value)}, and llama.cpp computes ${computed} for the architecture "${architecture}", whatever the file says`,
      "Use another format of this model, such as ONNX",
    );
  };
  const activation = textIn(config, ["hidden_activation", "hidden_act"]);
  const computed = activations[architecture] ?? [];
  if (activation !== undefined && computed.length > 0 && !computed.includes(activation)) {
    refuse("the activation", activation.slice(0, 40), computed[0] as string);
  }
  const positions = textIn(config, ["position_embedding_type"]);
  if (architecture === "bert" && positions !== undefined && positions !== "absolute") {
    refuse("position_embedding_type", positions.slice(0, 40), "absolute positions");
  }
  if (architecture.startsWith("gemma")) {
    if (flagIn(config, ["use_bidirectional_attention"]) === true) {
      refuse("use_bidirectional_attention", true, "attention to what comes before");
    }
    const cap = numberIn(config, ["attn_logit_softcapping"]);
    if (architecture !== "gemma2" && cap !== undefined && cap !== 0)
      refuse("attn_logit_softcapping", cap, "none");
  }
  if (architecture === "gemma2" || architecture === "gemma3") {
    const wanted =
      numberIn(config, ["query_pre_attn_scalar"]) ??
      numberIn(classDefaults(config, architecture), ["query_pre_attn_scalar"]);
    const size = metadata.count(`${architecture}.attention.key_length`) ?? headSize(metadata, architecture);
    // Of the layers of the largest model llama.cpp scales by the width of a head without key_length.
    const isLargest = metadata.count(`${architecture}.block_count`) === (architecture === "gemma2" ? 46 : 62);
    const used = isLargest ? headSize(metadata, architecture) : size;
    if (wanted !== undefined && used !== undefined && wanted !== used) {
      refuse("query_pre_attn_scalar", wanted, String(used));
    }
  }
  if (architecture.startsWith("qwen") && flagIn(config, ["use_sliding_window"]) === true) {
    const layers = numberIn(config, ["num_hidden_layers"]) ?? 0;
    const windowed =
      flagsIn(config, ["layer_types"], "sliding_attention")?.includes(true) ??
      (numberIn(config, ["max_window_layers"]) ?? 28) < layers;
    const window = numberIn(config, ["sliding_window"]) ?? 4096;
    if (windowed && window < (metadata.count(`${architecture}.context_length`) ?? Number.POSITIVE_INFINITY)) {
      refuse("use_sliding_window", true, "attention to all tokens before");
    }
  }
}
