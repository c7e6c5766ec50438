import { largestHalf, toHalves } from "@crossrank/formats";
import { byteLength, bytesOf, type ElementType, type StoredTensor } from "@crossrank/formats/onnx";
import type { Weight } from "../source/weight.js";
import { type QuantisedFor, quantiseRows } from "./quantise.js";

/** A weight that half precision cannot hold. */
export class HalfRangeError extends Error {
  readonly weight: string;
  constructor(weight: string) {
    super(`${weight} holds a number beyond ${largestHalf}, the end of half precision`);
    this.name = "HalfRangeError";
    this.weight = weight;
  }
}

/** Float32 numbers that are read at a time: 4 MB. */
const numbersAtOnce = 1 << 20;

/** A weight as it stands, some rows at a time: embedding tables, biases, norms. */
export function weightTensor(name: string, weight: Weight, type: "float32" | "float16"): StoredTensor {
  return {
    name,
    type,
    dimensions: weight.shape,
    async *chunks() {
      for await (const rows of rowsOf(weight)) yield bytesOf(encode(rows, type, weight));
    },
  };
}

/** Several vectors one behind the other; a number stands for as many zeros. */
export function joinedTensor(name: string, parts: readonly (Weight | number)[]): StoredTensor {
  const length = parts.reduce<number>(
    (sum, part) => sum + (typeof part === "number" ? part : (part.shape[0] as number)),
    0,
  );
  return {
    name,
    type: "float32",
    dimensions: [length],
    async *chunks() {
      for (const part of parts) {
        if (typeof part === "number") yield new Uint8Array(4 * part);
        else for await (const rows of rowsOf(part)) yield bytesOf(rows);
      }
    },
  };
}

/**
 * Weights of shape (outputs, inputs), side by side and transposed: (inputs, outputs of all). One matrix of a layer is
 * in memory meanwhile, and no more.
 */
export function transposedTensor(
  name: string,
  weights: readonly Weight[],
  type: "float32" | "float16",
): StoredTensor {
  const inputs = columnsOf(weights[0] as Weight);
  const outputs = outputsOf(weights);
  return {
    name,
    type,
    dimensions: [inputs, outputs],
    async *chunks() {
      const matrix =
        type === "float32" ? new Float32Array(inputs * outputs) : new Uint16Array(inputs * outputs);
      let output = 0;
      for (const weight of weights) {
        for await (const rows of rowsOf(weight)) {
          output = transposeInto(matrix, encode(rows, type, weight), { output, inputs, outputs });
        }
      }
      yield* slices(matrix);
    },
  };
}

/** As `transposedTensor`, quantised with one scale an output. */
export function quantisedTransposedTensor(name: string, weights: readonly Weight[]): StoredTensor {
  const inputs = columnsOf(weights[0] as Weight);
  const outputs = outputsOf(weights);
  return {
    name,
    type: "int8",
    dimensions: [inputs, outputs],
    async *chunks() {
      const matrix = new Int8Array(inputs * outputs);
      let output = 0;
      for (const weight of weights) {
        for await (const rows of rowsOf(weight)) {
          const { integers } = quantiseRows(rows, inputs, "products");
          output = transposeInto(matrix, integers, { output, inputs, outputs });
        }
      }
      yield* slices(matrix);
    },
  };
}

/** Rows as integers, one scale a row. */
export function quantisedRowsTensor(name: string, weight: Weight): StoredTensor {
  return {
    name,
    type: "int8",
    dimensions: weight.shape,
    async *chunks() {
      for await (const rows of rowsOf(weight)) {
        yield bytesOf(quantiseRows(rows, columnsOf(weight), "rows").integers);
      }
    },
  };
}

/** The scales of the rows of all weights, one behind the other. */
export function scalesTensor(
  name: string,
  weights: readonly Weight[],
  purpose: QuantisedFor,
  dimensions: readonly number[],
): StoredTensor {
  return {
    name,
    type: "float32",
    dimensions,
    async *chunks() {
      for (const weight of weights) {
        for await (const rows of rowsOf(weight)) {
          yield bytesOf(quantiseRows(rows, columnsOf(weight), purpose).scales);
        }
      }
    },
  };
}

/** Zero points of symmetric weights. */
export function zerosTensor(name: string, type: ElementType, dimensions: readonly number[]): StoredTensor {
  return {
    name,
    type,
    dimensions,
    async *chunks() {
      yield new Uint8Array(byteLength({ type, dimensions }));
    },
  };
}

export function outputsOf(weights: readonly Weight[]): number {
  return weights.reduce((sum, { shape }) => sum + (shape[0] as number), 0);
}

function columnsOf({ shape }: Weight): number {
  return shape.slice(1).reduce((product, size) => product * size, 1);
}

async function* rowsOf(weight: Weight): AsyncIterable<Float32Array> {
  const [rows = 1] = weight.shape;
  const atOnce = Math.max(1, Math.floor(numbersAtOnce / columnsOf(weight)));
  for (let from = 0; from < rows; from += atOnce) {
    yield await weight.rows(from, Math.min(rows, from + atOnce));
  }
}

function encode<Type extends "float32" | "float16">(
  values: Float32Array,
  type: Type,
  weight: Weight,
): Float32Array | Uint16Array {
  if (type === "float32") return values;
  const halves = toHalves(values);
  if (halves === undefined) throw new HalfRangeError(weight.name);
  return halves;
}

type Numbers = Float32Array | Uint16Array | Int8Array;

/** Puts rows of (outputs, inputs) into columns of (inputs, outputs). @returns the next free column. */
function transposeInto(
  matrix: Numbers,
  rows: Numbers,
  { output, inputs, outputs }: { output: number; inputs: number; outputs: number },
): number {
  const count = rows.length / inputs;
  // By input: neighbours in the matrix are written together.
  for (let input = 0; input < inputs; input += 1) {
    const target = input * outputs + output;
    for (let row = 0; row < count; row += 1) {
      matrix[target + row] = rows[row * inputs + input] as number;
    }
  }
  return output + count;
}

function* slices(values: Numbers): Iterable<Uint8Array> {
  const bytes = bytesOf(values);
  for (let start = 0; start < bytes.length; start += 4 * numbersAtOnce) {
    yield bytes.subarray(start, start + 4 * numbersAtOnce);
  }
}
