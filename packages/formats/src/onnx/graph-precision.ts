import type { GraphSummary, GraphTensorFacts } from "./read-graph.js";

/** What a graph computes in, by its operators and weights. */
export interface GraphPrecision {
  /** fp32, fp16, bf16, fp64, int8, uint8, fp8, q4, q4f16, bnb4 …: numbers in the name are bits of the weights. */
  readonly dtype: string;
  /**
   * What is quantised: nothing; weights, and activations by a scale that is chosen at run time (`dynamic`) or written in
   * the file (`static`); or weights alone.
   */
  readonly scheme: "none" | "dynamic" | "static" | "weights";
  /** How, as a clause for people; undefined where nothing is quantised. */
  readonly how: string | undefined;
  /**
   * One scale is chosen for a whole tensor of activations at run time, so that a row is rounded by what else is in its
   * batch. https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html, and ONNX Runtime's docs/ContribOperators.md.
   */
  readonly quantisesPerBatch: boolean;
  /** Operators that compute something else than their name in the source says, only nearly: `FastGelu`. */
  readonly approximations: readonly string[];
}

const microsoft = "com.microsoft.";

/**
 * Operators that choose a scale at run time. Those that take one as an input (QLinearMatMul, QAttention) are fed by one
 * of these, or by a fixed scale, which leaves rows independent.
 */
const perBatch = ["DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"];
const approximating = ["FastGelu", "QuickGelu"];

/** Which input of an operator is the quantised weight. */
const weightInput: Readonly<Record<string, number>> = {
  MatMulInteger: 1,
  ConvInteger: 1,
  MatMulIntegerToFloat: 1,
  DynamicQuantizeMatMul: 1,
  QAttention: 1,
  QGemm: 3,
  QLinearMatMul: 3,
  QLinearConv: 3,
  DequantizeLinear: 0,
};

const floats: Readonly<Record<string, string>> = {
  float32: "fp32",
  float16: "fp16",
  bfloat16: "bf16",
  float64: "fp64",
};

/** Of weights in blocks whose node does not say it: ONNX Runtime's docs/ContribOperators.md. */
const defaultBits = 4;

export function precisionOf(summary: GraphSummary): GraphPrecision {
  const { operators, tensors } = summary;
  const has = (name: string): boolean => operators.has(name) || operators.has(microsoft + name);
  const quantisesPerBatch = perBatch.some(has);
  const approximations = approximating.filter(has);
  const common = { quantisesPerBatch, approximations };
  const float = mostOf(tensors.values(), floats) ?? "fp32";

  const blocks = blocksOf(summary);
  const weights = weightsOf(summary);
  if (quantisesPerBatch || has("MatMulInteger") || has("ConvInteger")) {
    const dtype = weights.dtype ?? "int8";
    return { ...common, dtype, scheme: "dynamic", how: `dynamic: weights ${dtype}, activations at run time` };
  }
  if (blocks !== undefined) {
    const { bits, name, block } = blocks;
    const dtype = name ?? `q${bits}${(blocks.scales ?? float) === "fp16" ? "f16" : ""}`;
    const size = block === undefined ? "" : ` in blocks of ${block}`;
    return { ...common, dtype, scheme: "weights", how: `weights alone: ${bits} bits${size}` };
  }
  const isStatic =
    [...operators.keys()].some((name) => name.replace(microsoft, "").startsWith("QLinear")) ||
    summary.quantising.some(
      ({ operator, inputs: [input = ""] }) =>
        operator.replace(microsoft, "") === "QuantizeLinear" && !tensors.has(input),
    );
  if (isStatic) {
    const dtype = weights.dtype ?? "int8";
    const form = has("QuantizeLinear") && weights.fromDequantize ? "QDQ" : "QOperator";
    return {
      ...common,
      dtype,
      scheme: "static",
      how: `static (${form}): weights ${dtype}, activations by fixed scales`,
    };
  }
  if (weights.dtype !== undefined) {
    return { ...common, dtype: weights.dtype, scheme: "weights", how: `weights alone: ${weights.dtype}` };
  }
  return { ...common, dtype: float, scheme: "none", how: undefined };
}

/** Weights in blocks, the fewest bits of all; undefined where there are none. */
function blocksOf({ quantising, tensors }: GraphSummary):
  | {
      readonly bits: number;
      readonly block: number | undefined;
      /** The usual name, where it is not made of the bits. */
      readonly name: string | undefined;
      readonly scales: string | undefined;
    }
  | undefined {
  const found = quantising.flatMap(({ operator, inputs, integers }) => {
    const name = operator.replace(microsoft, "");
    const block = integers.get("block_size");
    const scales = floats[tensors.get(inputs[name === "DequantizeLinear" ? 1 : 2] ?? "")?.type ?? ""];
    if (name === "MatMulBnb4" || name === "MatMulFpQ4") {
      return [{ bits: 4, block, name: name === "MatMulBnb4" ? "bnb4" : undefined, scales }];
    }
    if (name === "MatMulNBits" || name === "GatherBlockQuantized" || name === "QMoE") {
      const bits = integers.get(name === "QMoE" ? "expert_weight_bits" : "bits") ?? defaultBits;
      return [{ bits, block, name: undefined, scales }];
    }
    if (name !== "DequantizeLinear") return [];
    const bits = /^u?int([24])$/.exec(tensors.get(inputs[0] ?? "")?.type ?? "")?.[1];
    return bits === undefined ? [] : [{ bits: Number(bits), block, name: undefined, scales }];
  });
  return found.sort((a, b) => a.bits - b.bits)[0];
}

/** The type of what is quantised in 8 bits or floats of 8 bits, by bytes; undefined where nothing is. */
function weightsOf({ quantising, tensors }: GraphSummary): {
  readonly dtype: string | undefined;
  readonly fromDequantize: boolean;
} {
  const used: GraphTensorFacts[] = [];
  let fromDequantize = false;
  for (const { operator, inputs } of quantising) {
    const name = operator.replace(microsoft, "");
    const facts = tensors.get(inputs[weightInput[name] ?? -1] ?? "");
    if (facts === undefined) continue;
    used.push(facts);
    fromDequantize ||= name === "DequantizeLinear";
  }
  const eight = { int8: "int8", uint8: "uint8", ...float8 };
  const dtype = mostOf(used, eight);
  if (dtype !== undefined) return { dtype, fromDequantize };
  // Weights that are cast and multiplied by their scales, without any operator for it.
  const all = mostOf(tensors.values(), { ...floats, ...eight });
  return { dtype: all !== undefined && Object.values(eight).includes(all) ? all : undefined, fromDequantize };
}

const float8: Readonly<Record<string, string>> = {
  float8e4m3fn: "fp8",
  float8e4m3fnuz: "fp8",
  float8e5m2: "fp8",
  float8e5m2fnuz: "fp8",
};

/** The name of the type that has the most numbers; undefined where none is among `names`. */
function mostOf(
  tensors: Iterable<GraphTensorFacts>,
  names: Readonly<Record<string, string>>,
): string | undefined {
  const counts = new Map<string, number>();
  for (const { type, dimensions } of tensors) {
    const name = Object.hasOwn(names, type) ? names[type] : undefined;
    if (name === undefined) continue;
    const count = dimensions.reduce((product, size) => product * size, 1);
    counts.set(name, (counts.get(name) ?? 0) + count);
  }
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}
