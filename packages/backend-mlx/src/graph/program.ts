import { type InputName, inputNames, type OperationName, operationNames } from "./operations.js";

/** A value of a program: a weight, what the batch gives, or what an operation makes. */
export type Value =
  | { readonly kind: "weight"; readonly index: number }
  | { readonly kind: "input"; readonly name: InputName }
  | { readonly kind: "made"; readonly index: number };

interface Step {
  readonly operation: OperationName;
  readonly inputs: readonly Value[];
  readonly attributes: readonly number[];
}

/** What a batch may hold. */
export interface ProgramLimits {
  /** Ids and segments are below these. */
  readonly ids: number;
  readonly segments: number;
  readonly columns: number;
}

/**
 * A graph being written: weights by what they are, and operations one after the other. What is asked for twice with the
 * same operands is made once.
 */
export class ProgramBuilder<Weight> {
  readonly #weights: Weight[] = [];
  readonly #steps: Step[] = [];
  readonly #made = new Map<string, Value>();
  readonly #known = new Map<unknown, Value>();

  /** Steps so far. */
  get length(): number {
    return this.#steps.length;
  }

  /** @param key of what it is the weight: the same key is the same weight. */
  weight(key: unknown, weight: () => Weight): Value {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const value: Value = { kind: "weight", index: this.#weights.push(weight()) - 1 };
    this.#known.set(key, value);
    return value;
  }

  input(name: InputName): Value {
    return { kind: "input", name };
  }

  add(operation: OperationName, inputs: readonly Value[], attributes: readonly number[] = []): Value {
    const key = JSON.stringify([operation, inputs, attributes]);
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const value: Value = {
      kind: "made",
      index: this.#steps.push({ operation, inputs, attributes }) - 1,
    };
    this.#made.set(key, value);
    return value;
  }

  /** The weights in order, and the program in the numbers that the addon reads. */
  finish(
    output: Value,
    limits: ProgramLimits,
  ): { readonly weights: readonly Weight[]; readonly program: Float64Array } {
    const count = this.#weights.length;
    const place = (value: Value): number => {
      if (value.kind === "weight") return value.index;
      return value.kind === "input"
        ? count + inputNames.indexOf(value.name)
        : count + inputNames.length + value.index;
    };
    const words = [limits.ids, limits.segments, limits.columns, place(output), this.#steps.length];
    for (const { operation, inputs, attributes } of this.#steps) {
      words.push(operationNames.indexOf(operation), inputs.length, ...inputs.map(place));
      words.push(attributes.length, ...attributes);
    }
    return { weights: this.#weights, program: Float64Array.from(words) };
  }
}
