import type { ElementType } from "./program.js";

/**
 * Version 2 of a blob file, with little-endian numbers. Source: coremltools, mlmodel/src/MILBlob/Blob/StorageFormat.hpp
 * and BlobDataType.hpp (BSD-3). The codes from 8 on are not in every copy of that file: they were read from what the
 * writer of coremltools 9.0 stores.
 *
 * Header: count (4 bytes), version (4 bytes), 56 reserved. Then, each at a multiple of 64, an entry's metadata: sentinel
 * (4 bytes), type (4 bytes), size in bytes, place of its data and unused bits at its end (8 bytes each), 32 reserved;
 * and, at the next multiple of 64, the data.
 */
export const alignment = 64;
export const headerLength = 64;
export const metadataLength = 64;
export const sentinel = 0xdead_beef;
export const blobVersion = 2;

/** A program's way to say "beside model.mlmodel". */
export const modelFolderPrefix = "@model_path/";

/** Code and bits of an element. */
export const blobElements = {
  fp16: { code: 1, bits: 16 },
  fp32: { code: 2, bits: 32 },
  uint8: { code: 3, bits: 8 },
  int8: { code: 4, bits: 8 },
  bf16: { code: 5, bits: 16 },
  int16: { code: 6, bits: 16 },
  uint16: { code: 7, bits: 16 },
  int4: { code: 8, bits: 4 },
  uint1: { code: 9, bits: 1 },
  uint2: { code: 10, bits: 2 },
  uint4: { code: 11, bits: 4 },
  uint3: { code: 12, bits: 3 },
  uint6: { code: 13, bits: 6 },
  int32: { code: 14, bits: 32 },
  uint32: { code: 15, bits: 32 },
} as const;

export function isBlobElement(element: ElementType): element is keyof typeof blobElements {
  return Object.hasOwn(blobElements, element);
}

export function aligned(offset: number): number {
  return Math.ceil(offset / alignment) * alignment;
}
