import { open } from "node:fs/promises";
import type { WriteProgress } from "../progress.js";
import { elementCode } from "./element-types.js";
import { byteLength, encodeNumbers, layouts, type TensorType } from "./tensor-type.js";

/**
 * A typed value of the file's metadata.
 * Numbers and their codes: `gguf_type` in ggml's gguf.h.
 */
export type MetadataValue =
  | { readonly type: "uint32" | "float32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "uint8[]"; readonly value: Uint8Array }
  | { readonly type: "int32[]" | "float32[]"; readonly value: readonly number[] }
  | { readonly type: "bool[]"; readonly value: readonly boolean[] }
  | { readonly type: "string[]"; readonly value: readonly string[] };

/** In the order in which it is written. */
export type Metadata = ReadonlyMap<string, MetadataValue>;

/** A tensor of the file. A vector is one row. */
export interface FileTensor {
  readonly name: string;
  readonly type: TensorType;
  /** Of one or two dimensions. */
  readonly weight: RowSource;
}

/** A tensor's numbers, given row by row while it is written. */
export interface RowSource {
  /** Row-major. */
  readonly shape: readonly number[];
  /** Rows `from` to `to` (not included) of the first dimension. */
  rows(from: number, to: number): Promise<Float32Array>;
}

/** Tensors begin at multiples of this, the format's own default. */
const alignment = 32;

/** Numbers of a tensor in memory at a time, unless a single row has more; fewer where each takes long to encode. */
const chunkNumbers = 1 << 20;
const slowChunkNumbers = 1 << 17;

/**
 * Writes a GGUF file, version 3, little-endian: magic, counts, metadata, the tensors' places, padding, the tensors
 * (ggml's docs/gguf.md). Rows go from the source to the disk chunk by chunk.
 *
 * @throws {TensorWriteError} where a tensor's numbers do not fit their type.
 * @throws the signal's reason, once aborted; the file is then incomplete.
 */
export async function writeGgufFile(
  path: string,
  metadata: Metadata,
  tensors: readonly FileTensor[],
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((progress: WriteProgress) => void) | undefined;
  } = {},
): Promise<void> {
  const { signal, onProgress } = options;
  const header = encodeHeader(metadata, tensors);
  const sizes = tensors.map(({ type, weight }) => byteLength(type, sizeOf(weight)));
  const total = sizes.reduce((sum, size) => sum + padded(size), header.length);
  signal?.throwIfAborted();
  const file = await open(path, "w");
  try {
    let written = 0;
    const write = async (bytes: Uint8Array): Promise<void> => {
      // A write may take less than it was given.
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
      written += bytes.length;
      onProgress?.({ written, total });
    };
    await write(header);
    for (const [index, { name, type, weight }] of tensors.entries()) {
      const [rows = 1] = weight.shape;
      const most = layouts[type].block > 32 ? slowChunkNumbers : chunkNumbers;
      const chunk = Math.max(1, Math.floor(most / (sizeOf(weight) / rows)));
      for (let from = 0; from < rows; from += chunk) {
        signal?.throwIfAborted();
        const numbers = await weight.rows(from, Math.min(rows, from + chunk));
        let bytes: Uint8Array;
        try {
          bytes = encodeNumbers(type, numbers);
        } catch (cause) {
          throw new TensorWriteError(name, type, cause);
        }
        await write(bytes);
      }
      const size = sizes[index] ?? 0;
      if (size !== padded(size)) await write(new Uint8Array(padded(size) - size));
    }
    if (written !== total) throw new Error(`${path}: ${written} bytes written of ${total}`);
  } finally {
    await file.close();
  }
}

/** A tensor's numbers do not fit the type that was chosen for it. */
export class TensorWriteError extends Error {
  readonly tensor: string;
  constructor(tensor: string, type: TensorType, cause: unknown) {
    super(`${tensor} as ${type}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = "TensorWriteError";
    this.tensor = tensor;
  }
}

function encodeHeader(metadata: Metadata, tensors: readonly FileTensor[]): Uint8Array {
  const writer = new ByteWriter();
  writer.raw(new TextEncoder().encode("GGUF"));
  writer.uint32(3);
  writer.uint64(tensors.length);
  writer.uint64(metadata.size);
  for (const [key, value] of metadata) {
    writer.string(key);
    writeValue(writer, value);
  }
  let offset = 0;
  for (const { name, type, weight } of tensors) {
    writer.string(name);
    writer.uint32(weight.shape.length);
    // ggml counts dimensions from the innermost.
    for (const length of [...weight.shape].reverse()) writer.uint64(length);
    writer.uint32(layouts[type].code);
    writer.uint64(offset);
    offset += padded(byteLength(type, sizeOf(weight)));
  }
  return writer.finish(alignment);
}

function writeValue(writer: ByteWriter, { type, value }: MetadataValue): void {
  switch (type) {
    case "uint32":
      writer.uint32(elementCode("uint32"));
      writer.uint32(value);
      return;
    case "float32":
      writer.uint32(elementCode("float32"));
      writer.float32(value);
      return;
    case "bool":
      writer.uint32(elementCode("bool"));
      writer.uint8(value ? 1 : 0);
      return;
    case "string":
      writer.uint32(elementCode("string"));
      writer.string(value);
      return;
    case "uint8[]":
      writer.arrayOf(elementCode("uint8"), value.length);
      writer.raw(value);
      return;
    case "int32[]":
      writer.arrayOf(elementCode("int32"), value.length);
      for (const number of value) writer.int32(number);
      return;
    case "float32[]":
      writer.arrayOf(elementCode("float32"), value.length);
      for (const number of value) writer.float32(number);
      return;
    case "bool[]":
      writer.arrayOf(elementCode("bool"), value.length);
      for (const flag of value) writer.uint8(flag ? 1 : 0);
      return;
    case "string[]":
      writer.arrayOf(elementCode("string"), value.length);
      for (const text of value) writer.string(text);
      return;
  }
}

/** Grows as needed: the header holds a whole vocabulary, some megabytes. */
class ByteWriter {
  #bytes = new Uint8Array(1 << 16);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  readonly #encoder = new TextEncoder();

  /** Makes room and returns where it begins. */
  #take(count: number): number {
    const start = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return start;
  }

  uint8(number: number): void {
    const at = this.#take(1);
    this.#view.setUint8(at, number);
  }

  uint32(number: number): void {
    const at = this.#take(4);
    this.#view.setUint32(at, number, true);
  }

  int32(number: number): void {
    const at = this.#take(4);
    this.#view.setInt32(at, number, true);
  }

  uint64(number: number): void {
    const at = this.#take(8);
    this.#view.setBigUint64(at, BigInt(number), true);
  }

  float32(number: number): void {
    const at = this.#take(4);
    this.#view.setFloat32(at, number, true);
  }

  string(text: string): void {
    const bytes = this.#encoder.encode(text);
    this.uint64(bytes.length);
    this.raw(bytes);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#take(bytes.length);
    this.#bytes.set(bytes, at);
  }

  arrayOf(code: number, length: number): void {
    this.uint32(elementCode("array"));
    this.uint32(code);
    this.uint64(length);
  }

  finish(multiple: number): Uint8Array {
    return this.#bytes.slice(0, Math.ceil(this.#length / multiple) * multiple);
  }
}

function padded(size: number): number {
  return Math.ceil(size / alignment) * alignment;
}

function sizeOf(weight: RowSource): number {
  return weight.shape.reduce((product, length) => product * length, 1);
}
