import type { Data, DataType, Vector } from "apache-arrow";
import { InvalidInputError } from "crossrank";

// Rows of several record batches as one, byte for byte: a value that went through JavaScript's types could come back as
// another one (a timestamp in nanoseconds, a decimal).
//
// Nothing of apache-arrow is imported but types. It is a package in two copies, one for `import` and one for `require`,
// and LanceDB's writer knows the classes of its own copy alone: those are taken from the batches that it gives.

/** A row of one of the sources; undefined for null. */
export interface RowOf {
  /** Position in the sources. */
  readonly source: number;
  readonly row: number;
}

type Picks = readonly (RowOf | undefined)[];

/** Numbers of Arrow's types, as apache-arrow has them. */
const typeId = {
  dictionary: -1,
  null: 1,
  binary: 4,
  utf8: 5,
  bool: 6,
  list: 12,
  struct: 13,
  union: 14,
  fixedSizeList: 16,
  map: 17,
  largeBinary: 19,
  largeUtf8: 20,
} as const;

/**
 * The picked rows of the sources, which are of one type. A column with a dictionary becomes one of its values.
 *
 * @param name of the column, for the error.
 * @throws {InvalidInputError} for a union.
 */
export function take(sources: readonly Data[], picks: Picks, name: string): Data {
  const [first] = sources;
  if (first === undefined) throw new InvalidInputError(name, "has no rows of any batch");
  const { type } = first;
  const make = (parts: Partial<Parts>): Data => {
    const { bitmap, nullCount } = validity(sources, picks);
    const DataOf = first.constructor as DataConstructor;
    return new DataOf(
      type,
      0,
      picks.length,
      nullCount,
      [parts.offsets, parts.values, bitmap, undefined],
      parts.children,
    );
  };
  switch (type.typeId as number) {
    case typeId.null:
      return make({});
    case typeId.dictionary:
      return takeDecoded(sources, picks, name);
    case typeId.bool:
      return make({ values: takeBits(sources, picks) });
    case typeId.binary:
    case typeId.utf8:
    case typeId.largeBinary:
    case typeId.largeUtf8:
      return make(takeBytes(sources, picks));
    case typeId.list:
    case typeId.map:
      return make(takeLists(sources, picks, name));
    case typeId.fixedSizeList: {
      const { listSize } = type as DataType & { readonly listSize: number };
      const inner = picks.flatMap((pick) =>
        Array.from({ length: listSize }, (_, at) =>
          pick === undefined ? undefined : { source: pick.source, row: pick.row * listSize + at },
        ),
      );
      return make({ children: [take(childrenOf(sources, 0), inner, name)] });
    }
    case typeId.struct:
      return make({
        children: first.children.map((_, index) => take(childrenOf(sources, index), picks, name)),
      });
    case typeId.union:
      throw new InvalidInputError(name, "is a union, which cannot be put together. Select other columns");
    default:
      return make({ values: takeFixed(sources, picks) });
  }
}

/** A column of numbers, with null where there is none. `like` is of the type, and gives its class. */
export function numbersLike(like: Data, numbers: readonly (number | null)[]): Data {
  const values = Float32Array.from(numbers, (one) => one ?? 0);
  const bitmap = new Uint8Array((numbers.length + 7) >> 3);
  for (const [index, one] of numbers.entries()) if (one !== null) setBit(bitmap, index);
  const nullCount = numbers.filter((one) => one === null).length;
  const DataOf = like.constructor as DataConstructor;
  return new DataOf(like.type, 0, numbers.length, nullCount, [undefined, values, bitmap, undefined]);
}

interface Parts {
  readonly offsets: Int32Array | BigInt64Array;
  readonly values: unknown;
  readonly children: Data[];
}

type DataConstructor = new (
  type: DataType,
  offset: number,
  length: number,
  nullCount: number,
  buffers: readonly unknown[],
  children?: Data[],
) => Data;

const sourceOf = (sources: readonly Data[], { source }: RowOf): Data => sources[source] as Data;

const childrenOf = (sources: readonly Data[], index: number): Data[] =>
  sources.map(({ children }) => children[index] as Data);

const setBit = (bits: Uint8Array, index: number): void => {
  bits[index >> 3] = (bits[index >> 3] as number) | (1 << (index & 7));
};

const hasBit = (bits: Uint8Array, index: number): boolean =>
  ((bits[index >> 3] as number) & (1 << (index & 7))) !== 0;

function isValid({ nullBitmap, nullCount, offset, type }: Data, row: number): boolean {
  if ((type.typeId as number) === typeId.null) return false;
  if (nullCount === 0 || nullBitmap === undefined || nullBitmap.length === 0) return true;
  return hasBit(nullBitmap, offset + row);
}

function validity(sources: readonly Data[], picks: Picks): { bitmap: Uint8Array; nullCount: number } {
  const bitmap = new Uint8Array((picks.length + 7) >> 3);
  let nullCount = 0;
  for (const [index, pick] of picks.entries()) {
    if (pick !== undefined && isValid(sourceOf(sources, pick), pick.row)) setBit(bitmap, index);
    else nullCount += 1;
  }
  return { bitmap, nullCount };
}

function takeBits(sources: readonly Data[], picks: Picks): Uint8Array {
  const bits = new Uint8Array((picks.length + 7) >> 3);
  for (const [index, pick] of picks.entries()) {
    if (pick === undefined) continue;
    const { values, offset } = sourceOf(sources, pick);
    if (hasBit(values as Uint8Array, offset + pick.row)) setBit(bits, index);
  }
  return bits;
}

function takeFixed(sources: readonly Data[], picks: Picks): unknown {
  const [first] = sources as [Data];
  const { stride } = first;
  const Values = first.values.constructor as new (length: number) => Uint8Array;
  const values = new Values(picks.length * stride);
  for (const [index, pick] of picks.entries()) {
    if (pick === undefined) continue;
    const from = sourceOf(sources, pick).values as Uint8Array;
    values.set(from.subarray(pick.row * stride, (pick.row + 1) * stride), index * stride);
  }
  return values;
}

/** First and last offset of a row; both 0 for null. */
function rangeOf(sources: readonly Data[], pick: RowOf | undefined): [start: number, end: number] {
  if (pick === undefined) return [0, 0];
  const source = sourceOf(sources, pick);
  if (!isValid(source, pick.row)) return [0, 0];
  const offsets = source.valueOffsets as ArrayLike<number | bigint>;
  return [Number(offsets[pick.row]), Number(offsets[pick.row + 1])];
}

function offsetsOf(
  sources: readonly Data[],
  ranges: readonly [number, number][],
): Int32Array | BigInt64Array {
  const [first] = sources as [Data];
  const ends = [0];
  for (const [start, end] of ranges) ends.push((ends.at(-1) as number) + end - start);
  return (first.valueOffsets as unknown) instanceof BigInt64Array
    ? BigInt64Array.from(ends, BigInt)
    : Int32Array.from(ends);
}

function takeBytes(sources: readonly Data[], picks: Picks): Partial<Parts> {
  const ranges = picks.map((pick) => rangeOf(sources, pick));
  const offsets = offsetsOf(sources, ranges);
  const values = new Uint8Array(Number(offsets[picks.length]));
  for (const [index, pick] of picks.entries()) {
    if (pick === undefined) continue;
    const [start, end] = ranges[index] as [number, number];
    const from = sourceOf(sources, pick).values as Uint8Array;
    values.set(from.subarray(start, end), Number(offsets[index]));
  }
  return { offsets, values };
}

function takeLists(sources: readonly Data[], picks: Picks, name: string): Partial<Parts> {
  const ranges = picks.map((pick) => rangeOf(sources, pick));
  const inner = picks.flatMap((pick, index) => {
    const [start, end] = ranges[index] as [number, number];
    return Array.from({ length: end - start }, (_, at) => ({ source: pick?.source ?? 0, row: start + at }));
  });
  return { offsets: offsetsOf(sources, ranges), children: [take(childrenOf(sources, 0), inner, name)] };
}

/** Each batch brings a dictionary of its own, and two of them are not one. */
function takeDecoded(sources: readonly Data[], picks: Picks, name: string): Data {
  const chunks = sources.map(({ dictionary }) => (dictionary as Vector).data);
  const firstChunk = chunks.map((_, source) => chunks.slice(0, source).flat().length);
  const decoded = picks.map((pick) => {
    if (pick === undefined) return undefined;
    const source = sourceOf(sources, pick);
    if (!isValid(source, pick.row)) return undefined;
    let row = Number(source.values[pick.row]);
    let chunk = 0;
    const own = chunks[pick.source] as readonly Data[];
    for (; chunk < own.length && row >= (own[chunk] as Data).length; chunk += 1)
      row -= (own[chunk] as Data).length;
    return { source: (firstChunk[pick.source] as number) + chunk, row };
  });
  return take(chunks.flat(), decoded, name);
}
