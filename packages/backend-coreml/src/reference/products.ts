import { computing, type Rules } from "./rule.js";
import type { Call } from "./translation.js";

function linear(call: Call): string {
  const weight = call.node("Transpose", [call.tensor("weight")], { perm: { integers: [1, 0] } });
  const product = call.node("MatMul", [call.tensor("x"), weight]);
  const bias = call.optionalTensor("bias");
  return bias === undefined ? product : call.node("Add", [product, bias]);
}

function matmul(call: Call): string {
  const operand = (name: "x" | "y"): string => {
    const tensor = call.tensor(name);
    if (!call.boolean(`transpose_${name}`, false)) return tensor;
    const rank = call.rankOf(name);
    if (rank < 2) throw call.refusal(`${name} has ${rank} dimensions, and cannot be transposed`);
    return call.node("Transpose", [tensor], { perm: { integers: swappedEnd(rank) } });
  };
  return call.node("MatMul", [operand("x"), operand("y")]);
}

function swappedEnd(rank: number): readonly number[] {
  const order = Array.from({ length: rank }, (_, axis) => axis);
  return [...order.slice(0, -2), rank - 1, rank - 2];
}

/** Two operands, each letter once in each, as MIL's einsum has it. */
function einsum(call: Call): string {
  const equation = call.text("equation").replaceAll(" ", "");
  if (!/^[a-zA-Z]+,[a-zA-Z]+->[a-zA-Z]+$/.test(equation)) {
    throw call.refusal(`equation "${equation}" is not covered`);
  }
  return call.node("Einsum", call.tensors("values"), { equation: { text: equation } });
}

function conv(call: Call): string {
  const spatial = call.rankOf("x") - 2;
  const ones = new Array<number>(spatial).fill(1);
  const padType = call.text("pad_type", "valid");
  // (before, after) of each axis, where ONNX has all befores and then all afters.
  const pad = call.numbers("pad", new Array<number>(2 * spatial).fill(0));
  if (padType !== "valid" && padType !== "custom") throw call.refusal(`pad_type "${padType}" is not covered`);
  const pads = [0, 1].flatMap((side) =>
    ones.map((_, axis) => (padType === "custom" ? (pad[2 * axis + side] ?? 0) : 0)),
  );
  const bias = call.optionalTensor("bias");
  return call.node("Conv", [call.tensor("x"), call.tensor("weight"), ...(bias === undefined ? [] : [bias])], {
    strides: { integers: call.numbers("strides", ones) },
    dilations: { integers: call.numbers("dilations", ones) },
    pads: { integers: pads },
    group: { integer: call.number("groups", 1) },
  });
}

/** softmax(q kᵀ / √width + mask) v, as one operation: nothing in between is rounded. */
function attention(call: Call): string {
  const width = call.typeOf("query").dimensions.at(-1);
  if (width === undefined) throw call.refusal("a query of no fixed width is not covered");
  const keys = call.node("Transpose", [call.tensor("key")], {
    perm: { integers: swappedEnd(call.rankOf("key")) },
  });
  const product = call.node("MatMul", [call.tensor("query"), keys]);
  const scaled = call.node("Mul", [product, call.float(1 / Math.sqrt(width))]);
  const scores = call.has("attn_mask") ? call.node("Add", [scaled, additiveMask(call)]) : scaled;
  return call.node("MatMul", [softmaxOf(call, scores, -1), call.tensor("value")]);
}

function additiveMask(call: Call): string {
  const mask = call.tensor("attn_mask");
  if (call.typeOf("attn_mask").element !== "bool") return mask;
  return call.node("Where", [mask, call.float(0), call.float(Number.NEGATIVE_INFINITY)]);
}

const softmaxOf = (call: Call, x: string, axis: number): string =>
  call.node("Softmax", [x], { axis: { integer: axis } });

function layerNorm(call: Call): string {
  const rank = call.rankOf("x");
  const axes = call.numbers("axes").map((axis) => call.axis(axis, rank));
  if (axes.some((axis, index) => index > 0 && axis !== (axes[index - 1] as number) + 1)) {
    throw call.refusal(`axes ${axes.join(", ")} are not covered`);
  }
  const x = call.tensor("x");
  // coremltools' own default.
  const epsilon = call.number("epsilon", 1e-5);
  const gamma = call.optionalTensor("gamma");
  const beta = call.optionalTensor("beta");
  if (axes.at(-1) === rank - 1 && gamma !== undefined) {
    const attributes = { axis: { integer: axes[0] as number }, epsilon: { float: epsilon } };
    return call.node("LayerNormalization", [x, gamma, ...(beta === undefined ? [] : [beta])], attributes);
  }
  const over = call.graph.integers(axes);
  const centred = call.node("Sub", [x, call.node("ReduceMean", [x, over])]);
  const variance = call.node("ReduceMean", [call.node("Mul", [centred, centred]), over]);
  const deviation = call.node("Sqrt", [call.node("Add", [variance, call.float(epsilon)])]);
  const normal = call.node("Div", [centred, deviation]);
  // A vector over the axes, against what follows them.
  const following = Array.from(
    { length: rank - 1 - (axes.at(-1) as number) },
    (_, place) => place + axes.length,
  );
  const along = (vector: string): string =>
    following.length === 0 ? vector : call.node("Unsqueeze", [vector, call.graph.integers(following)]);
  const scaled = gamma === undefined ? normal : call.node("Mul", [normal, along(gamma)]);
  return beta === undefined ? scaled : call.node("Add", [scaled, along(beta)]);
}

function batchNorm(call: Call): string {
  const inputs = ["x", "gamma", "beta", "mean", "variance"].map((argument) => call.tensor(argument));
  return call.node("BatchNormalization", inputs, { epsilon: { float: call.number("epsilon", 1e-5) } });
}

const reduction =
  (kind: string) =>
  (call: Call): string => {
    const { element } = call.output.type;
    if (element !== "fp16" && element !== "fp32")
      throw call.refusal(`computing in ${element} is not covered`);
    const axes = call.has("axes") ? [call.int64("axes")] : [];
    const keepdims = { integer: call.boolean("keep_dims", false) ? 1 : 0 };
    return call.node(kind, [call.tensor("x"), ...axes], { keepdims });
  };

export const products: Rules = {
  linear: computing(linear),
  matmul: computing(matmul),
  einsum: computing(einsum),
  conv: computing(conv),
  scaled_dot_product_attention: computing(attention),
  softmax: computing((call) => softmaxOf(call, call.tensor("x"), call.number("axis", -1))),
  layer_norm: computing(layerNorm),
  batch_norm: computing(batchNorm),
  reduce_mean: computing(reduction("ReduceMean")),
  reduce_sum: computing(reduction("ReduceSum")),
  reduce_sum_square: computing(reduction("ReduceSumSquare")),
  reduce_l2_norm: computing(reduction("ReduceL2")),
  reduce_max: computing(reduction("ReduceMax")),
};
