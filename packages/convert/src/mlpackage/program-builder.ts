import type {
  Argument,
  BlobPlan,
  BlobTensor,
  Block,
  ElementType,
  Operation,
  Program,
  TensorType,
  Value,
} from "@crossrank/formats/mlpackage";
import { weightTensor } from "../onnx/stored-tensor.js";
import type { Weight } from "../source/weight.js";

/** Precision of weights and arithmetic. */
export type Precision = "fp16" | "fp32";

/** A value that an operation gives, or an input. An undefined dimension is the sequence's length, one of several. */
export interface Tensor {
  readonly name: string;
  readonly type: TensorType;
}

/** A parameter that is written out. */
export interface Literal {
  readonly literal: Value;
}

export type Parameter = Tensor | readonly Tensor[] | Literal;

/** The smallest number above 0 that half precision has. */
const smallestHalf = 2 ** -24;

/**
 * Collects the operations of an ML Program in the form in which coremltools writes them: every parameter is a `const`
 * operation of its own, named by the operation that reads it.
 */
export class ProgramBuilder {
  readonly precision: Precision;
  /** E.g. `"CoreML8"`. */
  readonly opset: string;
  readonly inputs: readonly Tensor[];
  readonly #tensors: BlobTensor[] = [];
  /** A tensor stands for the constant of that weight, whose place is not known yet. */
  readonly #operations: (Operation | { readonly weight: Tensor })[] = [];

  constructor(facts: { precision: Precision; opset: string; inputs: readonly Tensor[] }) {
    this.precision = facts.precision;
    this.opset = facts.opset;
    this.inputs = facts.inputs;
  }

  /** In the order of their use. */
  get tensors(): readonly BlobTensor[] {
    return this.#tensors;
  }

  /**
   * One operation with one output.
   * @param type the output's where it is not that of the input `x`.
   */
  operation(
    operator: string,
    name: string,
    inputs: Readonly<Record<string, Parameter>>,
    type: Partial<Pick<TensorType, "element" | "dimensions">> = {},
  ): Tensor {
    const { x } = inputs;
    const like = x !== undefined && "type" in x ? x.type : undefined;
    const element = type.element ?? like?.element;
    const dimensions = type.dimensions ?? like?.dimensions;
    if (element === undefined || dimensions === undefined) throw new Error(`${name} has no type`);
    const output = { name, type: tensorType(element, dimensions) };
    this.operationOfMany(operator, name, inputs, [output]);
    return output;
  }

  operationOfMany(
    operator: string,
    name: string,
    inputs: Readonly<Record<string, Parameter>>,
    outputs: readonly Tensor[],
  ): void {
    const bound = Object.entries(inputs).map(
      ([parameter, value]) => [parameter, this.#bind(`${name}_${parameter}`, value)] as const,
    );
    this.#operations.push({
      type: operator,
      inputs: Object.fromEntries(bound),
      outputs,
      blocks: [],
      attributes: { name: text(name).literal },
    });
  }

  /** A small constant that is no weight. */
  constant(name: string, { literal }: Literal): Tensor {
    const output = { name, type: literal.type as TensorType };
    this.#operations.push(constant(output, literal));
    return output;
  }

  /** A weight in the blob file, at the builder's precision. */
  weight(name: string, weight: Weight, dimensions: readonly number[] = weight.shape): Tensor {
    const output = { name, type: tensorType(this.precision, dimensions) };
    const type = this.precision === "fp16" ? "float16" : "float32";
    this.#operations.push({ weight: output });
    this.#tensors.push({
      name,
      element: this.precision,
      dimensions,
      chunks: () => weightTensor(name, weight, type).chunks(),
    });
    return output;
  }

  /** A scalar at the builder's precision. One that half precision would make 0 is its smallest number, as coremltools has it. */
  number(value: number): Literal {
    const kept =
      this.precision === "fp16" && value !== 0 && Math.abs(value) < smallestHalf
        ? Math.sign(value) * smallestHalf
        : value;
    return scalar(this.precision, kept);
  }

  /** The program, once it is known where the weights lie. */
  build(output: Tensor, { values }: BlobPlan): Program {
    const operations = this.#operations.map((operation) => {
      if (!("weight" in operation)) return operation;
      const { weight } = operation;
      const content = values.get(weight.name);
      if (content === undefined) throw new Error(`${weight.name} has no place`);
      return constant(weight, { type: weight.type, content });
    });
    const block: Block = { inputs: [], outputs: [output.name], operations, attributes: {} };
    const main = {
      inputs: this.inputs,
      opset: this.opset,
      blocks: { [this.opset]: block },
      attributes: {},
    };
    return { version: 1, functions: { main }, attributes: {} };
  }

  #bind(name: string, parameter: Parameter): Argument {
    if ("literal" in parameter) return [{ name: this.constant(name, parameter).name }];
    const tensors = "name" in parameter ? [parameter] : parameter;
    return tensors.map((tensor) => ({ name: tensor.name }));
  }
}

function constant(output: Tensor, value: Value): Operation {
  return {
    type: "const",
    inputs: {},
    outputs: [output],
    blocks: [],
    attributes: { name: text(output.name).literal, val: value },
  };
}

export function tensorType(element: ElementType, dimensions: TensorType["dimensions"]): TensorType {
  return { kind: "tensor", element, dimensions };
}

export function scalar(element: ElementType, value: number): Literal {
  return immediate(element, [], [value]);
}

export function integer(value: number): Literal {
  return scalar("int32", value);
}

export function integers(values: readonly number[]): Literal {
  return immediate("int32", [values.length], values);
}

export function flag(value: boolean): Literal {
  return immediate("bool", [], [value]);
}

export function text(value: string): Literal {
  return immediate("string", [], [value]);
}

function immediate(
  element: ElementType,
  dimensions: readonly number[],
  values: readonly number[] | readonly boolean[] | readonly string[],
): Literal {
  return { literal: { type: tensorType(element, dimensions), content: { kind: "immediate", values } } };
}
