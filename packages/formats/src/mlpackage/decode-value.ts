import type { WireType } from "@bufbuild/protobuf/wire";
import { fromHalf } from "../half.js";
import { beyond, type Decoder, MessageProblem, once } from "./decoder.js";
import {
  blobFields,
  dimensionFields,
  elementCodes,
  entryFields,
  immediateFields,
  immediateKinds,
  namedTypeFields,
  nameOf,
  tensorTypeFields,
  tensorValueFields,
  valueFields,
  valueTypeFields,
  valueTypeKinds,
} from "./fields.js";
import type { ElementType, NamedType, TensorType, Value, ValueContent, ValueType } from "./program.js";

/** A map's entry, added to what was read before. */
export function decodeEntry<Content>(
  decoder: Decoder,
  wire: WireType,
  into: Map<string, Content>,
  decodeContent: (wire: WireType) => Content,
): void {
  decoder.count("entries");
  let key = "";
  let content: Content | undefined;
  decoder.message(wire, (field, inner) => {
    if (field === entryFields.key) key = decoder.text(inner);
    else if (field === entryFields.value) content = once("value", content, decodeContent(inner));
    else return false;
  });
  if (content === undefined) throw new MessageProblem(`is damaged: its entry ${key} is empty`);
  if (into.has(key)) throw new MessageProblem(`is damaged: it has two entries ${key} where one belongs`);
  into.set(key, content);
}

/** Name and type of an input or output. */
export function decodeNamedType(decoder: Decoder, wire: WireType): NamedType {
  decoder.count("entries");
  let name = "";
  let type: ValueType | undefined;
  decoder.message(wire, (field, inner) => {
    if (field === namedTypeFields.name) name = decoder.text(inner);
    else if (field === namedTypeFields.type) type = once("type", type, decodeValueType(decoder, inner));
    else return false;
  });
  return { name, type: type ?? { kind: "other", as: "" } };
}

function decodeValueType(decoder: Decoder, wire: WireType): ValueType {
  decoder.count("entries");
  let type: ValueType | undefined;
  decoder.message(wire, (field, inner) => {
    if (field === valueTypeFields.tensor) type = once("type", type, decodeTensorType(decoder, inner));
    else if (valueTypeKinds[field] !== undefined) {
      type = once("type", type, { kind: "other", as: valueTypeKinds[field] });
      return false;
    } else return false;
  });
  return type ?? { kind: "other", as: "" };
}

function decodeTensorType(decoder: Decoder, wire: WireType): ValueType {
  let element = 0;
  let rank = 0;
  const dimensions: (number | undefined)[] = [];
  decoder.message(wire, (field, inner) => {
    if (field === tensorTypeFields.dataType) element = decoder.integer32(inner);
    else if (field === tensorTypeFields.rank) rank = decoder.integer64(inner, true);
    else if (field === tensorTypeFields.dimensions) {
      dimensions.push(decodeDimension(decoder, inner));
      if (dimensions.length > decoder.limits.rank)
        throw beyond(`has a tensor of more than ${decoder.limits.rank} dimensions`, "rank");
    } else return false;
  });
  // A rank below nothing: not even the number of dimensions is fixed (TensorType of MIL.proto).
  if (rank < 0) return { kind: "other", as: "tensorType" };
  if (rank !== dimensions.length)
    throw new MessageProblem(`is damaged: a tensor of rank ${rank} has ${dimensions.length} dimensions`);
  return { kind: "tensor", element: nameOf(elementCodes, element), dimensions };
}

function decodeDimension(decoder: Decoder, wire: WireType): number | undefined {
  decoder.count("entries");
  let size: number | undefined;
  decoder.message(wire, (field, inner) => {
    if (field !== dimensionFields.constant) return false;
    let constant = 0;
    decoder.message(inner, (part, innermost) => {
      if (part !== dimensionFields.size) return false;
      constant = decoder.integer64(innermost, false);
    });
    size = once("constant", size, constant);
  });
  return size;
}

/** A value. Lists, dictionaries and tuples are named and passed over. */
export function decodeValue(decoder: Decoder, wire: WireType): Value {
  decoder.count("entries");
  let type: ValueType | undefined;
  let content: StoredTensorValue | ValueContent | undefined;
  decoder.message(wire, (field, inner) => {
    if (field === valueFields.type) type = once("type", type, decodeValueType(decoder, inner));
    else if (field === valueFields.immediate)
      content = once("value", content, decodeImmediate(decoder, inner));
    else if (field === valueFields.blob) content = once("value", content, decodeBlob(decoder, inner));
    else return false;
  });
  const known: ValueType = type ?? { kind: "other", as: "" };
  content ??= { kind: "other", as: "" };
  return { type: known, content: content.kind === "stored" ? interpret(content, known) : content };
}

function decodeBlob(decoder: Decoder, wire: WireType): ValueContent {
  let file = "";
  let offset = 0;
  decoder.message(wire, (field, inner) => {
    if (field === blobFields.fileName) file = decoder.text(inner);
    else if (field === blobFields.offset) offset = decoder.integer64(inner, false);
    else return false;
  });
  return { kind: "blob", file, offset };
}

/** A TensorValue as the file holds it: what it means depends on the value's type. */
interface StoredTensorValue {
  readonly kind: "stored";
  readonly as: Exclude<keyof typeof tensorValueFields, "values">;
  readonly numbers: readonly number[];
  readonly texts: readonly string[];
  readonly bytes: Uint8Array;
}

function decodeImmediate(decoder: Decoder, wire: WireType): StoredTensorValue | ValueContent {
  let content: StoredTensorValue | ValueContent | undefined;
  decoder.message(wire, (field, inner) => {
    if (field === immediateFields.tensor) content = once("tensor", content, decodeTensor(decoder, inner));
    else if (immediateKinds[field] !== undefined) {
      content = once("value", content, { kind: "other", as: immediateKinds[field] });
      return false;
    } else return false;
  });
  return content ?? { kind: "other", as: "" };
}

function decodeTensor(decoder: Decoder, wire: WireType): StoredTensorValue | ValueContent {
  let content: StoredTensorValue | undefined;
  decoder.message(wire, (field, inner) => {
    const as = tensorMembers.find((member) => tensorValueFields[member] === field);
    if (as === undefined) return false;
    content = once("value", content, decodeMember(decoder, inner, as));
  });
  return content ?? { kind: "other", as: "tensor" };
}

const tensorMembers = ["floats", "ints", "bools", "strings", "longInts", "doubles", "bytes"] as const;

const memberNumbers = {
  floats: "float",
  ints: "int32",
  bools: "bool",
  longInts: "int64",
  doubles: "double",
} as const;

function decodeMember(decoder: Decoder, wire: WireType, as: StoredTensorValue["as"]): StoredTensorValue {
  const numbers: number[] = [];
  const texts: string[] = [];
  let bytes = new Uint8Array();
  decoder.message(wire, (field, inner) => {
    if (field !== tensorValueFields.values) return false;
    if (as === "strings") {
      decoder.count("immediateElements");
      texts.push(decoder.text(inner));
    } else if (as === "bytes") {
      bytes = decoder.bytes(inner) as Uint8Array<ArrayBuffer>;
      decoder.count("immediateElements", bytes.length);
    } else {
      decoder.numbers(inner, memberNumbers[as], (number) => {
        decoder.count("immediateElements");
        numbers.push(number);
      });
    }
  });
  return { kind: "stored", as, numbers, texts, bytes };
}

/** Integers that a member of TensorValue holds: coremltools/converters/mil/backend/mil/helper.py says which for which type. */
export const integerRanges: Readonly<Record<string, readonly [number, number]>> = {
  int8: [-(2 ** 7), 2 ** 7 - 1],
  int16: [-(2 ** 15), 2 ** 15 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  uint8: [0, 2 ** 8 - 1],
  uint16: [0, 2 ** 16 - 1],
  uint32: [0, 2 ** 32 - 1],
  uint64: [0, Number.MAX_SAFE_INTEGER],
};

function interpret(stored: StoredTensorValue, type: ValueType): ValueContent {
  if (type.kind !== "tensor") throw new MessageProblem("is damaged: a tensor's value has no tensor's type");
  const values = valuesOf(stored, type.element);
  if (values === undefined) return { kind: "other", as: stored.as };
  const elements = elementsOf(type);
  if (elements !== undefined && values.length !== elements)
    throw new MessageProblem(
      `is damaged: a value of shape (${type.dimensions.join(", ")}) has ${values.length} elements`,
    );
  return { kind: "immediate", values };
}

/** @returns undefined for element types whose packing is not read: below a byte, bfloat16, and those not known. */
function valuesOf(
  { as, numbers, texts, bytes }: StoredTensorValue,
  element: ElementType,
): readonly number[] | readonly boolean[] | readonly string[] | undefined {
  const pair = `${element} in ${as}`;
  if (pair === "fp32 in floats" || pair === "fp64 in doubles") return numbers;
  if (pair === "bool in bools") return numbers.map((number) => number !== 0);
  if (pair === "string in strings") return texts;
  const range = integerRanges[element];
  if (range !== undefined && (as === "ints" || as === "longInts")) {
    const [lowest, highest] = range;
    for (const number of numbers)
      if (number < lowest || number > highest)
        throw new MessageProblem(`is damaged: ${number} is no ${element}`);
    return numbers;
  }
  if (as === "bytes") return fromBytes(bytes, element);
  if (isReadElsewhere(element)) throw new MessageProblem(`is damaged: it holds ${pair}`);
  return undefined;
}

function isReadElsewhere(element: ElementType): boolean {
  return integerRanges[element] !== undefined || ["fp16", "fp32", "fp64", "bool", "string"].includes(element);
}

const byteReaders: Readonly<Record<string, readonly [number, (view: DataView, at: number) => number]>> = {
  fp16: [2, (view, at) => fromHalf(view.getUint16(at, true))],
  int8: [1, (view, at) => view.getInt8(at)],
  uint8: [1, (view, at) => view.getUint8(at)],
  int16: [2, (view, at) => view.getInt16(at, true)],
  uint16: [2, (view, at) => view.getUint16(at, true)],
  int32: [4, (view, at) => view.getInt32(at, true)],
  uint32: [4, (view, at) => view.getUint32(at, true)],
};

function fromBytes(bytes: Uint8Array, element: ElementType): readonly number[] | undefined {
  const reader = byteReaders[element];
  if (reader === undefined) {
    if (isReadElsewhere(element)) throw new MessageProblem(`is damaged: it holds ${element} in bytes`);
    return undefined;
  }
  const [width, read] = reader;
  if (bytes.length % width !== 0) throw new MessageProblem(`is damaged: half of a ${element} is missing`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / width }, (_, index) => read(view, index * width));
}

/**
 * Product of a type's dimensions.
 * @returns undefined where one is not fixed.
 * @throws {MessageProblem} beyond 2^53.
 */
export function elementsOf({ dimensions }: TensorType): number | undefined {
  let product = 1;
  for (const size of dimensions) {
    if (size === undefined) return undefined;
    product *= size;
    if (!Number.isSafeInteger(product))
      throw new MessageProblem(`is damaged: no tensor has the shape (${dimensions.join(", ")})`);
  }
  return product;
}
