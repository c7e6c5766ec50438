import type { Activation, Linear, Norm } from "../source/description.js";
import type { Weight } from "../source/weight.js";
import { activate } from "./activations.js";
import type { Pace } from "./pace.js";

/** Vectors of equal width one behind the other, in float64. */
export interface Vectors {
  readonly count: number;
  readonly width: number;
  readonly data: Float64Array;
}

export function vectors(count: number, width: number): Vectors {
  return { count, width, data: new Float64Array(count * width) };
}

/** Numbers of a weight that are in memory at once: 8 MB as float32. */
const blockSize = 2 ** 21;

/** Multiplications between two chances to rest: a few hundredths of a second. */
const stretch = 2 ** 26;

/** The part of the inputs that is worked on at once: rows of so many numbers stay in the processor's first cache. */
const depth = 512;

/**
 * activation(W x + b) for every vector. The weight is read once, a block of rows at a time.
 * @throws {RangeError} when the vectors are not as wide as the weight.
 */
export async function project(
  x: Vectors,
  { weight, bias }: Linear,
  pace: Pace,
  activation: Activation = "identity",
): Promise<Vectors> {
  const [outputs = 0, inputs = 0] = weight.shape;
  if (inputs !== x.width)
    throw new RangeError(`${weight.name} takes ${inputs} numbers, and here are ${x.width}`);
  const y = vectors(x.count, outputs);
  if (bias !== undefined) {
    const numbers = await readAll(bias);
    for (let row = 0; row < x.count; row += 1) y.data.set(numbers, row * outputs);
  }
  const rowsRead = Math.max(4, 4 * Math.floor(blockSize / inputs / 4));
  const rowsAtOnce = Math.max(4, 4 * Math.floor(stretch / inputs / Math.max(1, x.count) / 4));
  for (let from = 0; from < outputs; from += rowsRead) {
    const to = Math.min(outputs, from + rowsRead);
    const block = await weight.rows(from, to);
    for (let first = 0; first < to - from; first += rowsAtOnce) {
      const last = Math.min(to - from, first + rowsAtOnce);
      multiply(x, block.subarray(first * inputs, last * inputs), y, from + first);
      await pace.rest();
    }
  }
  activate(activation, y.data);
  return y;
}

/** Four rows of a weight in float64, as far as `depth` goes. One for all: nothing rests between filling and use. */
const panel = new Float64Array(4 * depth);

/** Adds `rows` (n × x.width) times every vector to columns `column` … `column + n` of `y`. */
export function multiply(x: Vectors, rows: Float32Array | Float64Array, y: Vectors, column: number): void {
  const { width, count, data } = x;
  const total = rows.length / width;
  for (let start = 0; start < width; start += depth) {
    const length = Math.min(depth, width - start);
    for (let row = 0; row < total; row += 4) {
      const used = Math.min(4, total - row);
      for (let i = 0; i < used; i += 1) {
        const offset = (row + i) * width + start;
        panel.set(rows.subarray(offset, offset + length), i * depth);
      }
      multiplyPanel(data, width, count, start, length, panel, y.data, y.width, column + row, used);
    }
  }
}

/**
 * The inner loop: four rows of the weight against two vectors, whose eight sums stay in registers. An odd vector at
 * the end goes with itself.
 */
function multiplyPanel(
  x: Float64Array,
  width: number,
  count: number,
  start: number,
  length: number,
  panel: Float64Array,
  y: Float64Array,
  outputs: number,
  column: number,
  used: number,
): void {
  for (let token = 0; token < count; token += 2) {
    const hasSecond = token + 1 < count;
    const first = token * width + start;
    const second = hasSecond ? first + width : first;
    let a0 = 0;
    let a1 = 0;
    let a2 = 0;
    let a3 = 0;
    let b0 = 0;
    let b1 = 0;
    let b2 = 0;
    let b3 = 0;
    for (let k = 0; k < length; k += 1) {
      const a = x[first + k] as number;
      const b = x[second + k] as number;
      const w0 = panel[k] as number;
      const w1 = panel[depth + k] as number;
      const w2 = panel[2 * depth + k] as number;
      const w3 = panel[3 * depth + k] as number;
      a0 += a * w0;
      b0 += b * w0;
      a1 += a * w1;
      b1 += b * w1;
      a2 += a * w2;
      b2 += b * w2;
      a3 += a * w3;
      b3 += b * w3;
    }
    const place = token * outputs + column;
    y[place] = (y[place] as number) + a0;
    if (used > 1) y[place + 1] = (y[place + 1] as number) + a1;
    if (used > 2) y[place + 2] = (y[place + 2] as number) + a2;
    if (used > 3) y[place + 3] = (y[place + 3] as number) + a3;
    if (!hasSecond) continue;
    const next = place + outputs;
    y[next] = (y[next] as number) + b0;
    if (used > 1) y[next + 1] = (y[next + 1] as number) + b1;
    if (used > 2) y[next + 2] = (y[next + 2] as number) + b2;
    if (used > 3) y[next + 3] = (y[next + 3] as number) + b3;
  }
}

/**
 * In place, over each stretch of `width` numbers (a vector, or a head's part of it).
 * @param width default: whole vectors.
 */
export async function normalise(x: Vectors, norm: Norm, width: number = x.width): Promise<void> {
  const weight = await readAll(norm.weight);
  const bias = norm.bias === undefined ? undefined : await readAll(norm.bias);
  const { data } = x;
  for (let start = 0; start < data.length; start += width) {
    let mean = 0;
    if (norm.kind === "layer-norm") {
      for (let i = start; i < start + width; i += 1) mean += data[i] as number;
      mean /= width;
    }
    let variance = 0;
    for (let i = start; i < start + width; i += 1) variance += ((data[i] as number) - mean) ** 2;
    const scale = 1 / Math.sqrt(variance / width + norm.epsilon);
    for (let i = 0; i < width; i += 1) {
      data[start + i] =
        ((data[start + i] as number) - mean) * scale * (weight[i] as number) + (bias?.[i] ?? 0);
    }
  }
}

/** In place: x += y. */
export function add(x: Vectors, { data: y }: Vectors): void {
  const { data } = x;
  for (let i = 0; i < data.length; i += 1) data[i] = (data[i] as number) + (y[i] as number);
}

/** In place: x ∘= y. */
export function scaleBy(x: Vectors, { data: y }: Vectors): void {
  const { data } = x;
  for (let i = 0; i < data.length; i += 1) data[i] = (data[i] as number) * (y[i] as number);
}

export function readAll(weight: Weight): Promise<Float32Array> {
  return weight.rows(0, weight.shape[0] ?? 1);
}
