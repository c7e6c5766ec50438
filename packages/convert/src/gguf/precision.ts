import { type FileTensor, layouts, type TensorType } from "@crossrank/formats/gguf";
import type { ModelDescription } from "../source/description.js";
import { type GgufPlan, type PlannedTensor, refusal } from "./plan.js";

interface Precision {
  /** llama.cpp's `llama_ftype`. */
  readonly fileType: number;
  /** Of most tensors. */
  readonly type: TensorType;
  /** Whether it is a mixture of llama.cpp's quantiser, with a fallback type for rows of no whole blocks. */
  readonly mixed?: boolean;
}

/** A file's precision. */
export type GgufDtype = "F32" | "F16" | "Q8_0" | "Q6_K" | "Q5_K_M" | "Q5_K_S" | "Q4_K_M" | "Q4_K_S" | "Q4_0";

/** Most precise first; names and numbers as llama.cpp's quantiser has them. */
const precisions: Readonly<Record<GgufDtype, Precision>> = {
  F32: { fileType: 0, type: "F32" },
  F16: { fileType: 1, type: "F16" },
  Q8_0: { fileType: 7, type: "Q8_0" },
  Q6_K: { fileType: 18, type: "Q6_K", mixed: true },
  Q5_K_M: { fileType: 17, type: "Q5_K", mixed: true },
  Q5_K_S: { fileType: 16, type: "Q5_K", mixed: true },
  Q4_K_M: { fileType: 15, type: "Q4_K", mixed: true },
  Q4_K_S: { fileType: 14, type: "Q4_K", mixed: true },
  Q4_0: { fileType: 2, type: "Q4_0" },
};

export function isGgufDtype(name: string): name is GgufDtype {
  return Object.hasOwn(precisions, name);
}

export function fileTypeOf(dtype: GgufDtype): number {
  return precisions[dtype].fileType;
}

export interface StoredTensors {
  readonly tensors: readonly FileTensor[];
  /** Names of those whose rows are no whole blocks of any type, and which are F16. */
  readonly kept: readonly string[];
}

/**
 * The plan's tensors as the file holds them.
 *
 * A file is known by the type of most of its layers' weights. One whose rows mostly do not fit the blocks would be an
 * F16 file under another name.
 *
 * @throws {UnsupportedConversionError} for a precision that most of the layers' weights cannot have.
 */
export function storedTensors(
  description: ModelDescription,
  plan: GgufPlan,
  dtype: GgufDtype,
): StoredTensors {
  const facts = factsOf(plan);
  const tensors = plan.tensors.map(
    (tensor): FileTensor => ({
      name: tensor.name,
      type: typeOf(tensor, dtype, facts),
      weight: tensor.weight,
    }),
  );
  const matrices = tensors.filter(
    ({ type }, index) => plan.tensors[index]?.role !== "exact" && type !== "F32",
  );
  const kept = dtype === "F16" ? [] : matrices.filter(({ type }) => type === "F16");
  const inLayers = matrices.filter(({ name }) => name.startsWith("blk."));
  const counted = inLayers.length > 0 ? inLayers : matrices;
  const keptWeights = weightsOf(counted.filter((tensor) => kept.includes(tensor)));
  if (keptWeights > 0 && 2 * keptWeights >= weightsOf(counted)) {
    const widths = [...new Set(kept.map(({ weight }) => weight.shape[1] ?? 0))].sort((a, b) => a - b);
    const { block } = layouts[fallbacks[precisions[dtype].type] ?? precisions[dtype].type];
    throw refusal(
      description,
      `${dtype} holds numbers in blocks of ${block}, and rows of ${widths.join(" and of ")} are no multiple of ${block}: ` +
        "most weights of the file would be F16",
      "Take F16",
    );
  }
  return { tensors, kept: kept.map(({ name }) => name) };
}

function weightsOf(tensors: readonly FileTensor[]): number {
  return tensors.reduce(
    (sum, { weight }) => sum + weight.shape.reduce((product, size) => product * size, 1),
    0,
  );
}

interface PlanFacts {
  readonly layers: number;
  readonly architecture: GgufPlan["architecture"];
  /** Whether the vocabulary's projection is a tensor of its own. */
  readonly hasOutput: boolean;
}

function factsOf({ tensors, architecture }: GgufPlan): PlanFacts {
  const layers = new Set(tensors.map(({ name }) => layerOf(name)));
  layers.delete(undefined);
  return {
    layers: layers.size,
    architecture,
    hasOutput: tensors.some(({ name }) => name === "output.weight"),
  };
}

/** `"blk.3.attn_v.weight"` → 3. */
function layerOf(name: string): number | undefined {
  const [, layer] = /^blk\.(\d+)\./.exec(name) ?? [];
  return layer === undefined ? undefined : Number(layer);
}

/** What a row takes that is no multiple of 256 (`tensor_type_fallback` in llama.cpp's llama-quant.cpp). */
const fallbacks: Readonly<Partial<Record<TensorType, TensorType>>> = {
  Q6_K: "Q8_0",
  Q5_K: "Q5_1",
  Q4_K: "Q5_0",
};

/**
 * As llama.cpp's quantiser: what has one dimension, positions and segments stay F32, a row that fills no blocks takes the
 * fallback type, and one that is no multiple of 32 F16. Unlike it, the head stays F32, and Q4_0 holds its tables as Q8_0.
 */
function typeOf({ name, role, weight }: PlannedTensor, dtype: GgufDtype, facts: PlanFacts): TensorType {
  if (role === "exact" || weight.shape.length < 2) return "F32";
  const width = weight.shape[1] ?? 0;
  const fits = (type: TensorType): boolean => width % layouts[type].block === 0;
  const { type, mixed = false } = precisions[dtype];
  let wanted: TensorType = type;
  if (mixed) wanted = mixedType(name, role, dtype, fits(type), facts);
  else if (role === "table" && dtype === "Q4_0") wanted = "Q8_0";
  if (fits(wanted)) return wanted;
  const fallback = fallbacks[wanted];
  return fallback !== undefined && fits(fallback) ? fallback : "F16";
}

/** The mixtures of llama.cpp's `llama_tensor_get_type_impl`, for the architectures that are written. */
function mixedType(
  name: string,
  role: PlannedTensor["role"],
  dtype: GgufDtype,
  fits: boolean,
  { layers, architecture, hasOutput }: PlanFacts,
): TensorType {
  const { type } = precisions[dtype];
  // Embeddings that are the projection, too, have its type; an encoder's are taken for such.
  if (name === "output.weight" || (role === "table" && !hasOutput)) return fits ? "Q6_K" : "Q8_0";
  const layer = layerOf(name);
  if (layer === undefined) return type;
  const isMedium = dtype === "Q4_K_M" || dtype === "Q5_K_M";
  if (/\.attn_(?:v|qkv)\.weight$/.test(name)) {
    if (isMedium && takesMoreBits(layer, layers)) return "Q6_K";
    if (dtype === "Q4_K_S" && layer < 4) return "Q5_K";
    // llama.cpp's "70B", which has few heads for keys and values: their weights are small.
    if (type === "Q4_K" && architecture === "qwen2" && layers === 80) return "Q5_K";
    return type;
  }
  if (name.endsWith(".ffn_down.weight")) {
    if (isMedium && takesMoreBits(layer, layers)) return "Q6_K";
    if (dtype === "Q4_K_S" && layer < Math.floor(layers / 8)) return "Q5_K";
  }
  return type;
}

/** The first eighth of the layers, the last, and every third between. */
function takesMoreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
}
