import type { ElementType, ModelPackage, TensorType, Value } from "@crossrank/formats/mlpackage";
import { bytesOf, floatTensor, type StoredTensor } from "@crossrank/formats/onnx";

/** How a value is held in the ONNX graph, whatever its type in the program. */
export type Carrier = "float32" | "int32" | "bool";

/**
 * Half precision is carried as float32, which holds every half exactly, and narrow integers as int32.
 * @returns undefined for types that no program of an encoder computes with.
 */
export function carrierOf(element: ElementType): Carrier | undefined {
  return carriers[element];
}

const carriers: Readonly<Partial<Record<ElementType, Carrier>>> = {
  fp16: "float32",
  fp32: "float32",
  int32: "int32",
  int16: "int32",
  uint16: "int32",
  int8: "int32",
  uint8: "int32",
  bool: "bool",
};

/** Up to so many integers are read ahead: an operation's parameters may lie in the blob file, too. */
const parameterElements = 1024;

const piece = 1 << 20;

const views = {
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
} as const;

type IntegerElement = keyof typeof views;

const isInteger = (element: ElementType): element is IntegerElement => Object.hasOwn(views, element);

/** Short lists of integers in the program itself, wherever they lay; everything else as it is. */
export async function withParametersInPlace(model: ModelPackage, value: Value): Promise<Value> {
  const { type, content } = value;
  if (content.kind !== "blob" || type.kind !== "tensor" || !isInteger(type.element)) return value;
  if (countOf(type) > parameterElements) return value;
  const entry = await model.blob(content);
  const bytes = await entry.read(0, entry.byteLength);
  return { type, content: { kind: "immediate", values: [...numbersOf(bytes, type.element)] } };
}

/** A constant as it goes into the ONNX file. */
export interface StoredConstant {
  readonly tensor: StoredTensor;
  /** False where a Cast has to make the carrier of it. */
  readonly isCarrier: boolean;
}

/**
 * Halves stay halves in the file: it is no larger than the package, and of a table only the rows that are read become
 * float32.
 * @returns undefined for a type that has no carrier.
 */
export function storedConstant(
  model: ModelPackage,
  name: string,
  type: TensorType,
  { content }: Value,
): StoredConstant | undefined {
  const { element } = type;
  const dimensions = type.dimensions.filter((size) => size !== undefined);
  const carrier = carrierOf(element);
  if (carrier === undefined || content.kind === "other" || dimensions.length < type.dimensions.length) {
    return undefined;
  }
  if (content.kind === "immediate") {
    const numbers = content.values.map(Number);
    const tensor =
      carrier === "float32" ? floatTensor(name, numbers, dimensions) : int32Tensor(name, numbers, dimensions);
    return { tensor, isCarrier: carrier !== "bool" };
  }
  const chunks = async function* (): AsyncIterable<Uint8Array> {
    const entry = await model.blob(content);
    for (let from = 0; from < entry.byteLength; from += piece) {
      const bytes = await entry.read(from, Math.min(entry.byteLength, from + piece));
      yield isInteger(element) && element !== "int32"
        ? bytesOf(Int32Array.from(numbersOf(bytes, element)))
        : bytes;
    }
  };
  if (carrier === "bool") return undefined;
  const stored = element === "fp16" ? "float16" : carrier;
  return { tensor: { name, type: stored, dimensions, chunks }, isCarrier: stored === carrier };
}

export function int32Tensor(
  name: string,
  values: readonly number[],
  dimensions: readonly number[],
): StoredTensor {
  return {
    name,
    type: "int32",
    dimensions,
    async *chunks() {
      yield bytesOf(Int32Array.from(values));
    },
  };
}

function countOf({ dimensions }: TensorType): number {
  return dimensions.reduce<number>((product, size) => product * (size ?? Number.NaN), 1);
}

/** @param bytes fill a buffer of their own, so that they lie where a wider number may. */
function numbersOf(bytes: Uint8Array, element: IntegerElement): Iterable<number> & ArrayLike<number> {
  const view = views[element];
  return new view(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / view.BYTES_PER_ELEMENT);
}
