export type ElementType =
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "uint32"
  | "int32"
  | "float32"
  | "bool"
  | "string"
  | "array"
  | "uint64"
  | "int64"
  | "float64";

/**
 * Types of metadata: their number in a file (`enum gguf_type` in ggml's gguf.h), and the bytes of one; of a string and
 * an array those of its length at least.
 */
const elements: Readonly<Record<ElementType, { readonly code: number; readonly bytes: number }>> = {
  uint8: { code: 0, bytes: 1 },
  int8: { code: 1, bytes: 1 },
  uint16: { code: 2, bytes: 2 },
  int16: { code: 3, bytes: 2 },
  uint32: { code: 4, bytes: 4 },
  int32: { code: 5, bytes: 4 },
  float32: { code: 6, bytes: 4 },
  bool: { code: 7, bytes: 1 },
  string: { code: 8, bytes: 8 },
  array: { code: 9, bytes: 12 },
  uint64: { code: 10, bytes: 8 },
  int64: { code: 11, bytes: 8 },
  float64: { code: 12, bytes: 8 },
};

const byCode = new Map(
  (Object.keys(elements) as ElementType[]).map((type) => [elements[type].code, type] as const),
);

export function elementCode(type: ElementType): number {
  return elements[type].code;
}

/** @returns undefined where GGUF has no type of this number. */
export function elementOfCode(
  code: number,
): { readonly type: ElementType; readonly bytes: number } | undefined {
  const type = byCode.get(code);
  return type === undefined ? undefined : { type, bytes: elements[type].bytes };
}
