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

/** What a program computes beside the model as its files have it. */
export interface GraphChanges {
  /** What is added to a matrix. */
  readonly lowRankOf?: ((weight: Weight) => LowRank | undefined) | undefined;
  /** What stands in a weight's place. */
  readonly insteadOf?: ((weight: Weight) => MadeWeight | undefined) | undefined;
  /**
   * Of embeddings, of what attention and the feed-forward part give, and of what the head reads; 0 to below 1. Only
   * batches with a seed drop anything.
   */
  readonly dropout?: number | undefined;
  /** The same of what low ranks read. */
  readonly lowRankDropout?: number | undefined;
  /** The vocabulary's matrix is whole, and the graph takes its rows: it is trained, and it may be the embeddings'. */
  readonly wholeVocabulary?: boolean | undefined;
}
