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
 * Holds the numbers that decide what is computed against the model's config.json, so that a file of another model, or
 * one with a flipped bit in its metadata, is not run with plausible scores.
 *
 * @throws {Refusal} naming the first that differs.
 */
export function judgeConfig(metadata: Metadata, architecture: string, config: unknown): void {
  for (const [key, names] of Object.entries(wholeNumbers)) {
    compare(`${architecture}.${key}`, metadata.count(`${architecture}.${key}`), numberIn(config, names));
  }
  for (const [key, names] of Object.entries(numbers)) {
    compare(`${architecture}.${key}`, metadata.number(`${architecture}.${key}`), numberIn(config, names));
  }
}

function compare(key: string, found: number | undefined, wanted: number | undefined): void {
  if (found === undefined || wanted === undefined) return;
  // The file has float32, the configuration decimals.
  if (Math.abs(found - wanted) > 1e-6 * Math.abs(wanted) || Number.isNaN(found)) {
    throw new Refusal(
      `"${key}" of its metadata is ${found}, and config.json has ${wanted}`,
      "The file is damaged or of another model: put it beside the model that it was made from",
    );
  }
}

function numberIn(config: unknown, paths: readonly string[]): number | undefined {
  for (const path of paths) {
    const value = path
      .split(".")
      .reduce<unknown>(
        (inner, name) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, name) : undefined),
        config,
      );
    if (typeof value === "number") return value;
  }
  return undefined;
}
