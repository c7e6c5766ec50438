import type { Activated, AttributedNode, GraphNodes } from "@crossrank/formats/onnx";
import type { GraphTensor } from "./graph-plan.js";

const activations: Readonly<Record<string, Activated["by"]>> = {
  Sigmoid: "sigmoid",
  "com.microsoft.QLinearSigmoid": "sigmoid",
  HardSigmoid: "hard sigmoid",
  Softmax: "softmax",
  "com.microsoft.QLinearSoftmax": "softmax",
  LogSoftmax: "log-softmax",
  Tanh: "tanh",
};

/** What gives the numbers of its first input as they are, in another form. */
const reshaping = [
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
];
/** What gives some of them, or nearly them. */
const choosing = [
  "Slice",
  "Gather",
  "GatherElements",
  "GatherND",
  "Split",
  "ReduceMax",
  "Clip",
  "Round",
  "QuantizeLinear",
  "DequantizeLinear",
];
const merging = ["Concat", "Where", "Max", "Min"];
const scaling = ["Mul", "Div", "Add", "Sub", "Neg"];

/** Values that are followed for one output, and functions within each other. */
const mostValues = 256;
const deepestCall = 8;

/** How the outputs of a graph come from its nodes, read backwards. */
export class OutputTrace {
  readonly #makers: ReadonlyMap<string, AttributedNode>;
  readonly #functions: GraphNodes["functions"];
  readonly #depth: number;

  constructor({ own, functions }: Pick<GraphNodes, "own" | "functions">, depth = 0) {
    this.#makers = new Map(own.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
    this.#functions = functions;
    this.#depth = depth;
  }

  /** @returns undefined where the output is made by another operation than one of logits. */
  activationOf(output: string): Activated | undefined {
    const seen = new Set<string>();
    const open = [{ value: output, scaled: false, log: false }];
    while (open.length > 0 && seen.size < mostValues) {
      const { value, scaled, log } = open.pop() as (typeof open)[number];
      const maker = this.#makers.get(value);
      if (seen.has(value) || maker === undefined) continue;
      seen.add(value);
      const found = this.#activationBy(maker, value);
      if (found !== undefined) {
        const by = log && found.by === "softmax" ? "log-softmax" : found.by;
        const activated = { by, logits: found.logits, scaled: scaled || found.scaled };
        // Logits that are capped are tanh(logits / cap) · cap, and are logits.
        if (by === "tanh" && scaled) continue;
        return activated;
      }
      const { operator, inputs } = maker;
      const [first = ""] = inputs;
      if (reshaping.includes(operator) || choosing.includes(operator))
        open.push({ value: first, scaled, log });
      else if (operator === "Log") open.push({ value: first, scaled, log: true });
      else if (merging.includes(operator))
        open.push(...inputs.map((input) => ({ value: input, scaled, log })));
      else if (scaling.includes(operator)) {
        const computed = inputs.filter((input) => !this.#isConstant(input));
        if (computed.length === 1) open.push({ value: computed[0] as string, scaled: true, log });
      }
    }
    return undefined;
  }

  /** The tensor whose numbers these are, whatever their form. */
  originOf(value: string): string {
    let origin = value;
    for (let steps = 0; steps < mostValues; steps += 1) {
      const maker = this.#makers.get(origin);
      if (maker === undefined || !reshaping.includes(maker.operator)) break;
      origin = maker.inputs[0] ?? "";
    }
    return origin;
  }

  #activationBy(maker: AttributedNode, value: string): Activated | undefined {
    const { operator, inputs, outputs } = maker;
    const [first = "", second = ""] = inputs;
    const by = Object.hasOwn(activations, operator) ? activations[operator] : undefined;
    if (by !== undefined) return { by, logits: first, scaled: false };
    const called = this.#functions.get(operator);
    if (called !== undefined && this.#depth < deepestCall) {
      const inner = new OutputTrace({ own: called.nodes, functions: this.#functions }, this.#depth + 1);
      const found = inner.activationOf(called.outputs[outputs.indexOf(value)] ?? "");
      const place = found === undefined ? -1 : called.inputs.indexOf(inner.originOf(found.logits));
      return found === undefined ? undefined : { ...found, logits: inputs[place] ?? first };
    }
    // Written out: 1 / (1 + exp(-x)), exp(x) / Σ exp(x), and x - log Σ exp(x).
    if (operator === "Reciprocal" || operator === "Div") {
      const sum = this.#maker(operator === "Div" ? second : first);
      if (sum === undefined || !["Add", "Sum", "ReduceSum"].includes(sum.operator)) return undefined;
      const power = sum.inputs.map((input) => this.#maker(input)).find((node) => node?.operator === "Exp");
      if (power === undefined) return undefined;
      const exponent = power.inputs[0] ?? "";
      const negated = this.#maker(exponent);
      const isSigmoid = sum.operator !== "ReduceSum";
      const logits = isSigmoid && negated?.operator === "Neg" ? (negated.inputs[0] ?? "") : exponent;
      return { by: isSigmoid ? "sigmoid" : "softmax", logits, scaled: false };
    }
    if (operator === "Sub") {
      const logarithm = this.#maker(second);
      const sum = logarithm?.operator === "Log" ? this.#maker(logarithm.inputs[0] ?? "") : undefined;
      if (logarithm?.operator === "ReduceLogSumExp" || sum?.operator === "ReduceSum") {
        return { by: "log-softmax", logits: first, scaled: false };
      }
    }
    return undefined;
  }

  #maker(value: string): AttributedNode | undefined {
    return this.#makers.get(this.originOf(value));
  }

  #isConstant(value: string): boolean {
    const origin = this.originOf(value);
    const maker = this.#makers.get(origin);
    return maker === undefined || maker.operator === "Constant" || maker.operator === "ConstantOfShape";
  }
}

/** The outputs that hold the same logits, as they are. */
export function plainOutputs(
  { logits }: Activated,
  outputs: readonly GraphTensor[],
  trace: OutputTrace,
): readonly GraphTensor[] {
  const origin = trace.originOf(logits);
  return outputs.filter(({ name }) => trace.originOf(name) === origin);
}
