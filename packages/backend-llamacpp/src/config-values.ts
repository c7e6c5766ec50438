/**
 * transformers' defaults for what a config.json leaves out, of the classes behind each of llama.cpp's architectures (the
 * same in 4.57.6 and 5.24.0).
 */
const defaultsOf: Readonly<Record<string, object>> = {
  bert: { layer_norm_eps: 1e-12 },
  "modern-bert": {
    norm_eps: 1e-5,
    global_rope_theta: 160_000,
    local_rope_theta: 10_000,
    local_attention: 128,
    global_attn_every_n_layers: 3,
  },
  qwen2: { rms_norm_eps: 1e-6, rope_theta: 10_000 },
  qwen3: { rms_norm_eps: 1e-6, rope_theta: 10_000, head_dim: 128 },
  gemma: { rms_norm_eps: 1e-6, rope_theta: 10_000, head_dim: 256 },
  gemma2: {
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    head_dim: 256,
    sliding_window: 4096,
    sliding_window_pattern: 2,
    query_pre_attn_scalar: 256,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
  },
  gemma3: {
    rms_norm_eps: 1e-6,
    rope_theta: 1_000_000,
    rope_local_base_freq: 10_000,
    head_dim: 256,
    sliding_window: 4096,
    sliding_window_pattern: 6,
    query_pre_attn_scalar: 256,
    final_logit_softcapping: 0,
  },
};

/** What stands for the values that a config.json leaves out; nothing where it does not say which class it is of. */
export function classDefaults(config: object, architecture: string): object {
  return textIn(config, ["model_type"]) === undefined ? {} : (defaultsOf[architecture] ?? {});
}

/** The first of these paths that has a number. A model of texts and pictures has them in its text_config. */
export function numberIn(config: unknown, paths: readonly string[]): number | undefined {
  return valuesIn(config, paths).find((value) => typeof value === "number");
}

export function textIn(config: unknown, paths: readonly string[]): string | undefined {
  return valuesIn(config, paths).find((value) => typeof value === "string");
}

export function flagIn(config: unknown, paths: readonly string[]): boolean | undefined {
  return valuesIn(config, paths).find((value) => typeof value === "boolean");
}

/** Which entries of a list are this text. */
export function flagsIn(
  config: unknown,
  paths: readonly string[],
  wanted: string,
): readonly boolean[] | undefined {
  const list = valuesIn(config, paths).find((value) => Array.isArray(value));
  return Array.isArray(list) ? list.map((entry) => entry === wanted) : undefined;
}

function valuesIn(config: unknown, paths: readonly string[]): unknown[] {
  const inner =
    typeof config === "object" && config !== null ? Reflect.get(config, "text_config") : undefined;
  return [config, inner].flatMap((part) => paths.map((path) => valueAt(part, path)));
}

function valueAt(config: unknown, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>(
      (inner, name) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, name) : undefined),
      config,
    );
}
