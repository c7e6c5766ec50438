import { ModelProfileError } from "../contract/errors.js";
import type { FileRequestOptions, ModelFiles } from "../contract/model-files.js";
import { fromHalf } from "./half.js";
import { lfsPointer, pointerProblem } from "./model-reader.js";

/** A tensor as float32, row-major. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** The tensors of one safetensors file; only those asked for are read. */
export interface TensorFile {
  readonly names: readonly string[];
  /**
   * From the header, without reading the tensor. Lengths of its dimensions; `[]` is a single number.
   * @throws {ModelProfileError} when there is no such tensor.
   */
  shape(name: string): readonly number[];
  /**
   * How the file holds it, e.g. `"F32"`, `"BF16"`, `"I64"`.
   * @throws {ModelProfileError} when there is no such tensor.
   */
  dtype(name: string): string;
  /**
   * Where its bytes are in the file, from `start` to `end` (not included).
   * @throws {ModelProfileError} when there is no such tensor.
   */
  place(name: string): { readonly start: number; readonly end: number };
  /** @throws {ModelProfileError} when there is no such tensor, its type is no float, or a number is not finite. */
  read(name: string): Promise<Tensor>;
  /**
   * Rows `from` to `to` (not included) of the first dimension as float32, row-major, in an array of their own. Of a
   * single number: row 0.
   * @throws {ModelProfileError} as `read`.
   * @throws {RangeError} for rows that it does not have.
   */
  rows(name: string, from: number, to: number, options?: FileRequestOptions): Promise<Float32Array>;
}

/** Bytes. A header beyond this is damaged or hostile: those of the largest published models stay below 10 MB. */
const largestHeader = 16 * 2 ** 20;
/** A tensor has far fewer dimensions. */
const mostDimensions = 64;

/** Bytes of a number of the types that are read. */
const widths: ReadonlyMap<string, number> = new Map([
  ["F64", 8],
  ["F32", 4],
  ["F16", 2],
  ["BF16", 2],
]);

/**
 * Opens a safetensors file (8 bytes of little-endian header length, a JSON header, then the tensors: the format's
 * own description in huggingface/safetensors). The header is held against the file: tensors fill their shapes, lie
 * one behind the other without a gap, and end where the file does.
 *
 * @throws {ModelFileNotFoundError} when it is not there.
 * @throws {ModelProfileError} when it is damaged or cut short.
 */
export async function openSafetensors(
  files: ModelFiles,
  path: string,
  options: FileRequestOptions = {},
): Promise<TensorFile> {
  const problem = (what: string, cause?: unknown): ModelProfileError =>
    new ModelProfileError(
      { model: files.id, file: path, problem: what, fix: "Download it again" },
      { cause },
    );
  const start = await files.readBytes(path, { start: 0, end: 8 }, options);
  const headerLength =
    start.length === 8 ? Number(new DataView(start.buffer, start.byteOffset).getBigUint64(0, true)) : 0;
  if (headerLength < 2 || headerLength > largestHeader) {
    const begin = await files.readBytes(path, { start: 0, end: lfsPointer.length }, options);
    if (new TextDecoder().decode(begin) === lfsPointer) {
      const [what, fix] = pointerProblem;
      throw new ModelProfileError({
        model: files.id,
        file: path,
        problem: `is not a safetensors file: it ${what}`,
        fix,
      });
    }
    throw problem("is not a safetensors file");
  }
  const dataStart = 8 + headerLength;
  const headerBytes = await files.readBytes(path, { start: 8, end: dataStart }, options);
  const entries = new Map<string, Entry>();
  try {
    const header: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(headerBytes));
    if (typeof header !== "object" || header === null || Array.isArray(header)) {
      throw new TypeError("it is no object");
    }
    for (const [name, entry] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      if (!isEntry(entry)) throw new TypeError(`${name.slice(0, 100)} is no tensor`);
      entries.set(name, entry);
    }
  } catch (cause) {
    throw problem("has a damaged header", cause);
  }

  let end = 0;
  const inOrder = [...entries].sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0]);
  for (const [name, { dtype, shape, data_offsets }] of inOrder) {
    const [from, to] = data_offsets;
    const width = widths.get(dtype);
    if (from !== end || to < from)
      throw problem(`has a damaged header: tensor ${name} is not where it should be`);
    if (width !== undefined && to - from !== sizeOf(shape) * width)
      throw problem(`tensor ${name} does not fill its shape ${shape.join(" × ")}`);
    end = to;
  }
  // The file's last byte, and what should not be behind it.
  const last = await files.readBytes(path, { start: dataStart + end - 1, end: dataStart + end + 1 }, options);
  if (last.length === 0) throw problem("ends before its tensors do");
  if (last.length > 1) throw problem("goes on behind its last tensor");

  const find = (name: string): Entry => {
    const entry = entries.get(name);
    if (entry === undefined) throw problem(`has no tensor ${name}`);
    return entry;
  };
  /** Numbers `from` to `to` of a tensor. */
  const numbers = async (
    name: string,
    entry: Entry,
    from: number,
    to: number,
    requested: FileRequestOptions,
  ): Promise<Float32Array> => {
    const { dtype, data_offsets } = entry;
    const width = widths.get(dtype);
    if (width === undefined) throw problem(`tensor ${name} has type ${dtype}, and only floats are read`);
    const first = dataStart + data_offsets[0];
    const range = { start: first + from * width, end: first + to * width };
    const bytes = await files.readBytes(path, range, requested);
    if (bytes.length !== range.end - range.start) throw problem(`ends before tensor ${name} does`);
    const data = toFloat32(bytes, dtype);
    const place = firstNotFinite(data);
    if (place >= 0)
      throw problem(`tensor ${name} holds ${data[place]} at ${from + place}, which is no weight`);
    return data;
  };
  return {
    names: [...entries.keys()],
    shape: (name) => find(name).shape,
    dtype: (name) => find(name).dtype,
    place: (name) => {
      const [start, end] = find(name).data_offsets;
      return { start: dataStart + start, end: dataStart + end };
    },
    async read(name) {
      const entry = find(name);
      return { shape: entry.shape, data: await numbers(name, entry, 0, sizeOf(entry.shape), options) };
    },
    async rows(name, from, to, requested = options) {
      const entry = find(name);
      const [count = 1, ...rest] = entry.shape;
      if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to <= count))
        throw new RangeError(`rows ${from} to ${to} of tensor ${name}, which has ${count}`);
      const width = sizeOf(rest);
      return numbers(name, entry, from * width, to * width, requested);
    },
  };
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** By hand: a schema would take a minute for what a header may hold. */
function isEntry(value: unknown): value is Entry {
  const { dtype, shape, data_offsets } = (value ?? {}) as Partial<Record<keyof Entry, unknown>>;
  return (
    typeof dtype === "string" &&
    Array.isArray(shape) &&
    shape.length <= mostDimensions &&
    shape.every(isSize) &&
    Array.isArray(data_offsets) &&
    data_offsets.length === 2 &&
    data_offsets.every(isSize)
  );
}

function isSize(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The format is little-endian, and typed arrays are as the processor is. */
const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function toFloat32(bytes: Uint8Array, dtype: string): Float32Array {
  const width = widths.get(dtype) as number;
  // A copy: the bytes may belong to the source, and may not begin where a typed array can. Not slice(): that of Node's
  // Buffer is a view of the whole.
  const { buffer } = new Uint8Array(bytes);
  if (!isLittleEndian) reverseEach(new Uint8Array(buffer), width);
  if (dtype === "F32") return new Float32Array(buffer);
  if (dtype === "F64") return Float32Array.from(new Float64Array(buffer));
  const halves = new Uint16Array(buffer);
  const result = new Float32Array(halves.length);
  const bits = new Uint32Array(result.buffer);
  if (dtype === "BF16") for (let i = 0; i < halves.length; i += 1) bits[i] = (halves[i] as number) << 16;
  else {
    const table = halfTable();
    for (let i = 0; i < halves.length; i += 1) result[i] = table[halves[i] as number] as number;
  }
  return result;
}

function reverseEach(bytes: Uint8Array, width: number): void {
  for (let start = 0; start < bytes.length; start += width) bytes.subarray(start, start + width).reverse();
}

/** Exponent of all ones: an infinity or NaN. @returns -1 when there is none. */
function firstNotFinite(data: Float32Array): number {
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (let i = 0; i < bits.length; i += 1) {
    if (((bits[i] as number) & 0x7f800000) === 0x7f800000) return i;
  }
  return -1;
}

let halves: Float32Array | undefined;

/** Every binary16 number as float32, made when the first is read. */
function halfTable(): Float32Array {
  halves ??= Float32Array.from({ length: 2 ** 16 }, (_, half) => fromHalf(half));
  return halves;
}
