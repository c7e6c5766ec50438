import { toHalves } from "../half.js";
import type { WriteProgress } from "../progress.js";
import { type Part, writeParts } from "../write-parts.js";
import { type CTranslate2Type, numberBytes } from "./header.js";
import { integerRows } from "./integer-rows.js";

/** A single number of the file: a flag, a count, the code of an activation. */
export interface CTranslate2Scalar {
  readonly name: string;
  readonly type: "int8" | "int16" | "int32" | "float32";
  readonly value: number;
}

/**
 * Numbers of the file, given row by row while they are written. In `int8` (matrices alone) they are integers, and the
 * rows' scales become another variable, `<name>_scale`.
 */
export interface CTranslate2Weight {
  readonly name: string;
  readonly type: "float32" | "float16" | "int8";
  readonly weight: {
    /** Row-major, of one or two dimensions. */
    readonly shape: readonly number[];
    /** Rows `from` to `to` (not included) of the first dimension. */
    rows(from: number, to: number): Promise<Float32Array>;
  };
}

/** Another name of a variable: CTranslate2 then knows that they are one. */
export interface CTranslate2Alias {
  readonly alias: string;
  readonly name: string;
}

/** A variable's numbers do not fit its type, or the format. */
export class VariableWriteError extends Error {
  readonly variable: string;
  constructor(variable: string, problem: string) {
    super(`${variable} ${problem}`);
    this.name = "VariableWriteError";
    this.variable = variable;
  }
}

/** Numbers of a weight in memory at a time, unless a single row has more. */
const chunkNumbers = 1 << 20;
/** A length in bytes has 32 bits. */
const mostBytes = 2 ** 32 - 1;

/**
 * Writes a model.bin of version 6, little-endian, its variables in the order of their names.
 *
 * @throws {VariableWriteError} where numbers do not fit.
 * @throws the signal's reason, once aborted; the file is then incomplete.
 */
export async function writeCTranslate2File(
  path: string,
  {
    spec,
    revision,
    variables,
    aliases = [],
  }: {
    readonly spec: string;
    readonly revision: number;
    readonly variables: readonly (CTranslate2Scalar | CTranslate2Weight)[];
    readonly aliases?: readonly CTranslate2Alias[] | undefined;
  },
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((progress: WriteProgress) => void) | undefined;
  } = {},
): Promise<void> {
  const entries = variables
    .flatMap((variable) => ("value" in variable ? [scalarEntry(variable)] : weightEntries(variable)))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const parts: Part[] = [
    joined([uint(4, 6), string(spec), uint(4, revision), uint(4, entries.length)]),
    ...entries.flatMap((entry) => [headOf(entry), entry.part]),
    joined([uint(4, aliases.length), ...aliases.flatMap(({ alias, name }) => [string(alias), string(name)])]),
  ];
  const total = parts.reduce((sum, { length }) => sum + length, 0);
  await writeParts({ path, parts, before: 0, total, signal: options.signal, onProgress: options.onProgress });
}

interface Entry {
  readonly name: string;
  readonly type: CTranslate2Type;
  readonly shape: readonly number[];
  readonly part: Part;
}

function scalarEntry({ name, type, value }: CTranslate2Scalar): Entry {
  const bytes = new Uint8Array(numberBytes[type]);
  const view = new DataView(bytes.buffer);
  if (type === "float32") view.setFloat32(0, value, true);
  else if (type === "int32") view.setInt32(0, value, true);
  else if (type === "int16") view.setInt16(0, value, true);
  else view.setInt8(0, value);
  return { name, type, shape: [], part: bytes };
}

function weightEntries({ name, type, weight }: CTranslate2Weight): readonly Entry[] {
  const { shape } = weight;
  const [rows = 1] = shape;
  const columns = shape.slice(1).reduce((product, length) => product * length, 1);
  const length = rows * columns * numberBytes[type];
  if (length > mostBytes)
    throw new VariableWriteError(name, `has ${length} bytes, and the format counts up to ${mostBytes}`);
  // Filled while the rows are written, which is before theirs are: the names say so.
  const scales = new Float32Array(type === "int8" ? rows : 0);
  const encode = (numbers: Float32Array, from: number): Uint8Array => {
    if (type === "float32") return bytesOf(numbers);
    if (type === "float16") {
      const halves = toHalves(numbers);
      if (halves === undefined) {
        throw new VariableWriteError(name, "holds a number beyond the range of half precision");
      }
      return bytesOf(halves);
    }
    const quantised = integerRows(numbers, columns);
    scales.set(quantised.scales, from);
    return bytesOf(quantised.integers);
  };
  const chunks = async function* (): AsyncIterable<Uint8Array> {
    const step = Math.max(1, Math.floor(chunkNumbers / columns));
    for (let from = 0; from < rows; from += step) {
      yield encode(await weight.rows(from, Math.min(rows, from + step)), from);
    }
  };
  const entry: Entry = { name, type, shape, part: { name, length, chunks } };
  if (type !== "int8") return [entry];
  const scale = `${name}_scale`;
  const written = async function* (): AsyncIterable<Uint8Array> {
    yield bytesOf(scales);
  };
  return [
    entry,
    { name: scale, type: "float32", shape: [rows], part: { name: scale, length: 4 * rows, chunks: written } },
  ];
}

function headOf({ name, type, shape, part }: Entry): Uint8Array {
  const code = ["float32", "int8", "int16", "int32", "float16", "bfloat16"].indexOf(type);
  return joined([
    string(name),
    uint(1, shape.length),
    ...shape.map((length) => uint(4, length)),
    uint(1, code),
    uint(4, part.length),
  ]);
}

/** The bytes' number is in front, and counts the zero behind them. */
function string(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  return joined([uint(2, bytes.length + 1), bytes, uint(1, 0)]);
}

function uint(width: 1 | 2 | 4, value: number): Uint8Array {
  const bytes = new Uint8Array(width);
  const view = new DataView(bytes.buffer);
  if (width === 4) view.setUint32(0, value, true);
  else if (width === 2) view.setUint16(0, value, true);
  else view.setUint8(0, value);
  return bytes;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** As the other writers do: on a processor that puts the high byte first, these would have to be turned. */
function bytesOf(numbers: Float32Array | Uint16Array | Int8Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}
