import { type ByteSource, withLocalFile } from "../byte-source.js";
import { type ElementType, elementOfCode } from "./element-types.js";
import { type GgmlType, ggmlTypes, removedTypes } from "./ggml-types.js";

/**
 * The head of a GGUF file, read without trust: it is read before llama.cpp sees the file, because llama.cpp aborts the
 * whole process on some malformed ones. Format: ggml's `docs/gguf.md`, versions 2 and 3, little-endian. Every count and
 * length is held against the file's size before anything is allocated for it.
 */
export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Where the tensors' data begin, in bytes. */
  readonly dataOffset: number;
}

export type GgufValue = number | bigint | boolean | string | GgufArray;

export interface GgufArray {
  readonly elementType: ElementType;
  readonly length: number;
  /**
   * The elements of an array of strings, decoded when asked for; `latin1` keeps every byte, so that two strings are
   * equal exactly where their bytes are. Empty for other arrays.
   */
  strings(encoding?: "utf8" | "latin1"): readonly string[];
  /** The elements of an array of numbers of at most 32 bits, or of bools as 0 and 1. Empty for other arrays. */
  numbers(): readonly number[];
}

export interface GgufTensor {
  /** Innermost first, as ggml has them: a (rows, columns) matrix is `[columns, rows]`. */
  readonly dimensions: readonly number[];
  readonly type: GgmlType;
  /** From the beginning of the data. */
  readonly offset: number;
  readonly byteLength: number;
}

/** What is wrong with a file, as a clause. */
export class GgufFormatError extends Error {
  constructor(problem: string) {
    super(problem);
    this.name = "GgufFormatError";
  }
}

/** The bytes at hand end before the head does, and the file goes on. */
class NeedsMoreBytes extends Error {}

/** More than any real one: Gemma's 262,144 tokens, their scores and merges take about 16 MB. */
const longestHeader = 64 << 20;
const firstRead = 1 << 20;
const mostEntries = 1 << 16;
/** llama.cpp's `GGML_MAX_NAME` (with its end) and `GGML_MAX_DIMS`. */
const longestTensorName = 63;
const mostDimensions = 4;
const longestKey = 65_535;
/** Of an array, and of all arrays of strings together: each string costs time, also an empty one. Gemma has 514,906 merges. */
const mostStrings = 1 << 20;
const mostStringsTogether = 1 << 21;
const mostNumbers = 1 << 22;
/** A chat template, a licence. */
const longestString = 16 << 20;

/**
 * @param from path of a file of this machine, or a file that lies elsewhere, of which its head alone is read.
 * @throws {GgufFormatError} when the file is no sound GGUF.
 */
export async function readGgufHeader(from: string | ByteSource): Promise<GgufHeader> {
  if (typeof from === "string") return withLocalFile(from, readGgufHeader);
  const { size } = from;
  let bytes = Buffer.alloc(0);
  for (let length = Math.min(firstRead, size); ; length = Math.min(4 * length, size, longestHeader)) {
    // Each read goes on from the one before.
    const more = await from.read(bytes.length, length);
    bytes = Buffer.concat([bytes, more]);
    try {
      return parseGgufHeader(bytes, size);
    } catch (error) {
      if (!(error instanceof NeedsMoreBytes)) throw error;
      if (bytes.length < length) throw cutOff();
      if (length === longestHeader) {
        throw new GgufFormatError(`its head is longer than ${longestHeader >> 20} MB`);
      }
    }
  }
}

/**
 * @param bytes the file from its beginning, all of its head.
 * @param fileSize bytes of the whole file.
 * @throws {GgufFormatError} when the head is not sound, or promises tensors that the file does not hold.
 */
export function parseGgufHeader(bytes: Buffer, fileSize: number): GgufHeader {
  const reader = new Reader(bytes, fileSize);
  const magic = reader.take(4).toString("latin1");
  if (magic !== "GGUF") {
    throw new GgufFormatError(
      magic === "vers" ? "it is a Git LFS pointer, not the file itself" : "it is no GGUF file",
    );
  }
  const version = reader.uint32();
  if (version !== 2 && version !== 3) {
    const swapped = version !== 0 && (version & 0xffff) === 0;
    throw new GgufFormatError(
      swapped ? "it is a big-endian GGUF file" : `its GGUF version is ${version}, not 2 or 3`,
    );
  }
  const tensorCount = reader.count("tensors", mostEntries);
  const entryCount = reader.count("metadata entries", mostEntries);
  const metadata = readMetadata(reader, entryCount);
  const alignment = alignmentOf(metadata);
  const listed = readTensorInfos(reader, tensorCount);
  const dataOffset = roundUp(reader.position, alignment);
  const tensors = placeTensors(listed, dataOffset, alignment, fileSize);
  const end = [...tensors.values()].at(-1);
  // Writers pad the last tensor too. Ours does for certain, so a file of ours that is short of that was cut.
  if (metadata.has("crossrank.version") && end !== undefined) {
    if (dataOffset + roundUp(end.offset + end.byteLength, alignment) > fileSize) {
      throw new GgufFormatError(`it is cut off behind byte ${fileSize}`);
    }
  }
  return { version, metadata, tensors, dataOffset };
}

function readMetadata(reader: Reader, count: number): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  for (let index = 0; index < count; index += 1) {
    const key = reader.string(longestKey, "a metadata key");
    if (metadata.has(key)) throw new GgufFormatError(`its metadata have "${printable(key)}" twice`);
    metadata.set(key, readValue(reader, key));
  }
  return metadata;
}

function readValue(reader: Reader, key: string): GgufValue {
  const { type } = elementTypeOf(reader.uint32(), key);
  switch (type) {
    case "uint8":
      return reader.take(1).readUInt8();
    case "int8":
      return reader.take(1).readInt8();
    case "uint16":
      return reader.take(2).readUInt16LE();
    case "int16":
      return reader.take(2).readInt16LE();
    case "uint32":
      return reader.uint32();
    case "int32":
      return reader.take(4).readInt32LE();
    case "float32":
      return reader.take(4).readFloatLE();
    case "bool":
      return reader.bool(key);
    case "string":
      return reader.string(longestString, `"${printable(key)}"`);
    case "uint64":
      return narrowed(reader.take(8).readBigUInt64LE());
    case "int64":
      return narrowed(reader.take(8).readBigInt64LE());
    case "float64":
      return reader.take(8).readDoubleLE();
    case "array":
      return readArray(reader, key);
  }
}

const readElement: Readonly<Partial<Record<ElementType, (bytes: Buffer, offset: number) => number>>> = {
  uint8: (bytes, offset) => bytes.readUInt8(offset),
  int8: (bytes, offset) => bytes.readInt8(offset),
  uint16: (bytes, offset) => bytes.readUInt16LE(offset),
  int16: (bytes, offset) => bytes.readInt16LE(offset),
  uint32: (bytes, offset) => bytes.readUInt32LE(offset),
  int32: (bytes, offset) => bytes.readInt32LE(offset),
  float32: (bytes, offset) => bytes.readFloatLE(offset),
  bool: (bytes, offset) => bytes.readUInt8(offset),
};

function readArray(reader: Reader, key: string): GgufArray {
  const { type: elementType, bytes: size } = elementTypeOf(reader.uint32(), key);
  if (elementType === "array") {
    throw new GgufFormatError(`"${printable(key)}" is an array of arrays, which llama.cpp does not read`);
  }
  const most = elementType === "string" ? mostStrings : mostNumbers;
  const length = reader.count(`elements of "${printable(key)}"`, most, size);
  if (elementType !== "string") {
    const bytes = reader.take(length * size);
    const read = readElement[elementType];
    return {
      elementType,
      length,
      strings: () => [],
      numbers: () =>
        read === undefined ? [] : Array.from({ length }, (_, index) => read(bytes, index * size)),
    };
  }
  const bytes = reader.takeStrings(length, `an element of "${printable(key)}"`);
  return {
    elementType,
    length,
    strings: (encoding = "utf8") => {
      let place = 0;
      return Array.from({ length }, () => {
        const start = place + 8;
        place = start + bytes.readUInt32LE(place);
        return bytes.toString(encoding, start, place);
      });
    },
    numbers: () => [],
  };
}

function elementTypeOf(number: number, key: string): { readonly type: ElementType; readonly bytes: number } {
  const found = elementOfCode(number);
  if (found === undefined) {
    throw new GgufFormatError(`"${printable(key)}" has the value type ${number}, which GGUF does not have`);
  }
  return found;
}

interface TensorInfo {
  readonly name: string;
  readonly dimensions: readonly number[];
  readonly type: GgmlType;
  readonly offset: number;
}

function readTensorInfos(reader: Reader, count: number): TensorInfo[] {
  return Array.from({ length: count }, () => {
    const name = reader.string(longestTensorName, "a tensor's name");
    const rank = reader.uint32();
    if (rank > mostDimensions) {
      throw new GgufFormatError(
        `tensor "${printable(name)}" has ${rank} dimensions, more than ${mostDimensions}`,
      );
    }
    const dimensions = Array.from({ length: rank }, () => reader.size(`tensor "${printable(name)}"`));
    const number = reader.uint32();
    const type = ggmlTypes.get(number);
    if (type === undefined) {
      const removed = removedTypes.get(number);
      throw new GgufFormatError(
        `tensor "${printable(name)}" has the type ${removed ?? number}, which ` +
          (removed === undefined ? "is not known" : "llama.cpp does not read any more"),
      );
    }
    return { name, dimensions, type, offset: reader.size(`tensor "${printable(name)}"`) };
  });
}

/** As llama.cpp's `gguf_init_from_file`: one behind the other in the order listed, each aligned. */
function placeTensors(
  listed: readonly TensorInfo[],
  dataOffset: number,
  alignment: number,
  fileSize: number,
): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  let expected = 0;
  for (const { name, dimensions, type, offset } of listed) {
    const what = `tensor "${printable(name)}"`;
    if (tensors.has(name)) throw new GgufFormatError(`it has ${what} twice`);
    const numbers = dimensions.reduce((product, size) => product * size, 1);
    const [rowLength = 1] = dimensions;
    if (numbers < 1 || rowLength % type.blockNumbers !== 0 || !Number.isSafeInteger(8 * numbers)) {
      throw new GgufFormatError(`${what} cannot have the shape ${dimensions.join(" × ")} in ${type.name}`);
    }
    const byteLength = (numbers / type.blockNumbers) * type.blockBytes;
    if (offset !== expected) {
      throw new GgufFormatError(`${what} is at byte ${offset} of the data, not ${expected}`);
    }
    if (dataOffset + offset + byteLength > fileSize) {
      throw new GgufFormatError(`it is cut off: ${what} ends behind the file's ${fileSize} bytes`);
    }
    tensors.set(name, { dimensions, type, offset, byteLength });
    expected = roundUp(offset + byteLength, alignment);
  }
  return tensors;
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>): number {
  const alignment = metadata.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || !(alignment > 0) || Math.log2(alignment) % 1 !== 0) {
    throw new GgufFormatError("general.alignment is no power of two");
  }
  return alignment;
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

function narrowed(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Names of an untrusted file, fit for a message. */
function printable(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return short.replace(/[^\x20-\x7e…]/g, "?");
}

function cutOff(): GgufFormatError {
  return new GgufFormatError("it is cut off in its head");
}

class Reader {
  readonly #bytes: Buffer;
  readonly #fileSize: number;
  #strings = 0;
  position = 0;

  constructor(bytes: Buffer, fileSize: number) {
    this.#bytes = bytes;
    this.#fileSize = fileSize;
  }

  take(length: number): Buffer {
    const end = this.position + length;
    this.#require(end);
    const taken = this.#bytes.subarray(this.position, end);
    this.position = end;
    return taken;
  }

  #require(end: number): void {
    if (end > this.#fileSize) throw cutOff();
    if (end > this.#bytes.length) throw new NeedsMoreBytes();
  }

  uint32(): number {
    return this.take(4).readUInt32LE();
  }

  bool(key: string): boolean {
    const value = this.take(1).readUInt8();
    if (value > 1) throw new GgufFormatError(`"${printable(key)}" is a bool of the value ${value}`);
    return value === 1;
  }

  /** A 64-bit size that fits a number. */
  size(what: string): number {
    const value = narrowed(this.take(8).readBigUInt64LE());
    if (typeof value === "bigint") throw new GgufFormatError(`${what} has a size of ${value}`);
    return value;
  }

  /** How many of something, each of `least` bytes or more, the rest of the file can hold. */
  count(what: string, most: number, least = 12): number {
    const value = this.size(what);
    if (value > most || value * least > this.#fileSize - this.position) {
      throw new GgufFormatError(`it promises ${value} ${what}, more than it can hold`);
    }
    return value;
  }

  stringBytes(longest: number, what: string): Buffer {
    const length = this.size(what);
    if (length > longest || length > this.#fileSize - this.position) {
      throw new GgufFormatError(`${what} has ${length} bytes, more than it can have`);
    }
    return this.take(length);
  }

  /** Strings one behind the other, each behind its length: passed over, and none is made. */
  takeStrings(count: number, what: string): Buffer {
    this.#strings += count;
    if (this.#strings > mostStringsTogether) {
      throw new GgufFormatError(`its arrays have more than ${mostStringsTogether} strings together`);
    }
    let place = this.position;
    for (let index = 0; index < count; index += 1) {
      this.#require(place + 8);
      // Without a bigint, of which there would be a million.
      const length = this.#bytes.readUInt32LE(place) + this.#bytes.readUInt32LE(place + 4) * 2 ** 32;
      if (length > this.#fileSize - place - 8) {
        throw new GgufFormatError(`${what} has ${length} bytes, more than it can have`);
      }
      place += 8 + length;
    }
    return this.take(place - this.position);
  }

  string(longest: number, what: string): string {
    return this.stringBytes(longest, what).toString("utf8");
  }
}
