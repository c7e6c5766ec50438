import * as z from "zod/mini";
import { ModelProfileError } from "./contract/errors.js";
import type { FileRequestOptions, ModelFiles } from "./contract/model-files.js";

/** A tensor as float32, row-major. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** The tensors of one safetensors file; only those asked for are read. */
export interface TensorFile {
  readonly names: readonly string[];
  /** @throws {ModelProfileError} when there is no such tensor, or its type is no float. */
  read(name: string): Promise<Tensor>;
}

/** A header beyond this is damaged or hostile: the largest published models stay below 10 MB. */
const largestHeader = 100 * 1024 * 1024;

const headerSchema = z.record(
  z.string(),
  z.union([
    z.object({
      dtype: z.string(),
      shape: z.array(z.int().check(z.nonnegative())),
      data_offsets: z.tuple([z.int().check(z.nonnegative()), z.int().check(z.nonnegative())]),
    }),
    z.record(z.string(), z.string()),
  ]),
);

const widths: Readonly<Record<string, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2 };

/**
 * Opens a safetensors file (8 bytes of little-endian header length, a JSON header, then the tensors: the format's
 * own description in huggingface/safetensors).
 *
 * @throws {ModelFileNotFoundError} when it is not there.
 * @throws {ModelProfileError} when it is damaged.
 */
export async function openSafetensors(
  files: ModelFiles,
  path: string,
  options: FileRequestOptions = {},
): Promise<TensorFile> {
  const problem = (what: string, cause?: unknown): ModelProfileError =>
    new ModelProfileError(
      { model: files.id, file: path, problem: what, fix: "Download it again" },
      { cause },
    );
  const start = await files.readBytes(path, { start: 0, end: 8 }, options);
  const headerLength =
    start.length === 8 ? Number(new DataView(start.buffer, start.byteOffset).getBigUint64(0, true)) : 0;
  if (headerLength < 2 || headerLength > largestHeader) throw problem("is not a safetensors file");
  const dataStart = 8 + headerLength;
  const headerBytes = await files.readBytes(path, { start: 8, end: dataStart }, options);
  let header: z.infer<typeof headerSchema>;
  try {
    header = headerSchema.parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(headerBytes)));
  } catch (cause) {
    throw problem("has a damaged header", cause);
  }
  return {
    names: Object.keys(header).filter((name) => name !== "__metadata__"),
    async read(name) {
      const entry = Object.hasOwn(header, name) ? header[name] : undefined;
      if (entry === undefined || !isEntry(entry)) throw problem(`has no tensor ${name}`);
      const { dtype, shape, data_offsets } = entry;
      const [from, to] = data_offsets;
      const width = widths[dtype];
      if (width === undefined) throw problem(`tensor ${name} has type ${dtype}, and only floats are read`);
      const count = shape.reduce((product, size) => product * size, 1);
      if (to - from !== count * width)
        throw problem(`tensor ${name} does not fill its shape ${shape.join(" × ")}`);
      const bytes = await files.readBytes(path, { start: dataStart + from, end: dataStart + to }, options);
      if (bytes.length !== to - from) throw problem(`ends before tensor ${name} does`);
      return { shape, data: floats(bytes, dtype, count) };
    },
  };
}

type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };

function isEntry(entry: z.infer<typeof headerSchema>[string]): entry is Entry {
  return Array.isArray((entry as Partial<Entry>).data_offsets);
}

function floats(bytes: Uint8Array, dtype: string, count: number): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const result = new Float32Array(count);
  const bits = new Uint32Array(result.buffer);
  for (let i = 0; i < count; i += 1) {
    if (dtype === "F32") bits[i] = view.getUint32(i * 4, true);
    else if (dtype === "F64") result[i] = view.getFloat64(i * 8, true);
    else if (dtype === "BF16") bits[i] = view.getUint16(i * 2, true) << 16;
    else result[i] = fromHalf(view.getUint16(i * 2, true));
  }
  return result;
}

/** IEEE 754 binary16. */
function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
