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
}
