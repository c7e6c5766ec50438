import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { ModelPackageError } from "./errors.js";
import type { Limits } from "./limits.js";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What is wrong with a message; {@link decodeWithin} says in which file. */
export class MessageProblem extends Error {
  readonly fix: string;
  constructor(problem: string, fix = "Download or convert it again") {
    super(problem);
    this.fix = fix;
  }
}

/** Reads the next field's content, or returns `false` to have it skipped. Anything else counts as read. */
export type FieldReader = (field: number, wire: WireType) => unknown;

/** A protobuf message that is not trusted: everything is counted against the limits before memory is taken for it. */
export class Decoder {
  readonly limits: Limits;
  readonly #reader: BinaryReader;
  /** How much was read, by limit. */
  readonly #used = { operations: 0, entries: 0, immediateElements: 0 };
  /** Where the message ends that is being read. */
  #end: number;

  constructor(bytes: Uint8Array, limits: Limits, before?: Decoder) {
    this.limits = limits;
    this.#reader = new BinaryReader(bytes);
    this.#end = bytes.length;
    if (before !== undefined) this.#used = before.#used;
  }

  /** Counts against a limit of the whole file. */
  count(what: "operations" | "entries" | "immediateElements", amount = 1): void {
    this.#used[what] += amount;
    if (this.#used[what] > this.limits[what])
      throw beyond(`has more than ${this.limits[what]} ${limitNames[what]}`, what);
  }

  /** All fields of the message that the whole input is. */
  root(read: FieldReader): void {
    this.#fields(read);
  }

  /** All fields of a message within this one. */
  message(wire: WireType, read: FieldReader): void {
    const outer = this.#enter(wire);
    this.#fields(read);
    this.#end = outer;
  }

  text(wire: WireType): string {
    const bytes = this.bytes(wire);
    if (bytes.length > this.limits.textBytes)
      throw beyond(
        `holds a text of ${bytes.length} bytes, and ${this.limits.textBytes} are allowed`,
        "textBytes",
      );
    try {
      return utf8.decode(bytes);
    } catch {
      throw new MessageProblem("is damaged: a text of it is no UTF-8");
    }
  }

  /** A view of the input. */
  bytes(wire: WireType): Uint8Array {
    expectWire(wire, WireType.LengthDelimited);
    const bytes = this.#reader.bytes();
    this.#check();
    return bytes;
  }

  /** An int32 or the number of an enumeration. */
  integer32(wire: WireType): number {
    expectWire(wire, WireType.Varint);
    return this.#reader.int32();
  }

  boolean(wire: WireType): boolean {
    expectWire(wire, WireType.Varint);
    return this.#reader.bool();
  }

  /** An int64 or uint64, which JavaScript's numbers hold exactly up to 2^53. */
  integer64(wire: WireType, signed: boolean): number {
    expectWire(wire, WireType.Varint);
    const number = Number(signed ? this.#reader.int64() : this.#reader.uint64());
    if (!Number.isSafeInteger(number))
      throw new MessageProblem(
        "holds an integer beyond 2^53, which is not read exactly",
        "Convert the model again without 64-bit integers",
      );
    return number;
  }

  /** A repeated number, packed into one field or not: both are valid. */
  numbers(wire: WireType, kind: NumberKind, add: (number: number) => void): void {
    const { unit, width } = packedKinds[kind];
    const read = (): number => {
      if (kind === "float") return this.#reader.float();
      if (kind === "double") return this.#reader.double();
      if (kind === "int32") return this.#reader.int32();
      if (kind === "bool") return Number(this.#reader.bool());
      return this.integer64(WireType.Varint, true);
    };
    if (wire === unit) {
      add(read());
      return;
    }
    const outer = this.#enter(wire);
    if ((this.#end - this.#reader.pos) % width !== 0)
      throw new MessageProblem("is damaged: a list of numbers ends within one");
    while (this.#reader.pos < this.#end) {
      add(read());
      this.#check();
    }
    this.#end = outer;
  }

  #fields(read: FieldReader): void {
    const end = this.#end;
    while (this.#reader.pos < end) {
      const [field, wire] = this.#reader.tag();
      // Groups nest without a length and left protobuf before Core ML was: no file has one.
      if (wire === WireType.StartGroup || wire === WireType.EndGroup)
        throw new MessageProblem("is damaged: it holds a protobuf group");
      if (read(field, wire) === false) this.#reader.skip(wire, field);
      this.#check();
    }
  }

  /** Into a length-delimited field. @returns where the message around it ends. */
  #enter(wire: WireType): number {
    expectWire(wire, WireType.LengthDelimited);
    const length = this.#reader.uint32();
    const outer = this.#end;
    const end = this.#reader.pos + length;
    if (end > outer) throw cutShort();
    this.#end = end;
    return outer;
  }

  /** A field that ran over its message's end was read from its neighbour. */
  #check(): void {
    if (this.#reader.pos > this.#end) throw cutShort();
  }
}

/** Protobuf types of repeated numbers. */
export type NumberKind = "float" | "double" | "int32" | "int64" | "bool";

/** How one is written by itself, and its bytes; 1 for a varint, which has at least that. */
const packedKinds: Readonly<Record<NumberKind, { readonly unit: WireType; readonly width: number }>> = {
  float: { unit: WireType.Bit32, width: 4 },
  double: { unit: WireType.Bit64, width: 8 },
  int32: { unit: WireType.Varint, width: 1 },
  int64: { unit: WireType.Varint, width: 1 },
  bool: { unit: WireType.Varint, width: 1 },
};

const limitNames = {
  operations: "operations",
  entries: "values, types and so on",
  immediateElements: "numbers and texts written in the program",
} as const;

/** Runs a decoder and names the file in what it throws. */
export function decodeWithin<Result>(path: string, decode: () => Result): Result {
  try {
    return decode();
  } catch (cause) {
    if (cause instanceof MessageProblem)
      throw new ModelPackageError({ path, problem: cause.message, fix: cause.fix }, { cause });
    // What the protobuf library throws on bytes that are no message; a TypeError would be a fault of ours.
    if (cause instanceof Error && (cause.constructor === Error || cause.constructor === RangeError)) {
      throw new ModelPackageError(
        { path, problem: `is damaged or cut short (${cause.message})`, fix: "Download or convert it again" },
        { cause },
      );
    }
    throw cause;
  }
}

/** @param limit a field of Limits. */
export function beyond(problem: string, limit: keyof Limits): MessageProblem {
  return new MessageProblem(problem, `If the file is to be trusted, raise limits.${limit}`);
}

/** For a message that may be there once; protobuf would merge two, which no writer means. */
export function once<Content>(name: string, before: Content | undefined, content: Content): Content {
  if (before !== undefined)
    throw new MessageProblem(`is damaged: it has two fields ${name} where one belongs`);
  return content;
}

function expectWire(wire: WireType, expected: WireType): void {
  if (wire !== expected) throw new MessageProblem("is damaged: a field is not of its type");
}

function cutShort(): MessageProblem {
  return new MessageProblem("is damaged or cut short: a field reaches beyond the end of its message");
}
