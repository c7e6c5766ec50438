import { fromHalf } from "@crossrank/core/files";
import { type ByteSource, withLocalFile } from "../byte-source.js";

/** Types of numbers, in the order of their codes in a file: `DataType` in CTranslate2's types.h. */
const types = ["float32", "int8", "int16", "int32", "float16", "bfloat16"] as const;

export type CTranslate2Type = (typeof types)[number];

/** Bytes of a number. */
export const numberBytes: Readonly<Record<CTranslate2Type, number>> = {
  float32: 4,
  int8: 1,
  int16: 2,
  int32: 4,
  float16: 2,
  bfloat16: 2,
};

export interface CTranslate2Variable {
  readonly type: CTranslate2Type;
  /** Row-major; `[]` is a single number. */
  readonly shape: readonly number[];
  /** Of its first byte in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/**
 * What stands in a model.bin (version 6, little-endian) besides the numbers, read without trust: CTranslate2 itself
 * believes most of it. Layout: `ModelSpec._serialize` in CTranslate2's python/ctranslate2/specs/model_spec.py.
 */
export interface CTranslate2Header {
  /** E.g. `"TransformerEncoderSpec"`. */
  readonly spec: string;
  readonly revision: number;
  readonly variables: ReadonlyMap<string, CTranslate2Variable>;
  /** Further names of variables: name → the variable's own. */
  readonly aliases: ReadonlyMap<string, string>;
}

/** What is wrong with a file, as a clause. */
export class CTranslate2FormatError extends Error {
  constructor(problem: string) {
    super(problem);
    this.name = "CTranslate2FormatError";
  }
}

const version = 6;
/** Far beyond any real model's: each layer of an encoder has about 16. */
const mostVariables = 1 << 16;
const mostDimensions = 8;
const longestName = 256;
/** Read at a time: small variables lie one behind the other. */
const windowBytes = 1 << 16;

/**
 * @param from path of a file of this machine, or a file that lies elsewhere, of which no numbers are read.
 * @throws {CTranslate2FormatError} when the file is no sound model.bin.
 */
export async function readCTranslate2Header(from: string | ByteSource): Promise<CTranslate2Header> {
  if (typeof from === "string") return withLocalFile(from, readCTranslate2Header);
  const reader = new Reader(from);
  const found = await reader.uint32();
  if (found !== version) throw new CTranslate2FormatError(describeVersion(found));
  const spec = await reader.string();
  const revision = await reader.uint32();
  const count = await reader.uint32();
  if (count > mostVariables) throw new CTranslate2FormatError(`it declares ${count} variables`);
  const variables = new Map<string, CTranslate2Variable>();
  for (let index = 0; index < count; index += 1) {
    const name = await reader.string();
    if (variables.has(name)) throw new CTranslate2FormatError(`it has two variables ${name}`);
    variables.set(name, await reader.variable(name));
  }
  const aliasCount = await reader.uint32();
  if (aliasCount > mostVariables) throw new CTranslate2FormatError(`it declares ${aliasCount} aliases`);
  const aliases = new Map<string, string>();
  for (let index = 0; index < aliasCount; index += 1) {
    const [alias, name] = [await reader.string(), await reader.string()];
    if (variables.has(alias) || aliases.has(alias)) {
      throw new CTranslate2FormatError(`it has two variables ${alias}`);
    }
    if (!variables.has(name))
      throw new CTranslate2FormatError(`${alias} stands for ${name}, which is not there`);
    aliases.set(alias, name);
  }
  if (reader.at !== from.size) throw new CTranslate2FormatError("it goes on behind its last variable");
  return { spec, revision, variables, aliases };
}

/** A variable by its name or an alias. */
export function variableOf(
  { variables, aliases }: Pick<CTranslate2Header, "variables" | "aliases">,
  name: string,
): CTranslate2Variable | undefined {
  return variables.get(name) ?? variables.get(aliases.get(name) ?? "");
}

/**
 * A variable's numbers, for small ones.
 *
 * @throws {CTranslate2FormatError} when the file is shorter than it was.
 */
export async function readNumbers(
  from: string | ByteSource,
  { type, offset, byteLength }: CTranslate2Variable,
): Promise<Float32Array | Int8Array | Int16Array | Int32Array> {
  if (typeof from === "string") {
    return withLocalFile(from, (source) => readNumbers(source, { type, offset, byteLength, shape: [] }));
  }
  const bytes = await from.read(offset, offset + byteLength);
  if (bytes.length !== byteLength) throw new CTranslate2FormatError("it ends before its variables do");
  const view = new DataView(bytes.buffer, bytes.byteOffset, byteLength);
  const length = byteLength / numberBytes[type];
  const numbers = (read: (at: number) => number) => ({
    length,
    *[Symbol.iterator]() {
      for (let index = 0; index < length; index += 1) yield read(index * numberBytes[type]);
    },
  });
  switch (type) {
    case "float32":
      return Float32Array.from(numbers((at) => view.getFloat32(at, true)));
    case "float16":
      return Float32Array.from(numbers((at) => fromHalf(view.getUint16(at, true))));
    case "bfloat16": {
      const scratch = new DataView(new ArrayBuffer(4));
      return Float32Array.from(
        numbers((at) => {
          scratch.setUint32(0, view.getUint16(at, true) << 16);
          return scratch.getFloat32(0);
        }),
      );
    }
    case "int8":
      return Int8Array.from(numbers((at) => view.getInt8(at)));
    case "int16":
      return Int16Array.from(numbers((at) => view.getInt16(at, true)));
    case "int32":
      return Int32Array.from(numbers((at) => view.getInt32(at, true)));
  }
}

function describeVersion(found: number): string {
  return found >= 1 && found < version
    ? `it is of version ${found} of the format, and ${version} is read`
    : "it is no model.bin of CTranslate2";
}

/** Goes through a file in windows, and passes over what is not asked for. */
class Reader {
  readonly #source: ByteSource;
  #window: Uint8Array = new Uint8Array();
  #windowStart = 0;
  at = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  async #take(length: number): Promise<DataView> {
    const { size } = this.#source;
    if (length > size - this.at) throw new CTranslate2FormatError("it ends before its variables do");
    if (this.at < this.#windowStart || this.at + length > this.#windowStart + this.#window.length) {
      this.#window = await this.#source.read(
        this.at,
        Math.min(size, this.at + Math.max(windowBytes, length)),
      );
      this.#windowStart = this.at;
      if (this.#window.length < length) throw new CTranslate2FormatError("it ends before its variables do");
    }
    const start = this.#window.byteOffset + this.at - this.#windowStart;
    this.at += length;
    return new DataView(this.#window.buffer, start, length);
  }

  async uint32(): Promise<number> {
    return (await this.#take(4)).getUint32(0, true);
  }

  /** Its length counts a zero at its end. */
  async string(): Promise<string> {
    const length = (await this.#take(2)).getUint16(0, true);
    if (length < 2 || length > longestName)
      throw new CTranslate2FormatError(`it has a name of ${length} bytes`);
    const view = await this.#take(length);
    let text = "";
    for (let index = 0; index < length - 1; index += 1) {
      const code = view.getUint8(index);
      if (code < 0x20 || code > 0x7e) throw new CTranslate2FormatError("it has a name that is no text");
      text += String.fromCharCode(code);
    }
    if (view.getUint8(length - 1) !== 0) throw new CTranslate2FormatError("it has a name without its end");
    return text;
  }

  async variable(name: string): Promise<CTranslate2Variable> {
    const rank = (await this.#take(1)).getUint8(0);
    if (rank > mostDimensions) throw new CTranslate2FormatError(`${name} has ${rank} dimensions`);
    const view = await this.#take(4 * rank + 5);
    const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 * axis, true));
    const code = view.getUint8(4 * rank);
    const byteLength = view.getUint32(4 * rank + 1, true);
    const type = types[code];
    if (type === undefined) throw new CTranslate2FormatError(`${name} is of an unknown type, ${code}`);
    const numbers = shape.reduce((product, length) => product * length, 1);
    // Also where the product is beyond what a double counts exactly, it is not the length.
    if (numbers < 1 || numbers * numberBytes[type] !== byteLength) {
      throw new CTranslate2FormatError(`${name} does not fill its shape ${shape.join(" × ")}`);
    }
    const offset = this.at;
    if (byteLength > this.#source.size - offset) {
      throw new CTranslate2FormatError("it ends before its variables do");
    }
    this.at += byteLength;
    return { type, shape, offset, byteLength };
  }
}
