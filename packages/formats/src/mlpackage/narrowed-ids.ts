import { bodyOf } from "./default-function.js";
import type { Binding, Block, ElementType, FunctionDefinition, Operation } from "./program.js";

/** Where numbers that look up a table pass through an integer type that cannot hold all of its rows' numbers. */
export interface NarrowedIds {
  /** The function's input that the numbers come from, e.g. `"input_ids"`. */
  readonly input: string;
  /** Type of the operation that narrows them, e.g. `"cast"`. */
  readonly operation: string;
  /** Name of what that operation gives. */
  readonly value: string;
  readonly element: ElementType;
  /** The largest number that the type holds. */
  readonly largest: number;
  /** Rows of the longest table that the input's numbers look up. */
  readonly rows: number;
}

/** The largest number of each integer type of 16 bits or less. */
const largestOf: Readonly<Partial<Record<ElementType, number>>> = {
  uint1: 1,
  uint2: 3,
  uint3: 7,
  int4: 7,
  uint4: 15,
  uint6: 63,
  int8: 127,
  uint8: 255,
  int16: 32_767,
  uint16: 65_535,
};

const wholeNumbers: ReadonlySet<ElementType> = new Set([
  ...(Object.keys(largestOf) as ElementType[]),
  "int32",
  "uint32",
  "int64",
  "uint64",
]);

/** Inputs whose numbers fit any of these types, whatever they are multiplied with: 0 and 1, and the few segments. */
const smallInputs: ReadonlySet<string> = new Set(["attention_mask", "token_type_ids"]);

/** They give places or lengths, which the numbers that they read have no part in. */
const placesOnly: ReadonlySet<string> = new Set([
  "argsort",
  "non_zero",
  "reduce_argmax",
  "reduce_argmin",
  "shape",
]);

/** Inputs of operations that say where or how, not what. */
const parameters: ReadonlySet<string> = new Set([
  "axes",
  "axis",
  "begin",
  "cond",
  "end",
  "indices",
  "shape",
  "stride",
]);

/**
 * coremltools (9.0, seen for macOS 15) casts int32 inputs to 16 bits where the operation that reads them takes such,
 * without regard to the numbers: its pass `common::add_int16_cast`. With a vocabulary of 250,002 most ids do not fit,
 * and what Core ML makes of them is not documented.
 *
 * Numbers are followed through whole-number types only, from an input to `gather` and `gather_along_axis`.
 *
 * @returns the first such place; undefined where there is none, or the function has no body for its operation set.
 */
export function narrowedIds(definition: FunctionDefinition): NarrowedIds | undefined {
  const body = bodyOf(definition);
  if (body === undefined) return undefined;
  for (const { name } of definition.inputs) {
    if (smallInputs.has(name)) continue;
    const trail = new Trail(name);
    trail.follow(body);
    const { rows } = trail;
    const narrow = trail.narrowed.find(({ largest }) => largest < rows - 1);
    if (narrow !== undefined) return { input: name, ...narrow, rows };
  }
  return undefined;
}

/** What becomes of one input's numbers. */
class Trail {
  /** Of the longest table that they look up; 0 where they look up none. */
  rows = 0;
  readonly narrowed: Omit<NarrowedIds, "input" | "rows">[] = [];
  readonly #carriers: Set<string>;
  readonly #sizes: Map<string, readonly (number | undefined)[]> = new Map();
  readonly #whole: Map<string, number> = new Map();

  constructor(input: string) {
    this.#carriers = new Set([input]);
  }

  follow(block: Block): void {
    for (const operation of block.operations) this.#pass(operation);
  }

  #pass(operation: Operation): void {
    const { type, inputs, outputs, blocks } = operation;
    this.#note(operation);
    const carries = Object.entries(inputs).some(
      ([name, argument]) => !parameters.has(name) && argument.some((one) => this.#isCarrier(one)),
    );
    for (const block of blocks) {
      // A loop's block has names of its own for what it is given.
      if (carries) for (const { name } of block.inputs) this.#carriers.add(name);
      this.follow(block);
    }
    const leaves = blocks.some((block) => block.outputs.some((name) => this.#carriers.has(name)));
    if ((!carries && !leaves) || placesOnly.has(type)) return;
    for (const output of outputs) {
      if (output.type.kind !== "tensor" || !wholeNumbers.has(output.type.element)) continue;
      this.#carriers.add(output.name);
      const { element } = output.type;
      const largest = largestOf[element];
      if (largest !== undefined)
        this.narrowed.push({ operation: type, value: output.name, element, largest });
    }
  }

  /** Takes down what tables need: sizes, axes that are constants, and how many rows are looked up. */
  #note({ type, inputs, outputs, attributes }: Operation): void {
    for (const output of outputs)
      if (output.type.kind === "tensor") this.#sizes.set(output.name, output.type.dimensions);
    if (type === "const") {
      const content = attributes["val"]?.content;
      const number = content?.kind === "immediate" ? content.values[0] : undefined;
      const [output] = outputs;
      if (typeof number === "number" && output !== undefined) this.#whole.set(output.name, number);
    }
    if (type !== "gather" && type !== "gather_along_axis") return;
    if (!inputs["indices"]?.some((one) => this.#isCarrier(one))) return;
    const [table] = inputs["x"] ?? [];
    const sizes = table !== undefined && "name" in table ? this.#sizes.get(table.name) : undefined;
    if (sizes === undefined) return;
    this.rows = Math.max(this.rows, sizes.at(this.#axisOf(inputs["axis"]?.[0])) ?? 0);
  }

  /** The first one where it is left out (coremltools, `gather` of iOS 15's operations). */
  #axisOf(axis: Binding | undefined): number {
    if (axis === undefined) return 0;
    if ("name" in axis) return this.#whole.get(axis.name) ?? 0;
    const { content } = axis.value;
    const number = content.kind === "immediate" ? content.values[0] : undefined;
    return typeof number === "number" ? number : 0;
  }

  #isCarrier(binding: Binding): boolean {
    return "name" in binding && this.#carriers.has(binding.name);
  }
}
