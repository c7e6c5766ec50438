/** How many values an operation reads, fewest and most, and how many numbers it is told; undefined: any. */
export interface Arity {
  readonly inputs: readonly [number, number];
  readonly attributes: number | undefined;
}

export type OperationName =
  | "take"
  | "rows"
  | "add"
  | "subtract"
  | "multiply"
  | "scale"
  | "linear"
  | "layer-norm"
  | "rms-norm"
  | "gelu"
  | "gelu-tanh"
  | "silu"
  | "relu"
  | "tanh"
  | "split-heads"
  | "merge-heads"
  | "rope"
  | "attention-mask"
  | "hide"
  | "attention"
  | "matmul"
  | "take-along"
  | "distances"
  | "transpose"
  | "expand"
  | "pick"
  | "mean"
  | "zero-padding"
  | "dropout"
  | "choose-rows";

/**
 * What a program is made of: the operations that the addon's interpreter knows (native/shim/interpreter.cpp), in the order
 * of their numbers, with how many values each reads and how many numbers it is told. Each has a gradient.
 */
export const operations: Readonly<Record<OperationName, Arity>> = {
  /** Rows of a table, by ids. */
  take: { inputs: [2, 2], attributes: 0 },
  /** The first rows of a table, one for each column of the batch: (1, columns, width). */
  rows: { inputs: [2, 2], attributes: 0 },
  add: { inputs: [2, 2], attributes: 0 },
  subtract: { inputs: [2, 2], attributes: 0 },
  multiply: { inputs: [2, 2], attributes: 0 },
  /** Times a number. */
  scale: { inputs: [1, 1], attributes: 1 },
  /** x Wᵀ, with or without a bias. */
  linear: { inputs: [2, 3], attributes: 0 },
  /** Weight, and a bias or none; told epsilon. */
  "layer-norm": { inputs: [2, 3], attributes: 1 },
  "rms-norm": { inputs: [2, 2], attributes: 1 },
  gelu: { inputs: [1, 1], attributes: 0 },
  "gelu-tanh": { inputs: [1, 1], attributes: 0 },
  silu: { inputs: [1, 1], attributes: 0 },
  relu: { inputs: [1, 1], attributes: 0 },
  tanh: { inputs: [1, 1], attributes: 0 },
  /** (rows, columns, heads · size) → (rows, heads, columns, size). */
  "split-heads": { inputs: [1, 1], attributes: 1 },
  "merge-heads": { inputs: [1, 1], attributes: 0 },
  /** Rotary positions in halves, by the period of each pair. */
  rope: { inputs: [2, 2], attributes: 0 },
  /** What sees what, from lengths and extents; told whether it is causal, and its reach, -1 for all. */
  "attention-mask": { inputs: [2, 2], attributes: 2 },
  /** Numbers where a mask shows them, and the lowest number elsewhere. */
  hide: { inputs: [2, 2], attributes: 0 },
  /**
   * softmax(q kᵀ · scale + mask) v; the mask is what is seen, or what is added. Told the scale, and of the softmax's
   * dropout how many of 1 and its own place.
   */
  attention: { inputs: [4, 4], attributes: 3 },
  /** x yᵀ, of the last two dimensions. */
  matmul: { inputs: [2, 2], attributes: 0 },
  /** Of each row of the last two dimensions the columns that a matrix of places names. */
  "take-along": { inputs: [2, 2], attributes: 0 },
  /** (columns, columns): what a table says of each distance; told what its numbers are below. */
  distances: { inputs: [2, 2], attributes: 1 },
  /** Told the dimensions in their new order. */
  transpose: { inputs: [1, 1], attributes: undefined },
  /** Another dimension, of 1, at a place. */
  expand: { inputs: [1, 1], attributes: 1 },
  /** Of each row the tokens at some places: (rows, places, width). */
  pick: { inputs: [2, 2], attributes: 0 },
  /** Over a row's tokens: (rows, 1, width). */
  mean: { inputs: [2, 2], attributes: 0 },
  /** 0 behind a row's length. */
  "zero-padding": { inputs: [2, 2], attributes: 0 },
  /** Some numbers become 0 where a batch has a seed, and nothing changes without; told how many of 1, and its own place. */
  dropout: { inputs: [1, 1], attributes: 2 },
  /** Rows of a table, by the numbers told. */
  "choose-rows": { inputs: [1, 1], attributes: undefined },
};

export const operationNames: readonly OperationName[] = Object.keys(operations) as OperationName[];

/** What a batch gives, behind the weights, in this order. */
export const inputNames: readonly InputName[] = ["ids", "segments", "lengths", "extents", "places"];

export type InputName = "ids" | "segments" | "lengths" | "extents" | "places";
