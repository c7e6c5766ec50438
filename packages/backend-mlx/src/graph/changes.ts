import type { Weight } from "@crossrank/convert";

/** A weight that no file of the model holds. */
export interface MadeWeight {
  /** For messages; the same name is the same weight. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Row-major. */
  readonly read: () => Promise<Float32Array> | Float32Array;
}

/** What is added to a matrix: scale · b a. */
export interface LowRank {
  /** (rank, inputs). */
  readonly a: MadeWeight;
  /** (outputs, rank). */
  readonly b: MadeWeight;
  readonly scale: number;
}

/** How many numbers of 1 are dropped, by where; each 0 to below 1. */
export interface DropoutChances {
  /** Of embeddings, behind their norm. */
  readonly embeddings: number;
  /** Of attention's shares, behind the softmax. */
  readonly shares: number;
  /** Of what attention's last matrix gives. */
  readonly attention: number;
  /** Of what the feed-forward part's last matrix reads. */
  readonly inner: number;
  /** Of what it gives. */
  readonly feedForward: number;
  /** Of what the head's first matrix reads, where it has several. */
  readonly headInput: number;
  /** Of what the head's last matrix reads. */
  readonly head: number;
}

/** What a program computes beside the model as its files have it. */
export interface GraphChanges {
  /** What is added to a matrix. */
  readonly lowRankOf?: ((weight: Weight) => LowRank | undefined) | undefined;
  /** What stands in a weight's place. */
  readonly insteadOf?: ((weight: Weight) => MadeWeight | undefined) | undefined;
  /** Only batches with a seed drop anything. */
  readonly dropout?: DropoutChances | undefined;
  /** The chance of what low ranks read, 0 to below 1. */
  readonly lowRankDropout?: number | undefined;
  /** The vocabulary's matrix is whole, and the graph takes its rows: it is trained, and it may be the embeddings'. */
  readonly wholeVocabulary?: boolean | undefined;
}
