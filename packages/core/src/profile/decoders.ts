/** `model_type`s of language models, which read from left to right and know no pair of texts. */
const decoders = new Set([
  "baichuan",
  "bloom",
  "chatglm",
  "cohere",
  "cohere2",
  "deepseek_v2",
  "deepseek_v3",
  "exaone",
  "exaone4",
  "falcon",
  "gemma",
  "gemma2",
  "gemma3",
  "gemma3_text",
  "glm",
  "glm4",
  "gpt2",
  "gpt_bigcode",
  "gpt_neo",
  "gpt_neox",
  "gptj",
  "granite",
  "granitemoe",
  "internlm2",
  "lfm2",
  "llama",
  "llama4",
  "minicpm",
  "minicpm3",
  "ministral",
  "mistral",
  "mixtral",
  "mpt",
  "nemotron",
  "olmo",
  "olmo2",
  "opt",
  "phi",
  "phi3",
  "qwen2",
  "qwen2_moe",
  "qwen3",
  "qwen3_moe",
  "qwen3_next",
  "smollm3",
  "stablelm",
  "starcoder2",
]);

/** `model_type`s of encoders whose configuration has something of a decoder's. */
const encoders = new Set(["modernbert", "eurobert", "new", "nomic_bert", "neobert"]);

/**
 * Whether a configuration is a language model's, by its `model_type`; of one that is not known, by what language models
 * alone have: heads of keys and values of their own, or a root-mean-square norm.
 */
export function isDecoder(config: {
  readonly model_type?: string | null | undefined;
  readonly num_key_value_heads?: unknown;
  readonly rms_norm_eps?: unknown;
}): boolean {
  const model = config.model_type ?? "";
  if (decoders.has(model)) return true;
  if (encoders.has(model)) return false;
  return typeof config.num_key_value_heads === "number" || typeof config.rms_norm_eps === "number";
}
