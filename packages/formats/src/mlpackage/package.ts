import type { CoreMlModel } from "./model.js";
import type { ElementType, ValueContent } from "./program.js";

/** A value that lies in a blob file. */
export type BlobContent = Extract<ValueContent, { kind: "blob" }>;

/** What was read and held against its files. No file stays open. */
export interface ModelPackage {
  /** As it was asked for: a folder `.mlpackage`, or a file `.mlmodel`. */
  readonly path: string;
  readonly model: CoreMlModel;
  /** Relative to the package, with `/`, sorted. Of a single file: that file and the blob files that it names. */
  readonly files: readonly { readonly path: string; readonly size: number }[];
  /**
   * The entry of a blob value of this package's program.
   * @throws {ModelPackageError} for a place that no value of the program names.
   */
  blob(content: BlobContent): Promise<BlobEntry>;
}

/** A tensor of a blob file. It fills its value's type: this was checked when the package was opened. */
export interface BlobEntry {
  readonly element: ElementType;
  /** Bytes of its numbers, without padding. */
  readonly byteLength: number;
  /**
   * Bytes `from` to `to` (not included), little-endian, in an array of their own.
   * @throws {RangeError} for bytes that it does not have.
   * @throws {ModelPackageError} when the file changed since it was opened.
   */
  read(from: number, to: number): Promise<Uint8Array>;
}
