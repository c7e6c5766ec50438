import { type BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { toHalf } from "../half.js";
import { elementsOf, integerRanges } from "./decode-value.js";
import {
  argumentFields,
  blobFields,
  codeOf,
  dimensionFields,
  elementCodes,
  entryFields,
  immediateFields,
  namedTypeFields,
  tensorTypeFields,
  tensorValueFields,
  valueFields,
  valueTypeFields,
} from "./fields.js";
import type { Argument, ElementType, NamedType, Value, ValueContent, ValueType } from "./program.js";

/** Everything of a message that is length-delimited: `write` writes what is in it. */
export function nested(writer: BinaryWriter, field: number, write: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write();
  writer.join();
}

export function text(writer: BinaryWriter, field: number, value: string): void {
  writer.tag(field, WireType.LengthDelimited).string(value);
}

/** A map, by sorted keys: equal models have equal bytes. */
export function map<Content>(
  writer: BinaryWriter,
  field: number,
  entries: Readonly<Record<string, Content>>,
  write: (field: number, content: Content) => void,
): void {
  for (const key of Object.keys(entries).sort()) {
    nested(writer, field, () => {
      text(writer, entryFields.key, key);
      write(entryFields.value, entries[key] as Content);
    });
  }
}

export function encodeNamedType(writer: BinaryWriter, field: number, { name, type }: NamedType): void {
  nested(writer, field, () => {
    text(writer, namedTypeFields.name, name);
    encodeValueType(writer, namedTypeFields.type, type, name);
  });
}

function encodeValueType(writer: BinaryWriter, field: number, type: ValueType, name: string): void {
  if (type.kind !== "tensor")
    throw new Error(`${name} is a ${type.as || "value without a type"}, which is not written`);
  const code = codeOf(elementCodes, type.element);
  if (code === undefined) throw new Error(`${name} has the type ${type.element}, which is not known`);
  nested(writer, field, () =>
    nested(writer, valueTypeFields.tensor, () => {
      writer.tag(tensorTypeFields.dataType, WireType.Varint).int32(code);
      if (type.dimensions.length > 0)
        writer.tag(tensorTypeFields.rank, WireType.Varint).int64(type.dimensions.length);
      for (const size of type.dimensions) {
        nested(writer, tensorTypeFields.dimensions, () =>
          size === undefined
            ? nested(writer, dimensionFields.unknown, () => {})
            : nested(writer, dimensionFields.constant, () => {
                writer.tag(dimensionFields.size, WireType.Varint).uint64(size);
              }),
        );
      }
    }),
  );
}

export function encodeArgument(writer: BinaryWriter, field: number, argument: Argument, name: string): void {
  nested(writer, field, () => {
    for (const binding of argument) {
      nested(writer, argumentFields.arguments, () => {
        if ("name" in binding) text(writer, argumentFields.name, binding.name);
        else encodeValue(writer, argumentFields.value, binding.value, name);
      });
    }
  });
}

/** @param name for the error. @throws {Error} for a value that contradicts its type, or that is not written. */
export function encodeValue(writer: BinaryWriter, field: number, value: Value, name: string): void {
  const { type, content } = value;
  nested(writer, field, () => {
    encodeValueType(writer, valueFields.type, type, name);
    if (content.kind === "blob") {
      nested(writer, valueFields.blob, () => {
        text(writer, blobFields.fileName, content.file);
        writer.tag(blobFields.offset, WireType.Varint).uint64(content.offset);
      });
      return;
    }
    if (content.kind === "other" || type.kind !== "tensor")
      throw new Error(
        `${name} holds a ${content.kind === "other" ? content.as : "value"}, which is not written`,
      );
    if (elementsOf(type) !== content.values.length)
      throw new Error(
        `${name} has ${content.values.length} values for its shape (${type.dimensions.join(", ")})`,
      );
    nested(writer, valueFields.immediate, () =>
      nested(writer, immediateFields.tensor, () => encodeTensor(writer, type.element, content, name)),
    );
  });
}

/** The member of TensorValue that coremltools stores a type in: converters/mil/backend/mil/helper.py. */
const members: Partial<Record<ElementType, Exclude<keyof typeof tensorValueFields, "values">>> = {
  bool: "bools",
  string: "strings",
  fp16: "bytes",
  fp32: "floats",
  fp64: "doubles",
  int8: "bytes",
  uint8: "bytes",
  uint32: "bytes",
  int16: "ints",
  uint16: "ints",
  int32: "ints",
  int64: "longInts",
  uint64: "longInts",
};

function encodeTensor(
  writer: BinaryWriter,
  element: ElementType,
  { values }: Extract<ValueContent, { kind: "immediate" }>,
  name: string,
): void {
  const member = members[element];
  if (member === undefined) throw new Error(`${name} has the type ${element}, which is not written in place`);
  const kind = member === "bools" ? "boolean" : member === "strings" ? "string" : "number";
  for (const value of values)
    if (typeof value !== kind)
      throw new Error(`${name} holds ${JSON.stringify(value)}, which is no ${element}`);
  const [lowest, highest] = integerRanges[element] ?? [];
  if (lowest !== undefined && highest !== undefined)
    for (const value of values as readonly number[])
      if (!Number.isSafeInteger(value) || value < lowest || value > highest)
        throw new Error(`${name} holds ${value}, which is no ${element}`);
  nested(writer, tensorValueFields[member], () => {
    if (values.length === 0) return;
    if (member === "strings") {
      for (const value of values as readonly string[]) text(writer, tensorValueFields.values, value);
      return;
    }
    nested(writer, tensorValueFields.values, () => {
      if (member === "bytes") writer.raw(toBytes(values as readonly number[], element, name));
      else if (member === "bools") for (const value of values) writer.bool(value === true);
      else
        for (const value of values as readonly number[]) {
          if (member === "floats") writer.float(value);
          else if (member === "doubles") writer.double(value);
          else if (member === "ints") writer.int32(value);
          else writer.int64(value);
        }
    });
  });
}

function toBytes(values: readonly number[], element: ElementType, name: string): Uint8Array {
  const width = element === "fp16" ? 2 : element === "uint32" ? 4 : 1;
  const view = new DataView(new ArrayBuffer(values.length * width));
  for (const [index, value] of values.entries()) {
    if (element === "fp16") view.setUint16(index * width, halfOf(value, name), true);
    else if (element === "uint32") view.setUint32(index * width, value, true);
    else view.setUint8(index, value & 0xff);
  }
  return new Uint8Array(view.buffer);
}

/** Rounded to the nearest. */
function halfOf(value: number, name: string): number {
  if (Number.isNaN(value)) return 0x7e00;
  if (!Number.isFinite(value)) return value > 0 ? 0x7c00 : 0xfc00;
  const half = toHalf(value);
  if (half === undefined) throw new Error(`${name} holds ${value}, which is beyond half precision`);
  return half;
}
