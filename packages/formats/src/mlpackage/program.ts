/**
 * An ML Program as data: what MIL.proto of coremltools (`mlmodel/format/MIL.proto`, BSD-3) can say of it. Names are
 * that file's, in full words. The one form that the reader makes, the writer takes, and everything in between reads.
 */
export interface Program {
  readonly version: number;
  /** By name; a model without multiple functions has `main`. */
  readonly functions: Readonly<Record<string, FunctionDefinition>>;
  readonly attributes: Readonly<Record<string, Value>>;
}

export interface FunctionDefinition {
  readonly inputs: readonly NamedType[];
  /** Operation set, e.g. `"CoreML7"` (iOS 17), `"CoreML8"` (iOS 18, macOS 15); names a key of `blocks`. */
  readonly opset: string;
  /** `block_specializations`: the body, by operation set. */
  readonly blocks: Readonly<Record<string, Block>>;
  readonly attributes: Readonly<Record<string, Value>>;
}

export interface Block {
  /** Empty but for nested blocks (`cond`, `while_loop`). */
  readonly inputs: readonly NamedType[];
  /** Names of values. */
  readonly outputs: readonly string[];
  /** In order: what an operation reads was made before it. */
  readonly operations: readonly Operation[];
  readonly attributes: Readonly<Record<string, Value>>;
}

export interface Operation {
  /** E.g. `"conv"`, `"const"`. */
  readonly type: string;
  readonly inputs: Readonly<Record<string, Argument>>;
  readonly outputs: readonly NamedType[];
  readonly blocks: readonly Block[];
  /** `name`, and of a `const` its `val`. */
  readonly attributes: Readonly<Record<string, Value>>;
}

/** One binding, or several for inputs that take a list (`concat`'s `values`). */
export type Argument = readonly Binding[];

/** Another operation's output or a function's input, by name; or a value written in place. */
export type Binding = { readonly name: string } | { readonly value: Value };

export interface NamedType {
  readonly name: string;
  readonly type: ValueType;
}

export type ValueType =
  | TensorType
  /** Lists, dictionaries, states: nothing of ours uses one. `as`: the field's name in MIL.proto. */
  | { readonly kind: "other"; readonly as: string };

export interface TensorType {
  readonly kind: "tensor";
  readonly element: ElementType;
  /** Undefined: not fixed. Empty: a scalar. */
  readonly dimensions: readonly (number | undefined)[];
}

/** `DataType` of MIL.proto. */
export type ElementType =
  | "bool"
  | "string"
  | "fp16"
  | "fp32"
  | "fp64"
  | "bf16"
  | "int4"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "uint1"
  | "uint2"
  | "uint3"
  | "uint4"
  | "uint6"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | `unknown-${number}`;

export interface Value {
  readonly type: ValueType;
  readonly content: ValueContent;
}

export type ValueContent =
  /**
   * In the program itself: one element a number, row-major, a scalar has one. fp16, which the file holds as bytes, is
   * decoded; 64-bit integers beyond 2^53 are refused by the reader.
   */
  | {
      readonly kind: "immediate";
      readonly values: readonly number[] | readonly boolean[] | readonly string[];
    }
  /** In the package's blob file: `offset` is where the entry's 64-byte metadata begins. */
  | { readonly kind: "blob"; readonly file: string; readonly offset: number }
  /** A tuple, list or dictionary of values. */
  | { readonly kind: "other"; readonly as: string };
