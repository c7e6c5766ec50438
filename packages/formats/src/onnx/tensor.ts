/** Element types that are written. Values: `TensorProto.DataType` of onnx.proto. */
export const elementTypes = {
  float32: { code: 1, bytes: 4 },
  uint8: { code: 2, bytes: 1 },
  int8: { code: 3, bytes: 1 },
  int32: { code: 6, bytes: 4 },
  int64: { code: 7, bytes: 8 },
  float16: { code: 10, bytes: 2 },
} as const;

export type ElementType = keyof typeof elementTypes;

/** A tensor of the file, made while it is written. Little-endian, row-major. */
export interface StoredTensor {
  readonly name: string;
  readonly type: ElementType;
  readonly dimensions: readonly number[];
  /** All of its bytes, in order. */
  chunks(): AsyncIterable<Uint8Array>;
}

export function byteLength({ type, dimensions }: Pick<StoredTensor, "type" | "dimensions">): number {
  return elementTypes[type].bytes * dimensions.reduce((product, size) => product * size, 1);
}

export function integerTensor(
  name: string,
  values: readonly number[],
  dimensions: readonly number[],
): StoredTensor {
  return inMemory(name, "int64", dimensions, BigInt64Array.from(values, BigInt));
}

export function floatTensor(
  name: string,
  values: ArrayLike<number>,
  dimensions: readonly number[],
): StoredTensor {
  return inMemory(name, "float32", dimensions, Float32Array.from(values));
}

/** A number without dimensions. */
export function byteTensor(name: string, value: number): StoredTensor {
  return inMemory(name, "uint8", [], Uint8Array.of(value));
}

function inMemory(
  name: string,
  type: ElementType,
  dimensions: readonly number[],
  values: Float32Array | BigInt64Array | Uint8Array,
): StoredTensor {
  return {
    name,
    type,
    dimensions,
    async *chunks() {
      yield bytesOf(values);
    },
  };
}

/** Bytes of numbers. Every platform of Node.js is little-endian, as ONNX's raw data is. */
export function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
