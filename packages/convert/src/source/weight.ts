/**
 * A weight tensor of the source, read on demand and row by row, so that the largest (an embedding table of a gigabyte)
 * never has to be in memory whole.
 */
export interface Weight {
  /** Its name in the source file, for messages. A derived weight names what it was made of. */
  readonly name: string;
  /** Row-major. */
  readonly shape: readonly number[];
  /**
   * Rows `from` to `to` (not included) of the first dimension, as float32. A fresh array each time.
   * @throws {ModelProfileError} when the file is damaged, or holds a number that is not finite.
   */
  rows(from: number, to: number): Promise<Float32Array>;
  /** Where the numbers are, for what reads the files itself. Undefined where no file holds them as they are. */
  stored?(): StoredWeight | undefined;
  /** Of one that no file holds as it is: the one that its numbers are made of. */
  readonly madeOf?: Weight;
}

/** A weight's bytes in one of the model's safetensors files. */
export interface StoredWeight {
  /** Relative to the model. */
  readonly path: string;
  /** As safetensors calls it: `"F64"`, `"F32"`, `"F16"`, `"BF16"`. */
  readonly dtype: string;
  /** The first byte, and that behind the last. */
  readonly start: number;
  readonly end: number;
  /** To add to every number that was read, in float32. */
  readonly plus: 0 | 1;
}
