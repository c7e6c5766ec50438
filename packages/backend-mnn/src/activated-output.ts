import { type Activated, type Deed, type MakerOf, OutputTrace } from "@crossrank/backend-kit";
import { kinds, type MnnGraph, type MnnOperator } from "./operators.js";

const deeds: ReadonlyMap<number, Deed> = new Map<number, Deed>([
  [kinds.sigmoid, "sigmoid"],
  [kinds.softmax, "softmax"],
  [kinds.tanh, "tanh"],
  [kinds.cast, "reshape"],
  [kinds.flatten, "reshape"],
  [kinds.permute, "reshape"],
  [kinds.reshape, "reshape"],
  [kinds.squeeze, "reshape"],
  [kinds.unsqueeze, "reshape"],
  [kinds.broadcast, "reshape"],
  [kinds.convert, "reshape"],
  [kinds.identity, "reshape"],
  [kinds.gather, "choose"],
  [kinds.slice, "choose"],
  [kinds.sliceTf, "choose"],
  [kinds.stridedSlice, "choose"],
  [kinds.relu6, "choose"],
  [kinds.concat, "merge"],
  [kinds.select, "merge"],
  [kinds.constant, "constant"],
]);

/** By the numbers of `enum UnaryOpOperation`, `BinaryOpOperation` and `ReductionType`. */
const operations: ReadonlyMap<number, ReadonlyMap<number, Deed>> = new Map([
  [
    kinds.unary,
    new Map<number, Deed>([
      [1, "negate"],
      [7, "exponential"],
      [8, "logarithm"],
      [15, "reciprocal"],
      [23, "choose"],
      [29, "sigmoid"],
      [30, "tanh"],
    ]),
  ],
  [
    kinds.binary,
    new Map<number, Deed>([
      [0, "add"],
      [1, "subtract"],
      [2, "multiply"],
      [3, "divide"],
      [7, "divide"],
      [4, "merge"],
      [5, "merge"],
      [8, "merge"],
      [9, "merge"],
    ]),
  ],
  [
    kinds.reduction,
    new Map<number, Deed>([
      [0, "sum"],
      [4, "largest"],
    ]),
  ],
]);

/** How the outputs of a .mnn file come from its operators, read backwards. */
export class GraphTrace {
  readonly #tensors: readonly string[];
  readonly #trace: OutputTrace;

  constructor(graph: MnnGraph) {
    this.#tensors = graph.tensors;
    this.#trace = new OutputTrace(makerOf(graph));
  }

  /** @returns undefined where the output is made by another operation than one of logits. */
  activationOf(output: string): Activated | undefined {
    for (const value of this.#valuesOf(output)) {
      const found = this.#trace.activationOf(value);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** The first output that holds the same logits as they are, whatever its name. */
  plainOf<Output extends { readonly name: string }>(
    activated: Activated,
    outputs: readonly Output[],
  ): Output | undefined {
    return this.#trace.plainOf(activated, outputs, ({ name }) => this.#valuesOf(name)[0] ?? "")[0];
  }

  /** Activated, with its logits by their name. */
  named(activated: Activated): Activated {
    return { ...activated, logits: this.#tensors[Number(activated.logits)] ?? activated.logits };
  }

  /** Tensors are told by their places: two may have one name. */
  #valuesOf(name: string): readonly string[] {
    return this.#tensors.flatMap((tensor, place) => (tensor === name ? [String(place)] : []));
  }
}

function makerOf({ operators }: MnnGraph): MakerOf {
  const makers = new Map(
    operators.flatMap((operator) => operator.outputs.map((place) => [String(place), operator] as const)),
  );
  return (value) => {
    const maker = makers.get(value);
    return maker === undefined ? undefined : { does: deedOf(maker), operands: maker.inputs.map(String) };
  };
}

function deedOf({ kind, operation, bounds }: MnnOperator): Deed {
  // As MNN's converter writes a hard sigmoid out: a scale, a shift, and these bounds.
  if (bounds !== undefined && bounds[0] === 0 && bounds[1] === 1) return "hard sigmoid";
  return (operations.get(kind) ?? deeds).get(operations.has(kind) ? operation : kind) ?? "other";
}
