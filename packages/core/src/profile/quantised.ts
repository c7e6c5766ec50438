// By what weights show that another program quantised them: config.json, the names of tensors, their types.

/** What other programs call their way of quantising, in `quantization_config` of config.json. */
const quantisers: Readonly<Record<string, string>> = {
  aqlm: "AQLM",
  awq: "AWQ",
  bitsandbytes: "bitsandbytes",
  "compressed-tensors": "compressed-tensors (FP8 and its kind)",
  eetq: "EETQ",
  exl2: "ExLlamaV2",
  exl3: "ExLlamaV3",
  fbgemm_fp8: "FBGEMM (FP8)",
  fp8: "FP8",
  gptq: "GPTQ",
  hqq: "HQQ",
  modelopt: "ModelOpt",
  mxfp4: "MXFP4",
  quanto: "Quanto",
  torchao: "torchao",
};

/** Names that a program gives what it stores beside, or in place of, a layer's weight. The first that is found counts. */
const storedNames: readonly (readonly [RegExp, string])[] = [
  [/\.(?:absmax|quant_map|nested_absmax|nested_quant_map|SCB)$|\.quant_state\.[^.]+$/, "bitsandbytes"],
  [/\.weight_scale_inv$/, "FP8"],
  [/\.(?:weight_packed|weight_scale|weight_zero_point|weight_shape|weight_g_idx)$/, "compressed-tensors"],
  [/\.(?:q_weight|q_scale|q_scale_max|q_group_size|q_invperm|trellis)$/, "ExLlama"],
  [/\.weight\._(?:data|scale|shift)$/, "Quanto"],
  [/\.g_idx$/, "GPTQ"],
  [/\.(?:qweight|qzeros)$/, "GPTQ or AWQ"],
  [/\.(?:W_q|W_q_packed)$/, "HQQ"],
];

/** What numbers of safetensors' types are that are no floats to compute with. */
const numbers: Readonly<Record<string, string>> = {
  F8_E4M3: "8-bit floats",
  F8_E5M2: "8-bit floats",
  F8_E8M0: "8-bit floats",
  F8_E4M3FNUZ: "8-bit floats",
  F8_E5M2FNUZ: "8-bit floats",
  F6_E2M3: "6-bit floats",
  F6_E3M2: "6-bit floats",
  F4: "4-bit floats",
  I8: "8-bit integers",
  U8: "8-bit integers",
  I16: "16-bit integers",
  U16: "16-bit integers",
  I32: "32-bit integers",
  U32: "32-bit integers",
};

/** Counters and places, which have no part in what a model computes. */
const usualHarmless = /(?:^|\.)(?:position_ids|token_type_ids|num_batches_tracked)$/;

/** Files that a program writes beside config.json, and the `quant_method` that they leave out. */
export const quantiserFiles: readonly (readonly [path: string, method: string])[] = [
  ["quantize_config.json", "gptq"],
  ["quant_config.json", "awq"],
];

/** The program that quantised a model's safetensors, by config.json; undefined where it says nothing. */
export function quantiserOf(config: Readonly<Record<string, unknown>>): string | undefined {
  const settings = [config["quantization_config"], config["compression_config"]].find(isObject);
  const method = settings?.["quant_method"];
  if (typeof method === "string")
    return Object.hasOwn(quantisers, method) ? quantisers[method] : shown(method);
  // MLX writes its settings under both names, and no method.
  const mlx = config["quantization"];
  if (isObject(mlx) && "bits" in mlx) {
    // Others are packed in a way that only mlx-lm itself reads.
    const isAffine = mlx["mode"] === undefined || mlx["mode"] === "affine";
    return `MLX, to ${shown(mlx["bits"])} bits${isAffine ? " (run them as they are with the backend mlx)" : ""}`;
  }
  return settings === undefined ? undefined : "another program (quantization_config of config.json)";
}

/** A tensor that shows that weights are quantised. */
export interface QuantisedTensor {
  readonly tensor: string;
  /** The program, by the tensor's name: `"GPTQ or AWQ"`, whose names are alike. Undefined where its type alone shows it. */
  readonly program?: string;
  /** What its numbers are, where its type shows it: `"8-bit floats"`. */
  readonly numbers?: string;
}

/**
 * Looks for what shows that another program quantised them; undefined where they are floats.
 *
 * @param tensors names, each with its type in safetensors (`"F8_E4M3"`).
 * @param harmless names of tensors that have no part in the model, whatever their type.
 */
export function quantisedTensorAmong(
  tensors: ReadonlyMap<string, string>,
  harmless: RegExp = usualHarmless,
): QuantisedTensor | undefined {
  for (const [pattern, program] of storedNames) {
    const tensor = [...tensors.keys()].find((name) => pattern.test(name));
    if (tensor !== undefined) return { tensor, program };
  }
  for (const [tensor, type] of tensors) {
    const what = Object.hasOwn(numbers, type) ? numbers[type] : undefined;
    if (what !== undefined && !harmless.test(tensor)) return { tensor, numbers: what };
  }
  return undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Of the file's own words, no more than a message can hold. */
function shown(value: unknown): string {
  const isPlain = typeof value === "number" || typeof value === "boolean" || typeof value === "string";
  const text = (isPlain ? `${value}` : "").slice(0, 200).replace(/[^\x20-\x7e]+/g, "?");
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
