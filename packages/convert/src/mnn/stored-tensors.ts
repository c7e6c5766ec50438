import type { FileHandle } from "node:fs/promises";
import type { StoredTensorFacts } from "../artifact-writer.js";

/**
 * Floats that an .mnn file holds, and how. The file is a FlatBuffer (https://flatbuffers.dev/internals) of MNN's schema
 * (schema/default/MNN.fbs, CaffeOp.fbs, Tensor.fbs of 3.6.1); its field numbers are below. Integers are left out: they
 * are shapes and indices of the graph.
 *
 * This is also the check that the file is whole: the converter does not notice a disk that is full. FlatBuffers are
 * built from their end, where the converter puts the text of --bizCode first of all.
 *
 * @throws {IncompleteFileError} when something lies beyond the end.
 */
export async function readStoredTensors(handle: FileHandle): Promise<StoredTensorFacts[]> {
  const file = new FlatFile(handle, (await handle.stat()).size);
  const net = await file.indirect(0);
  await file.text(net, fields.net.businessCode);
  const tensors: StoredTensorFacts[] = [];
  for (const operator of await file.tables(net, fields.net.operators)) {
    const main = await file.table(operator, fields.operator.main);
    if (main === undefined) continue;
    const name = (await file.text(operator, fields.operator.name)).replace(/__matmul_converted$/, "");
    const kind = await file.byte(operator, fields.operator.kind);
    if (kind === kinds.blob) tensors.push(...(await ofBlob(file, main, name)));
    if (kind === kinds.convolution) tensors.push(...(await ofProduct(file, main, name)));
    if (kind === kinds.layerNorm) tensors.push(...(await ofNorm(file, main, name)));
  }
  return tensors;
}

/** The file ends before what it says is in it. */
export class IncompleteFileError extends Error {}

/** Numbers of the fields in the tables' definitions. */
const fields = {
  net: { businessCode: 0, operators: 3 },
  operator: { kind: 1, main: 2, name: 3 },
  blob: { shape: 0, type: 2, bytes: 3, floats: 7 },
  product: { common: 0, weight: 1, bias: 2, compressed: 3 },
  common: { outputs: 10, inputs: 11 },
  compressed: { bytes: 0, type: 2 },
  norm: { gamma: 2, beta: 3 },
} as const;

/** Of the union OpParameter. */
const kinds = { blob: 7, convolution: 9, layerNorm: 88 } as const;

async function ofBlob(file: FlatFile, blob: number, name: string): Promise<StoredTensorFacts[]> {
  const shape = await file.integers(blob, fields.blob.shape);
  const type = await file.integer(blob, fields.blob.type, 1);
  // DT_FLOAT and DT_HALF of Type.fbs.
  if (type === 1) {
    await file.list(blob, fields.blob.floats, 4);
    return [{ name, shape, dtype: "fp32" }];
  }
  const isHalf = type === 19;
  await file.list(blob, fields.blob.bytes, 1);
  return isHalf ? [{ name, shape, dtype: "fp16" }] : [];
}

/** The converter makes a 1×1 convolution of every product with a constant matrix. */
async function ofProduct(file: FlatFile, product: number, name: string): Promise<StoredTensorFacts[]> {
  const common = await file.table(product, fields.product.common);
  if (common === undefined) throw new IncompleteFileError(`${name} has no shape`);
  const outputs = await file.integer(common, fields.common.outputs, 0);
  const inputs = await file.integer(common, fields.common.inputs, 0);
  const compressed = await file.table(product, fields.product.compressed);
  await file.list(product, fields.product.weight, 4);
  if (compressed !== undefined) await file.list(compressed, fields.compressed.bytes, 1);
  const type = compressed && (await file.integer(compressed, fields.compressed.type, 0));
  const bias = await file.list(product, fields.product.bias, 4);
  return [
    // Types of IDSTDecoder.hpp: 1 is whole numbers with a scale an output, 3 is halves.
    { name, shape: [outputs, inputs], dtype: type === undefined ? "fp32" : type === 3 ? "fp16" : "int8" },
    ...(bias === 0 ? [] : [{ name: `${name}.bias`, shape: [bias], dtype: "fp32" }]),
  ];
}

async function ofNorm(file: FlatFile, norm: number, name: string): Promise<StoredTensorFacts[]> {
  const gamma = await file.list(norm, fields.norm.gamma, 4);
  const beta = await file.list(norm, fields.norm.beta, 4);
  return [
    ...(gamma === 0 ? [] : [{ name: `${name}.gamma`, shape: [gamma], dtype: "fp32" }]),
    ...(beta === 0 ? [] : [{ name: `${name}.beta`, shape: [beta], dtype: "fp32" }]),
  ];
}

/** Bytes that are read at once: the tables of an operator lie together, its weights are stepped over. */
const windowBytes = 1 << 16;

/** Tables by their places in the file; nothing of a list but its length is read. */
class FlatFile {
  readonly #handle: FileHandle;
  readonly #size: number;
  #window = Buffer.alloc(0);
  #start = 0;

  constructor(handle: FileHandle, size: number) {
    this.#handle = handle;
    this.#size = size;
  }

  /** Where the offset that is stored at `place` points. */
  async indirect(place: number): Promise<number> {
    return place + (await this.#read(place, 4)).readUInt32LE();
  }

  async table(table: number, field: number): Promise<number | undefined> {
    const place = await this.#field(table, field);
    return place === undefined ? undefined : this.indirect(place);
  }

  async tables(table: number, field: number): Promise<readonly number[]> {
    const list = await this.table(table, field);
    if (list === undefined) return [];
    const length = await this.#length(list, 4);
    const tables: number[] = [];
    for (let index = 0; index < length; index += 1) tables.push(await this.indirect(list + 4 + 4 * index));
    return tables;
  }

  /** @returns its length; 0 where there is none. */
  async list(table: number, field: number, bytesEach: number): Promise<number> {
    const list = await this.table(table, field);
    return list === undefined ? 0 : this.#length(list, bytesEach);
  }

  async integers(table: number, field: number): Promise<readonly number[]> {
    const list = await this.table(table, field);
    if (list === undefined) return [];
    const length = await this.#length(list, 4);
    const bytes = await this.#read(list + 4, 4 * length);
    return Array.from({ length }, (_, index) => bytes.readInt32LE(4 * index));
  }

  async text(table: number, field: number): Promise<string> {
    const list = await this.table(table, field);
    if (list === undefined) return "";
    const length = await this.#length(list, 1);
    // A NUL follows that is not counted.
    return (await this.#read(list + 4, length + 1)).toString("utf8", 0, length);
  }

  async integer(table: number, field: number, otherwise: number): Promise<number> {
    const place = await this.#field(table, field);
    return place === undefined ? otherwise : (await this.#read(place, 4)).readInt32LE();
  }

  async byte(table: number, field: number): Promise<number> {
    const place = await this.#field(table, field);
    return place === undefined ? 0 : (await this.#read(place, 1)).readUInt8();
  }

  /** A table begins with how far before it the list of its fields' places lies. */
  async #field(table: number, field: number): Promise<number | undefined> {
    const places = table - (await this.#read(table, 4)).readInt32LE();
    const size = (await this.#read(places, 2)).readUInt16LE();
    if (4 + 2 * field >= size) return undefined;
    const offset = (await this.#read(places + 4 + 2 * field, 2)).readUInt16LE();
    return offset === 0 ? undefined : table + offset;
  }

  async #length(list: number, bytesEach: number): Promise<number> {
    const length = (await this.#read(list, 4)).readUInt32LE();
    this.#require(list + 4, length * bytesEach);
    return length;
  }

  async #read(place: number, bytes: number): Promise<Buffer> {
    this.#require(place, bytes);
    const isInside = place >= this.#start && place + bytes <= this.#start + this.#window.length;
    if (!isInside) {
      const window = Buffer.alloc(Math.min(Math.max(windowBytes, bytes), this.#size - place));
      const { bytesRead } = await this.#handle.read(window, 0, window.length, place);
      if (bytesRead < bytes) throw new IncompleteFileError(`it ends at ${place + bytesRead}`);
      this.#window = window;
      this.#start = place;
    }
    return this.#window.subarray(place - this.#start, place - this.#start + bytes);
  }

  #require(place: number, bytes: number): void {
    if (place >= 0 && place + bytes <= this.#size) return;
    throw new IncompleteFileError(`byte ${place + bytes} is wanted of ${this.#size}`);
  }
}
