/**
 * What a file may ask of the reader. Each default is far above what coremltools writes for the largest models, and
 * low enough that a hostile file costs neither memory nor time.
 */
export interface Limits {
  /**
   * Bytes of the messages that are held in memory: the description, and the program without its weights. A cross-encoder
   * of 4 layers and 12 heads has 140 kB. What another kind of model carries (a neural network holds its weights here) is passed
   * over on disk and does not count. 64 MiB.
   */
  readonly messageBytes: number;
  /** Bytes of Manifest.json; that of coremltools has 600. 1 MiB. */
  readonly manifestBytes: number;
  /** Files of a package. 10,000. */
  readonly files: number;
  /** Blocks within blocks, against a deep stack; a program without control flow has one. 64. */
  readonly depth: number;
  /** Operations of all blocks; a large image model has some ten thousand. 250,000. */
  readonly operations: number;
  /** Values, types, dimensions, bindings, features and so on, all together, as each costs memory. 2,000,000. */
  readonly entries: number;
  /** Numbers, truths and texts written in the program itself, all together. 16,777,216. */
  readonly immediateElements: number;
  /** Dimensions of a tensor or array. 64. */
  readonly rank: number;
  /** Bytes of a name or text. 16 MiB. */
  readonly textBytes: number;
}

export const defaultLimits: Limits = {
  messageBytes: 64 * 2 ** 20,
  manifestBytes: 2 ** 20,
  files: 10_000,
  depth: 64,
  operations: 250_000,
  entries: 2_000_000,
  immediateElements: 2 ** 24,
  rank: 64,
  textBytes: 16 * 2 ** 20,
};
