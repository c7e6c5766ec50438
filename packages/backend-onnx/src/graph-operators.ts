import { type FileHandle, open } from "node:fs/promises";

/**
 * Operators that choose one scale for a whole tensor of activations at run time, so that a row is rounded by what else
 * is in its batch. https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html, and ONNX Runtime's
 * docs/ContribOperators.md. Operators that take a scale as an input (QLinearMatMul, QAttention) are fed by one of these,
 * or by a fixed scale, which leaves rows independent.
 */
const perBatchOperators = ["DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"];

/** `NodeProto.op_type` (field 4, a string) as it stands in the file. */
const patterns = perBatchOperators.map((name) =>
  Buffer.concat([Buffer.of((4 << 3) | 2, name.length), Buffer.from(name)]),
);

/** Field numbers of ModelProto and GraphProto: onnx/onnx.proto of the ONNX project. */
const graphField = 7;
const functionsField = 25;
const nodeField = 1;

/** A node is an operator's name, inputs and attributes. A larger one is a constant: of its bytes no more are read. */
const mostNodeBytes = 1 << 20;
const windowBytes = 256 << 10;

/**
 * Whether the graph quantises activations for a batch as a whole, from the operators that it names. Reads nodes and
 * steps over weights.
 *
 * @returns undefined where the file is no protobuf that can be followed to its end.
 */
export async function readQuantisesPerBatch(path: string): Promise<boolean | undefined> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    const file = new Window(handle, size);
    let hasGraph = false;
    for await (const part of fieldsOf(file, 0, size)) {
      if (part === undefined) return undefined;
      if (part.field === functionsField && (await names(file, part))) return true;
      if (part.field !== graphField) continue;
      hasGraph = true;
      for await (const inner of fieldsOf(file, part.start, part.end)) {
        if (inner === undefined) return undefined;
        // A node's own bytes hold those of its subgraphs.
        if (inner.field === nodeField && (await names(file, inner))) return true;
      }
    }
    return hasGraph ? false : undefined;
  } finally {
    await handle.close();
  }
}

/** A length-delimited field: where its content lies in the file. */
interface Field {
  readonly field: number;
  readonly start: number;
  readonly end: number;
}

async function names(file: Window, { start, end }: Field): Promise<boolean> {
  const bytes = await file.read(start, Math.min(end, start + mostNodeBytes));
  return patterns.some((pattern) => bytes.includes(pattern));
}

/** Length-delimited fields from `start` to `end`; undefined, as the last, where the bytes are no message. */
async function* fieldsOf(file: Window, start: number, end: number): AsyncGenerator<Field | undefined> {
  for (let place = start; place < end; ) {
    // A tag and a length are ten bytes each at most.
    const head = await file.read(place, Math.min(end, place + 20));
    const tag = varintAt(head, 0);
    const field = Math.floor(tag.value / 8);
    const wireType = tag.value % 8;
    if (wireType === 2) {
      const length = varintAt(head, tag.bytes);
      const first = place + tag.bytes + length.bytes;
      if (!(first + length.value <= end)) return yield undefined;
      yield { field, start: first, end: first + length.value };
      place = first + length.value;
    } else if (wireType === 0) {
      const value = varintAt(head, tag.bytes);
      if (Number.isNaN(value.value)) return yield undefined;
      place += tag.bytes + value.bytes;
    } else if (wireType === 1 || wireType === 5) {
      place += tag.bytes + (wireType === 1 ? 8 : 4);
    } else {
      return yield undefined;
    }
  }
}

/** Seven bits a byte, the lowest first. NaN where it does not end within ten bytes. */
function varintAt(bytes: Uint8Array, start: number): { readonly value: number; readonly bytes: number } {
  let value = 0;
  for (let count = 0; count < 10; count += 1) {
    const byte = bytes[start + count];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 128 ** count;
    if (byte < 0x80) return { value, bytes: count + 1 };
  }
  return { value: Number.NaN, bytes: 0 };
}

/** The part of a file that was read last. */
class Window {
  readonly #handle: FileHandle;
  readonly #size: number;
  #start = 0;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(handle: FileHandle, size: number) {
    this.#handle = handle;
    this.#size = size;
  }

  /** Bytes from `start` to `end`, both within the file. */
  async read(start: number, end: number): Promise<Buffer> {
    if (start < this.#start || end > this.#start + this.#bytes.length) {
      const length = Math.min(this.#size - start, Math.max(windowBytes, end - start));
      const { buffer, bytesRead } = await this.#handle.read(Buffer.alloc(length), 0, length, start);
      this.#start = start;
      this.#bytes = buffer.subarray(0, bytesRead);
    }
    return this.#bytes.subarray(start - this.#start, end - this.#start);
  }
}
