import { byteTensor, domains, floatTensor, Graph, integerTensor } from "@crossrank/formats/onnx";
import type { Activation, Linear, Norm } from "../source/description.js";
import type { Weight } from "../source/weight.js";
import {
  joinedTensor,
  outputsOf,
  quantisedRowsTensor,
  quantisedTransposedTensor,
  scalesTensor,
  transposedTensor,
  weightTensor,
  zerosTensor,
} from "./stored-tensor.js";

/** Precision of the weights. All arithmetic outside of int8's products is float32. */
export type Dtype = "fp32" | "fp16" | "int8";

/** `onnxruntime`: its own operators where they are faster. `plain`: ONNX's own alone, and few of those. */
export type Operators = "onnxruntime" | "plain";

/**
 * What shares one scale of int8's activations.
 * - `batch`: all of a product's input.
 * - `row`: each token's vector has its own, in the feed-forward layers, where outliers of few tokens cost the most.
 */
export type Activations = "batch" | "row";

/** What 0 becomes: of numbers that are hardly below 0, few of the 255 steps are for those. */
export function zeroOf(lowest: number | undefined): number {
  return lowest === undefined ? 128 : 16;
}

/** A token's vector of zeros has to have a scale too. */
const smallestScale = 1e-10;

/** Element types by their number in onnx.proto, for Cast. */
const castTo = { float32: 1, int32: 6, int64: 7 } as const;

/** The pieces of a transformer as nodes: how each is stored and computed at a precision. Shapes are (batch, sequence, …). */
export class Emitter {
  readonly graph: Graph = new Graph();
  readonly dtype: Dtype;
  readonly operators: Operators;
  readonly activations: Activations;
  /** Matrices that are there already: of weights that several layers share. */
  readonly #matrices = new Map<Weight, string>();

  constructor(dtype: Dtype, operators: Operators, activations: Activations) {
    this.dtype = dtype;
    this.operators = operators;
    this.activations = activations;
  }

  get microsoft(): boolean {
    return this.operators === "onnxruntime";
  }

  /** W x + b, at the model's precision. */
  linear(x: string, linear: Linear, name: string): string {
    const bias = this.bias([linear], `${name}.bias`);
    return this.#product(x, [linear], `${name}.output`, bias);
  }

  /** Several layers of one input, computed together: one product, cut into the layers' outputs. */
  linears<const Outputs extends readonly string[]>(
    x: string,
    linears: readonly Linear[],
    name: string,
    outputs: Outputs,
  ): Outputs {
    const product = this.#product(x, linears, `${name}.output`, this.bias(linears, `${name}.bias`));
    const sizes = this.graph.integers(linears.map(({ weight }) => weight.shape[0] as number));
    return this.graph.nodeOfMany("Split", [product, sizes], outputs, {
      attributes: { axis: { integer: -1 } },
    });
  }

  /**
   * Several layers of one input, a product each, as ONNX Runtime's attention takes them: a joint one would have to be cut
   * up. In int8 the input is rounded once.
   * @param biased false: W x alone.
   */
  linearsApart<const Outputs extends readonly string[]>(
    x: string,
    linears: readonly Linear[],
    outputs: Outputs,
    biased: boolean,
  ): Outputs {
    const rounded = this.dtype === "int8" ? this.quantised(x, outputs[0] as string) : undefined;
    for (const [index, linear] of linears.entries()) {
      const name = outputs[index] as string;
      const bias = biased ? this.bias([linear], `${name}.bias`) : undefined;
      if (rounded !== undefined) this.#roundedProduct(rounded, linear, { name, bias });
      else this.#realProduct(x, [linear], { name, output: name, bias });
    }
    return outputs;
  }

  /** W x + b of an x in eight bits, by an operator of ONNX Runtime. */
  #roundedProduct(
    [x, scale, zero]: readonly [string, string, string],
    { weight }: Linear,
    { name, bias }: { name: string; bias: string | undefined },
  ): void {
    const { integers, scales, zeros } = this.integerMatrix([weight], name);
    const inputs = [x, integers, scale, scales, zero, zeros, ...(bias === undefined ? [] : [bias])];
    this.graph.node("MatMulIntegerToFloat", inputs, name, { domain: domains.microsoft });
  }

  /**
   * W x + b of an x that is a constant, in float32 throughout: runtimes compute it once, at load, and drop the weights.
   * Onnxruntime 1.30 does not do that with DynamicQuantizeMatMul.
   */
  constantLinear(x: string, linear: Linear, name: string): string {
    const bias = this.bias([linear], `${name}.bias`);
    const product = this.graph.node("MatMul", [x, this.#realMatrix(linear.weight, name)], `${name}.product`);
    return bias === undefined ? product : this.graph.node("Add", [product, bias], `${name}.output`);
  }

  #realMatrix(weight: Weight, name: string): string {
    if (this.dtype !== "int8") return this.matrix([weight], name);
    const { integers, scales } = this.integerMatrix([weight], name);
    const real = this.cast(integers, "float32", `${name}.weight.real`);
    return this.graph.node("Mul", [real, scales], `${name}.weight`);
  }

  /** W x + b with weights in float32 whatever the precision: for heads, which are small and set the score's scale. */
  exactLinear(x: string, { weight, bias }: Linear, name: string): string {
    const matrix = this.graph.tensor(transposedTensor(`${name}.weight`, [weight], "float32"));
    const product = this.graph.node("MatMul", [x, matrix], `${name}.product`);
    if (bias === undefined) return product;
    return this.graph.node("Add", [product, this.vector(bias, `${name}.bias`)], `${name}.output`);
  }

  /** W x of several layers side by side, without bias. */
  product(x: string, linears: readonly Linear[], name: string): string {
    return this.#product(x, linears, `${name}.product`, undefined);
  }

  #product(x: string, linears: readonly Linear[], output: string, bias: string | undefined): string {
    const name = output.slice(0, output.lastIndexOf("."));
    const weights = linears.map(({ weight }) => weight);
    if (this.dtype === "int8") return this.#integerProduct(x, weights, { name, output, bias });
    return this.#realProduct(x, linears, { name, output, bias });
  }

  #realProduct(
    x: string,
    linears: readonly Linear[],
    { name, output, bias }: { name: string; output: string; bias: string | undefined },
  ): string {
    const weights = linears.map(({ weight }) => weight);
    const matrix = this.matrix(weights, name);
    if (bias === undefined) return this.graph.node("MatMul", [x, matrix], output);
    const product = this.graph.node("MatMul", [x, matrix], `${name}.product`);
    return this.graph.node("Add", [product, bias], output);
  }

  /** Matrices of (inputs, outputs), side by side, in float32 when the graph runs. */
  matrix(weights: readonly Weight[], name: string): string {
    return this.#once(weights, () => {
      if (this.dtype === "fp16") {
        const half = this.graph.tensor(transposedTensor(`${name}.weight.half`, weights, "float16"));
        return this.cast(half, "float32", `${name}.weight`);
      }
      return this.graph.tensor(transposedTensor(`${name}.weight`, weights, "float32"));
    });
  }

  /** The int8 form of matrices: names of integers, scales and zero points. */
  integerMatrix(
    weights: readonly Weight[],
    name: string,
  ): { readonly integers: string; readonly scales: string; readonly zeros: string } {
    const integers = this.#once(weights, () =>
      this.graph.tensor(quantisedTransposedTensor(`${name}.weight.int8`, weights)),
    );
    const base = integers.slice(0, -".int8".length);
    const outputs = [outputsOf(weights)];
    return {
      integers,
      scales: this.graph.tensor(scalesTensor(`${base}.scale`, weights, "products", outputs)),
      zeros: this.graph.tensor(zerosTensor(`${base}.zero`, "int8", outputs)),
    };
  }

  #integerProduct(
    x: string,
    weights: readonly Weight[],
    { name, output, bias }: { name: string; output: string; bias: string | undefined },
  ): string {
    const { integers, scales, zeros } = this.integerMatrix(weights, name);
    if (this.microsoft) {
      const inputs = [x, integers, scales, zeros, ...(bias === undefined ? [] : [bias])];
      return this.graph.node("DynamicQuantizeMatMul", inputs, output, { domain: domains.microsoft });
    }
    const [quantised, scale, zero] = this.quantised(x, name);
    const whole = this.graph.node("MatMulInteger", [quantised, integers, zero, zeros], `${name}.integers`);
    const real = this.cast(whole, "float32", `${name}.reals`);
    const both = this.graph.node("Mul", [scales, scale], `${name}.scales`);
    const product = this.graph.node("Mul", [real, both], bias === undefined ? output : `${name}.product`);
    return bias === undefined ? product : this.graph.node("Add", [product, bias], output);
  }

  /**
   * W x of a product whose rows have a scale each, in int8. Shapes are (rows, …).
   * @param lowest of vectors whose numbers are none below it, most bits are for those above 0.
   * @param zeros a zero point a row, all `zeroOf(lowest)`.
   */
  productOfRows(
    x: string,
    linear: Linear,
    { name, lowest, zeros: zeroPoints }: { name: string; lowest: number | undefined; zeros: string },
  ): string {
    const { graph } = this;
    const zero = zeroOf(lowest);
    const magnitudes = lowest === undefined ? graph.node("Abs", [x], `${name}.x.magnitudes`) : x;
    const peak = graph.node("ReduceMax", [magnitudes, graph.integers([1])], `${name}.x.peak`, {
      attributes: { keepdims: { integer: 0 } },
    });
    const steps = lowest === undefined ? 127 : 255 - zero;
    const wanted = graph.node("Mul", [peak, this.number(1 / steps)], `${name}.x.wanted`);
    const least = this.number(lowest === undefined ? smallestScale : lowest / zero);
    const scale = graph.node("Max", [wanted, least], `${name}.x.scale`);
    const quantised = graph.node("QuantizeLinear", [x, scale, zeroPoints], `${name}.x`, {
      attributes: { axis: { integer: 0 } },
    });
    const { integers, scales, zeros } = this.integerMatrix([linear.weight], name);
    const inputs = [quantised, integers, this.number(1), scales, this.byte(zero), zeros];
    const product = graph.node("MatMulIntegerToFloat", inputs, `${name}.reals`, {
      domain: domains.microsoft,
    });
    const column = graph.node("Unsqueeze", [scale, graph.integers([1])], `${name}.x.scales`);
    return graph.node("Mul", [product, column], `${name}.product`);
  }

  byte(value: number): string {
    return this.graph.tensor(byteTensor(`uint8.${value}`, value));
  }

  /** Whether feed-forward layers round each token's vector by a scale of its own. */
  get byRow(): boolean {
    return this.dtype === "int8" && this.activations === "row";
  }

  /** x in eight bits, with its scale and zero point. */
  quantised(x: string, name: string): readonly [string, string, string] {
    return this.graph.nodeOfMany(
      "DynamicQuantizeLinear",
      [x],
      [`${name}.x`, `${name}.x.scale`, `${name}.x.zero`],
    );
  }

  #once(weights: readonly Weight[], make: () => string): string {
    const [only] = weights;
    if (weights.length !== 1 || only === undefined) return make();
    const known = this.#matrices.get(only) ?? make();
    this.#matrices.set(only, known);
    return known;
  }

  /** Biases side by side; undefined where no layer has one. */
  bias(linears: readonly Linear[], name: string): string | undefined {
    if (linears.every(({ bias }) => bias === undefined)) return undefined;
    return this.biasOrZeros(linears, name);
  }

  biasOrZeros(linears: readonly Linear[], name: string): string {
    const parts = linears.map(({ weight, bias }) => bias ?? (weight.shape[0] as number));
    return this.graph.tensor(joinedTensor(name, parts));
  }

  /** A small weight, in float32 at every precision. */
  vector(weight: Weight, name: string): string {
    return this.graph.tensor(weightTensor(name, weight, "float32"));
  }

  /** Rows of a table. Only the rows that are taken become float32. */
  rows(table: Weight, indices: string, name: string): string {
    const { graph } = this;
    switch (this.dtype) {
      case "fp32":
        return graph.node(
          "Gather",
          [graph.tensor(weightTensor(name, table, "float32")), indices],
          `${name}.rows`,
        );
      case "fp16": {
        const half = graph.tensor(weightTensor(`${name}.half`, table, "float16"));
        return this.cast(
          graph.node("Gather", [half, indices], `${name}.half.rows`),
          "float32",
          `${name}.rows`,
        );
      }
      case "int8": {
        const integers = graph.tensor(quantisedRowsTensor(`${name}.int8`, table));
        const scales = graph.tensor(
          scalesTensor(`${name}.scale`, [table], "rows", [table.shape[0] as number, 1]),
        );
        const rows = graph.node("Gather", [integers, indices], `${name}.int8.rows`);
        const scaleRows = graph.node("Gather", [scales, indices], `${name}.scale.rows`);
        return graph.node(
          "Mul",
          [this.cast(rows, "float32", `${name}.float.rows`), scaleRows],
          `${name}.rows`,
        );
      }
    }
  }

  norm(x: string, norm: Norm, name: string): string {
    const { graph } = this;
    const weight = this.vector(norm.weight, `${name}.weight`);
    const bias = norm.bias === undefined ? [] : [this.vector(norm.bias, `${name}.bias`)];
    if (norm.kind === "layer-norm") {
      const attributes = { axis: { integer: -1 }, epsilon: { float: norm.epsilon } };
      return graph.node("LayerNormalization", [x, weight, ...bias], `${name}.output`, { attributes });
    }
    const squares = graph.node("Mul", [x, x], `${name}.squares`);
    const mean = graph.node("ReduceMean", [squares, graph.integers([-1])], `${name}.mean`);
    const safe = graph.node("Add", [mean, this.number(norm.epsilon)], `${name}.mean.safe`);
    const root = graph.node("Sqrt", [safe], `${name}.root`);
    const even = graph.node("Div", [x, root], `${name}.even`);
    return graph.node("Mul", [even, weight], `${name}.output`);
  }

  /** activation(x + bias). */
  activate(x: string, activation: Activation, name: string, bias?: string): string {
    const { graph } = this;
    const fused = { gelu: "BiasGelu", "gelu-tanh": "FastGelu" } as const;
    if (this.microsoft && bias !== undefined && (activation === "gelu" || activation === "gelu-tanh")) {
      return graph.node(fused[activation], [x, bias], `${name}.active`, { domain: domains.microsoft });
    }
    const input = bias === undefined ? x : graph.node("Add", [x, bias], `${name}.biased`);
    switch (activation) {
      case "identity":
        return input;
      case "tanh":
        return graph.node("Tanh", [input], `${name}.active`);
      case "relu":
        return graph.node("Relu", [input], `${name}.active`);
      case "silu": {
        const gate = graph.node("Sigmoid", [input], `${name}.sigmoid`);
        return graph.node("Mul", [input, gate], `${name}.active`);
      }
      case "gelu": {
        if (this.microsoft)
          return graph.node("Gelu", [input], `${name}.active`, { domain: domains.microsoft });
        const scaled = graph.node("Mul", [input, this.number(Math.SQRT1_2)], `${name}.scaled`);
        const error = graph.node("Erf", [scaled], `${name}.erf`);
        return this.#halfOfOnePlus(input, error, name);
      }
      case "gelu-tanh": {
        if (this.microsoft)
          return graph.node("FastGelu", [input], `${name}.active`, { domain: domains.microsoft });
        const square = graph.node("Mul", [input, input], `${name}.square`);
        const cube = graph.node("Mul", [square, input], `${name}.cube`);
        const part = graph.node("Mul", [cube, this.number(0.044715)], `${name}.cube.scaled`);
        const sum = graph.node("Add", [input, part], `${name}.sum`);
        const scaled = graph.node("Mul", [sum, this.number(Math.sqrt(2 / Math.PI))], `${name}.scaled`);
        return this.#halfOfOnePlus(input, graph.node("Tanh", [scaled], `${name}.tanh`), name);
      }
    }
  }

  /** 0.5 · x · (1 + y). */
  #halfOfOnePlus(x: string, y: string, name: string): string {
    const { graph } = this;
    const sum = graph.node("Add", [y, this.number(1)], `${name}.onePlus`);
    const half = graph.node("Mul", [x, this.number(0.5)], `${name}.half`);
    return graph.node("Mul", [half, sum], `${name}.active`);
  }

  /** A table that is used whole, in float32 when the graph runs. Constant: runtimes compute what follows once, at load. */
  matrixAsIs(weight: Weight, name: string): string {
    if (this.dtype === "fp32") return this.graph.tensor(weightTensor(name, weight, "float32"));
    return this.cast(this.graph.tensor(weightTensor(`${name}.half`, weight, "float16")), "float32", name);
  }

  cast(x: string, type: keyof typeof castTo, output: string): string {
    return this.graph.node("Cast", [x], output, { attributes: { to: { integer: castTo[type] } } });
  }

  number(value: number): string {
    return this.floats(`float.${value}`, [value], []);
  }

  floats(name: string, values: readonly number[], dimensions: readonly number[]): string {
    return this.graph.tensor(floatTensor(name, values, dimensions));
  }

  /** A vector of int64 with a name of its own. */
  integerTable(name: string, values: readonly number[]): string {
    return this.graph.tensor(integerTensor(name, values, [values.length]));
  }

  reshape(x: string, shape: readonly number[], output: string): string {
    return this.graph.node("Reshape", [x, this.graph.integers(shape)], output);
  }

  transpose(x: string, order: readonly number[], output: string): string {
    return this.graph.node("Transpose", [x], output, { attributes: { perm: { integers: order } } });
  }

  /** x[start:end] along one dimension; the bounds are vectors of one number. */
  slice(x: string, [start, end]: readonly [string, string], axis: number, output: string): string {
    return this.graph.node("Slice", [x, start, end, this.graph.integers([axis])], output);
  }
}
