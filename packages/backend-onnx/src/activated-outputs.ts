import { type Activated, type Deed, type MakerOf, OutputTrace as Trace } from "@crossrank/backend-kit";
import type { AttributedNode, GraphFunction, GraphNodes } from "@crossrank/formats/onnx/read";
import type { GraphTensor } from "./graph-plan.js";

const deeds: ReadonlyMap<string, Deed> = new Map(
  Object.entries({
    sigmoid: ["Sigmoid", "com.microsoft.QLinearSigmoid"],
    "hard sigmoid": ["HardSigmoid"],
    softmax: ["Softmax", "com.microsoft.QLinearSoftmax"],
    "log-softmax": ["LogSoftmax"],
    softplus: ["Softplus"],
    tanh: ["Tanh"],
    reshape: [
      "Identity",
      "Cast",
      "CastLike",
      "Dropout",
      "Squeeze",
      "Unsqueeze",
      "Reshape",
      "Flatten",
      "Transpose",
      "Expand",
    ],
    choose: [
      "Slice",
      "Gather",
      "GatherElements",
      "GatherND",
      "Split",
      "Clip",
      "Round",
      "QuantizeLinear",
      "DequantizeLinear",
    ],
    largest: ["ReduceMax"],
    merge: ["Concat", "Where", "Max", "Min"],
    add: ["Add", "Sum"],
    subtract: ["Sub"],
    multiply: ["Mul"],
    divide: ["Div"],
    negate: ["Neg"],
    reciprocal: ["Reciprocal"],
    exponential: ["Exp"],
    logarithm: ["Log"],
    sum: ["ReduceSum"],
    "log-sum-exp": ["ReduceLogSumExp"],
    constant: ["Constant", "ConstantOfShape"],
  } satisfies Partial<Record<Deed, readonly string[]>>).flatMap(([deed, operators]) =>
    operators.map((operator) => [operator, deed as Deed]),
  ),
);

/** How the outputs of a graph come from its nodes, read backwards. */
export class OutputTrace extends Trace {
  constructor({ own, functions }: Pick<GraphNodes, "own" | "functions">) {
    super(makerOf(own, functions));
  }
}

function makerOf(nodes: readonly AttributedNode[], functions: GraphNodes["functions"]): MakerOf {
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
  const within = new Map<GraphFunction, MakerOf>();
  return (value) => {
    const node = makers.get(value);
    if (node === undefined) return undefined;
    const { operator, inputs: operands, outputs } = node;
    const called = functions.get(operator);
    if (called === undefined) return { does: deeds.get(operator) ?? "other", operands };
    const inner = within.get(called) ?? makerOf(called.nodes, functions);
    within.set(called, inner);
    const output = called.outputs[outputs.indexOf(value)] ?? "";
    return {
      does: deeds.get(operator) ?? "other",
      operands,
      calls: { makerOf: inner, output, inputs: called.inputs },
    };
  };
}

/** The outputs that hold the same logits, as they are. */
export function plainOutputs(
  activated: Activated,
  outputs: readonly GraphTensor[],
  trace: OutputTrace,
): readonly GraphTensor[] {
  return trace.plainOf(activated, outputs);
}
