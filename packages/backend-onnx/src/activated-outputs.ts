import type { Problem } from "@crossrank/backend-kit";
import type { Head, LoadRequest } from "@crossrank/core";
import type { AttributedNode, GraphNodes } from "@crossrank/formats/onnx";
import type { GraphTensor } from "./graph-plan.js";

/** What a graph does to its logits before it gives them out. */
export interface Activated {
  readonly by: "sigmoid" | "hard sigmoid" | "softmax" | "log-softmax" | "tanh";
  /** The tensor of the graph that holds the logits. */
  readonly logits: string;
  /** Whether it was scaled or shifted after that. */
  readonly scaled: boolean;
}

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

/** Whether a head reads the output as it is meant, although something was done to the logits. */
export function isRead(activated: Activated, head: Head, statesIdentity: boolean): boolean {
  const { by, scaled } = activated;
  switch (head.kind) {
    case "logit":
      return statesIdentity;
    case "pooled-chain": {
      const last = head.modules.at(-1);
      return statesIdentity || (last?.kind === "dense" && last.activation === by && !scaled);
    }
    case "two-class":
    case "class":
      // What was taken off all of them does not change the difference.
      return by === "log-softmax" && !scaled;
    case "answer-tokens":
      return by === "log-softmax" && !scaled && head.negative !== undefined;
    default:
      return true;
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

/** What to say of an output that is no logit. */
export function activatedProblem(output: string, { by, logits, scaled }: Activated, head: Head): Problem {
  const asItIs =
    head.kind === "logit"
      ? '. Where that output is the score that is wanted, say so in a crossrank.json beside the model: "activation": "identity"'
      : "";
  const named = JSON.stringify(printable(logits));
  return {
    problem:
      `its output ${JSON.stringify(printable(output))} is the ${by} of the logits${scaled ? ", scaled" : ""}, and the ` +
      `model's score is computed from the logits themselves, which the graph has as ${named}`,
    fix:
      `Export the graph with its tensor ${named} as the output "logits", or convert the model's weights with ` +
      `\`crossrank convert --to onnx\`${asItIs}`,
  };
}

/**
 * Whether it is said of this model that its output is its score. An activation that sentence-transformers' own files name
 * is one of the logits, and says nothing of a graph.
 */
export async function statesIdentity({
  files,
  profile,
  signal,
}: Pick<LoadRequest, "files" | "profile" | "signal">): Promise<boolean> {
  if (profile.activation !== "identity") return false;
  const listed = (await files.list({ signal })).map(({ path }) => path);
  const read = async (path: string): Promise<string> =>
    listed.includes(path) ? files.readText(path, { signal }) : "";
  if (/"activation"\s*:\s*"identity"/.test(await read("crossrank.json"))) return true;
  const named = await Promise.all(["config.json", "config_sentence_transformers.json"].map(read));
  return !named.some((text) => /activation_f[\w]*"\s*:\s*"[\w.]*Identity"/.test(text));
}

/** A name of a stranger's file, fit for a message. */
function printable(name: string): string {
  return name.replace(/[^\x20-\x7e]/g, "?").slice(0, 80);
}
