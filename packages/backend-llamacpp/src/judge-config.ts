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
  "rope.freq_base_swa": ["rope_parameters.sliding_attention.rope_theta", "local_rope_theta"],
};

/**
 * What llama.cpp takes for a key that the file leaves out (`llama_model::load_hparams` of llama-model.cpp). A key that
 * is not here has no default: the file does not load without it.
 */
const defaults: Readonly<Record<string, (metadata: Metadata, prefix: string) => number | undefined>> = {
  "attention.head_count_kv": (metadata, prefix) => metadata.count(`${prefix}.attention.head_count`),
  "attention.key_length": headSize,
  "attention.value_length": headSize,
  "rope.freq_base": () => 10_000,
  "rope.freq_base_swa": (metadata, prefix) => metadata.number(`${prefix}.rope.freq_base`) ?? 10_000,
};

function headSize(metadata: Metadata, prefix: string): number | undefined {
  const [width, heads] = [
    metadata.count(`${prefix}.embedding_length`),
    metadata.count(`${prefix}.attention.head_count`),
  ];
  return width === undefined || !heads ? undefined : Math.floor(width / heads);
}

/**
 * Holds the numbers that decide what is computed against the model's config.json, so that a file of another model, or
 * one with a flipped bit in its metadata, is not run with plausible scores.
 *
 * @throws {Refusal} naming the first that differs.
 */
export function judgeConfig(metadata: Metadata, architecture: string, config: unknown): void {
  for (const [key, names] of Object.entries(wholeNumbers)) {
    const name = `${architecture}.${key}`;
    compare(name, metadata.count(name), defaults[key]?.(metadata, architecture), numberIn(config, names));
  }
  for (const [key, names] of Object.entries(numbers)) {
    const name = `${architecture}.${key}`;
    compare(name, metadata.number(name), defaults[key]?.(metadata, architecture), numberIn(config, names));
  }
  compareScaling(metadata, architecture, config);
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

/** Positions that are stretched: without the keys llama.cpp stretches none. */
function compareScaling(metadata: Metadata, architecture: string, config: unknown): void {
  const factor = numberIn(config, ["rope_scaling.factor", "rope_parameters.factor"]);
  const kind = textIn(config, ["rope_scaling.rope_type", "rope_scaling.type", "rope_parameters.rope_type"]);
  if (kind === undefined || kind === "default") return;
  const found = metadata.text(`${architecture}.rope.scaling.type`) ?? "none";
  if (found !== kind) {
    throw new Refusal(
      `"${architecture}.rope.scaling.type" of its metadata is ${JSON.stringify(found.slice(0, 40))}, and config.json has ${JSON.stringify(kind.slice(0, 40))}`,
      "Use another format of this model, such as ONNX",
    );
  }
  const key = `${architecture}.rope.scaling.factor`;
  compare(key, metadata.number(key), 1, factor);
}

function numberIn(config: unknown, paths: readonly string[]): number | undefined {
  return valuesIn(config, paths).find((value) => typeof value === "number");
}

function textIn(config: unknown, paths: readonly string[]): string | undefined {
  return valuesIn(config, paths).find((value) => typeof value === "string");
}

function valuesIn(config: unknown, paths: readonly string[]): unknown[] {
  return paths.map((path) =>
    path
      .split(".")
      .reduce<unknown>(
        (inner, name) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, name) : undefined),
        config,
      ),
  );
}
