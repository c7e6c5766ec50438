import { readFile } from "node:fs/promises";

/** A GGUF file as ggml's docs/gguf.md describes it; written apart from the writer, to judge it. */
export interface GgufFile {
  readonly metadata: ReadonlyMap<string, unknown>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Bytes of the whole file. */
  readonly size: number;
}

export interface GgufTensor {
  /** Innermost dimension first. */
  readonly dimensions: readonly number[];
  readonly type: number;
  /** In the file. */
  readonly start: number;
  /** From `start` to where the next tensor may begin. */
  readonly bytes: Uint8Array;
}

/** Numbers per block and bytes per block, by `ggml_type`. */
const blocks: Record<number, readonly [number, number]> = {
  0: [1, 4],
  1: [1, 2],
  2: [32, 18],
  6: [32, 22],
  7: [32, 24],
  8: [32, 34],
  12: [256, 144],
  13: [256, 176],
  14: [256, 210],
};

export async function readGguf(path: string): Promise<GgufFile> {
  const file = await readFile(path);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let at = 0;
  const take = (count: number): number => {
    at += count;
    return at - count;
  };
  const uint32 = (): number => view.getUint32(take(4), true);
  const uint64 = (): number => Number(view.getBigUint64(take(8), true));
  const string = (): string => {
    const length = uint64();
    const start = take(length);
    return file.subarray(start, start + length).toString("utf8");
  };
  const value = (type: number): unknown => {
    switch (type) {
      case 0:
        return view.getUint8(take(1));
      case 4:
        return uint32();
      case 5:
        return view.getInt32(take(4), true);
      case 6:
        return view.getFloat32(take(4), true);
      case 7:
        return view.getUint8(take(1)) === 1;
      case 8:
        return string();
      case 9: {
        const inner = uint32();
        return Array.from({ length: uint64() }, () => value(inner));
      }
      default:
        throw new Error(`metadata type ${type}`);
    }
  };

  if (file.toString("latin1", 0, 4) !== "GGUF") throw new Error("magic");
  take(4);
  if (uint32() !== 3) throw new Error("version");
  const [tensorCount, keyCount] = [uint64(), uint64()];
  const metadata = new Map<string, unknown>();
  for (let index = 0; index < keyCount; index++) {
    const key = string();
    if (metadata.has(key)) throw new Error(`key ${key} twice`);
    metadata.set(key, value(uint32()));
  }
  const places: { name: string; dimensions: number[]; type: number; offset: number }[] = [];
  for (let index = 0; index < tensorCount; index++) {
    const name = string();
    const dimensions = Array.from({ length: uint32() }, uint64);
    places.push({ name, dimensions, type: uint32(), offset: uint64() });
  }
  const dataStart = Math.ceil(at / 32) * 32;
  const tensors = new Map<string, GgufTensor>();
  let end = 0;
  for (const { name, dimensions, type, offset } of places) {
    if (offset !== end) throw new Error(`${name} at ${offset}, and not at ${end}`);
    const [numbers, bytes] = blocks[type] ?? [Number.NaN, Number.NaN];
    const size = (dimensions.reduce((a, b) => a * b, 1) / numbers) * bytes;
    const start = dataStart + offset;
    if (start + size > file.length) throw new Error(`${name} ends behind the file`);
    tensors.set(name, { dimensions, type, start, bytes: file.subarray(start, start + size) });
    end = Math.ceil((offset + size) / 32) * 32;
  }
  if (dataStart + end !== file.length) throw new Error(`${file.length} bytes, and not ${dataStart + end}`);
  return { metadata, tensors, size: file.length };
}

/** Of an F32 tensor. */
export function numbersOf(tensor: GgufTensor | undefined): number[] {
  if (tensor?.type !== 0) throw new Error("no F32 tensor");
  const { bytes } = tensor;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(index * 4, true));
}
