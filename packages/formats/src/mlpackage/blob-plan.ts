import type { Part } from "../write-parts.js";
import {
  aligned,
  blobElements,
  blobVersion,
  headerLength,
  metadataLength,
  modelFolderPrefix,
  sentinel,
} from "./blob-format.js";
import type { BlobContent } from "./package.js";

/** Element types that the writer stores in a blob file. */
export type BlobElement = keyof typeof blobElements;

/** A weight, made while it is written. */
export interface BlobTensor {
  /** Not stored: by it `planBlobs` tells where the tensor lies. */
  readonly name: string;
  readonly element: BlobElement;
  readonly dimensions: readonly number[];
  /** All of its bytes, little-endian, row-major; of elements below a byte, the first lies in the lowest bits. */
  chunks(): AsyncIterable<Uint8Array>;
}

export interface BlobPlan {
  /** By name, what a program says of the tensor. */
  readonly values: ReadonlyMap<string, BlobContent>;
  /** Bytes of the blob file. */
  readonly total: number;
}

/** Where the blob file lies, beside model.mlmodel. */
export const blobFile = "weights/weight.bin";

/** Places tensors one behind the other, as {@link writeModelPackage} writes them. @throws {Error} for a name given twice. */
export function planBlobs(tensors: readonly Omit<BlobTensor, "chunks">[]): BlobPlan {
  const values = new Map<string, BlobContent>();
  let end = headerLength;
  for (const tensor of tensors) {
    if (values.has(tensor.name)) throw new Error(`two tensors are named ${tensor.name}`);
    const offset = aligned(end);
    values.set(tensor.name, { kind: "blob", file: modelFolderPrefix + blobFile, offset });
    end = offset + metadataLength + blobLength(tensor);
  }
  return { values, total: end };
}

/** The blob file's content. */
export function blobParts(tensors: readonly BlobTensor[]): readonly Part[] {
  const header = new DataView(new ArrayBuffer(headerLength));
  header.setUint32(0, tensors.length, true);
  header.setUint32(4, blobVersion, true);
  const parts: Part[] = [bytesOf(header)];
  let end = headerLength;
  for (const tensor of tensors) {
    const offset = aligned(end);
    if (offset > end) parts.push(new Uint8Array(offset - end));
    const length = blobLength(tensor);
    const metadata = new DataView(new ArrayBuffer(metadataLength));
    metadata.setUint32(0, sentinel, true);
    metadata.setUint32(4, blobElements[tensor.element].code, true);
    metadata.setBigUint64(8, BigInt(length), true);
    metadata.setBigUint64(16, BigInt(offset + metadataLength), true);
    metadata.setBigUint64(24, BigInt(length * 8 - bitsOf(tensor)), true);
    parts.push(bytesOf(metadata), { name: tensor.name, length, chunks: () => tensor.chunks() });
    end = offset + metadataLength + length;
  }
  return parts;
}

type Extent = Pick<BlobTensor, "element" | "dimensions">;

function blobLength(tensor: Extent): number {
  return Math.ceil(bitsOf(tensor) / 8);
}

function bitsOf({ element, dimensions }: Extent): number {
  return blobElements[element].bits * dimensions.reduce((product, size) => product * size, 1);
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer);
}
