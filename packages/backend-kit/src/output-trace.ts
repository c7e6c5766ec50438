import type { Activated } from "./activated.js";

/** What an operation does to its operands, as far as outputs are traced. */
export type Deed =
  | Activated["by"]
  /** Gives its first operand's numbers as they are, in another form. */
  | "reshape"
  /** Gives some of its first operand's numbers, or nearly them. */
  | "choose"
  /** Gives the largest of its first operand's numbers. */
  | "largest"
  /** Gives numbers of all its operands. */
  | "merge"
  | "add"
  | "subtract"
  | "multiply"
  | "divide"
  | "negate"
  | "reciprocal"
  | "exponential"
  | "logarithm"
  /** Adds its first operand's numbers up. */
  | "sum"
  /** The logarithm of the sum of the exponentials. */
  | "log-sum-exp"
  | "constant"
  | "other";

/** An operation of a graph, whatever format the graph is in. */
export interface TracedOperation {
  readonly does: Deed;
  /** Values that it reads, in the order that its deed has; "" for a number that is written in place. */
  readonly operands: readonly string[];
  /** The function that it stands for, where it stands for one. */
  readonly calls?: CalledGraph | undefined;
}

export interface CalledGraph {
  readonly makerOf: MakerOf;
  /** The value within that is the one asked for. */
  readonly output: string;
  /** The values within that are the operands. */
  readonly inputs: readonly string[];
}

/** The operation that makes a value; undefined for inputs and constants that no operation makes. */
export type MakerOf = (value: string) => TracedOperation | undefined;

const activations: readonly Deed[] = [
  "sigmoid",
  "hard sigmoid",
  "softmax",
  "log-softmax",
  "softplus",
  "tanh",
];
const moving: readonly Deed[] = ["reshape", "choose", "largest"];
const scaling: readonly Deed[] = ["multiply", "divide", "add", "subtract", "negate"];
const shifting: readonly Deed[] = ["add", "subtract"];

/** Values that are followed for one output, and functions within each other. */
const mostValues = 256;
const deepestCall = 8;

/** A value on the way back from an output, and what was done between the two. */
interface Step {
  readonly value: string;
  readonly scaled: boolean;
  readonly shifted: boolean;
  readonly log: boolean;
}

/** How the outputs of a graph come from its operations, read backwards. */
export class OutputTrace {
  readonly #makerOf: MakerOf;
  readonly #depth: number;

  constructor(makerOf: MakerOf, depth = 0) {
    this.#makerOf = makerOf;
    this.#depth = depth;
  }

  /** @returns undefined where the output is made by another operation than one of logits. */
  activationOf(output: string): Activated | undefined {
    const seen = new Set<string>();
    const open: Step[] = [{ value: output, scaled: false, shifted: false, log: false }];
    while (open.length > 0 && seen.size < mostValues) {
      const step = open.pop() as Step;
      const maker = this.#makerOf(step.value);
      if (seen.has(step.value) || maker === undefined) continue;
      seen.add(step.value);
      const found = this.#activationBy(maker);
      if (found === undefined) {
        open.push(...this.#before(step, maker));
        continue;
      }
      // Logits that are capped are tanh(logits / cap) · cap, and are logits; (1 + tanh(logits / 2)) / 2 is a sigmoid.
      if (found.by === "tanh" && step.scaled && !step.shifted) continue;
      const by = step.log && found.by === "softmax" ? "log-softmax" : found.by;
      return { by, logits: found.logits, scaled: step.scaled || found.scaled };
    }
    return undefined;
  }

  /** The value whose numbers these are, whatever their form. */
  originOf(value: string): string {
    let origin = value;
    for (let steps = 0; steps < mostValues; steps += 1) {
      const maker = this.#makerOf(origin);
      if (maker?.does !== "reshape") break;
      origin = maker.operands[0] ?? "";
    }
    return origin;
  }

  /** Of outputs those that hold the same logits as they are, whatever their names. */
  plainOf<Output extends { readonly name: string }>(
    { logits }: Activated,
    outputs: readonly Output[],
    placeOf: (output: Output) => string = ({ name }) => name,
  ): readonly Output[] {
    const origin = this.originOf(logits);
    return outputs.filter((output) => {
      const value = placeOf(output);
      return this.originOf(value) === origin && this.activationOf(value) === undefined;
    });
  }

  #before(step: Step, { does, operands }: TracedOperation): readonly Step[] {
    const [first = ""] = operands;
    if (moving.includes(does)) return [{ ...step, value: first }];
    if (does === "logarithm") return [{ ...step, value: first, log: true }];
    if (does === "merge") return operands.map((value) => ({ ...step, value }));
    if (!scaling.includes(does)) return [];
    const computed = operands.filter((operand) => !this.#isConstant(operand));
    if (computed.length !== 1) return [];
    const shifted = step.shifted || shifting.includes(does);
    return computed.map((value) => ({ ...step, value, scaled: true, shifted }));
  }

  #activationBy({ does, operands, calls }: TracedOperation): Activated | undefined {
    const [first = "", second = ""] = operands;
    if (activations.includes(does)) return { by: does as Activated["by"], logits: first, scaled: false };
    if (calls !== undefined && this.#depth < deepestCall) {
      const inner = new OutputTrace(calls.makerOf, this.#depth + 1);
      const found = inner.activationOf(calls.output);
      if (found === undefined) return undefined;
      return { ...found, logits: operands[calls.inputs.indexOf(inner.originOf(found.logits))] ?? first };
    }
    // Written out: 1 / (1 + exp(-x)), exp(x) / Σ exp(x), x - log Σ exp(x), and log(1 + exp(x)).
    if (does === "reciprocal") return this.#quotient("", first);
    if (does === "divide") return this.#quotient(first, second);
    if (does === "subtract" && this.#isLogarithmOfSum(second)) {
      return { by: "log-softmax", logits: this.#belowLargest(first), scaled: false };
    }
    if (does === "logarithm") {
      const sum = this.#maker(first);
      const power = sum?.does === "add" ? this.#exponentialAmong(sum) : undefined;
      if (power !== undefined) return { by: "softplus", logits: power.operands[0] ?? "", scaled: false };
    }
    return undefined;
  }

  #quotient(numerator: string, denominator: string): Activated | undefined {
    const sum = this.#maker(denominator);
    if (sum?.does !== "add" && sum?.does !== "sum") return undefined;
    const power = this.#exponentialAmong(sum);
    if (power === undefined) return undefined;
    const exponent = power.operands[0] ?? "";
    if (sum.does === "sum") return { by: "softmax", logits: this.#belowLargest(exponent), scaled: false };
    // x / (1 + exp(-x)) is none.
    if (!this.#isConstant(numerator) && this.#maker(numerator)?.does !== "exponential") return undefined;
    const negated = this.#maker(exponent);
    const logits = negated?.does === "negate" ? (negated.operands[0] ?? "") : exponent;
    return { by: "sigmoid", logits, scaled: false };
  }

  #isLogarithmOfSum(value: string): boolean {
    const maker = this.#maker(value);
    if (maker?.does === "log-sum-exp") return true;
    return maker?.does === "logarithm" && this.#maker(maker.operands[0] ?? "")?.does === "sum";
  }

  /** `x` of `x - max(x)`, which is taken off so that no exponential is too large. */
  #belowLargest(value: string): string {
    const maker = this.#maker(value);
    const [first = value, second = ""] = maker?.operands ?? [];
    return maker?.does === "subtract" && this.#maker(second)?.does === "largest" ? first : value;
  }

  #exponentialAmong({ operands }: TracedOperation): TracedOperation | undefined {
    return operands.map((operand) => this.#maker(operand)).find((maker) => maker?.does === "exponential");
  }

  #maker(value: string): TracedOperation | undefined {
    return this.#makerOf(this.originOf(value));
  }

  #isConstant(value: string): boolean {
    const maker = this.#maker(value);
    return maker === undefined || maker.does === "constant";
  }
}
