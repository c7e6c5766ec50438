import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { openBlobs } from "./blobs.js";
import { decodeDescription, noDescription } from "./decode-description.js";
import { decodeProgram } from "./decode-program.js";
import { Decoder, decodeWithin } from "./decoder.js";
import { ModelPackageError } from "./errors.js";
import { modelFields, modelKinds } from "./fields.js";
import { defaultLimits, type Limits } from "./limits.js";
import type { CoreMlModel } from "./model.js";
import type { ModelPackage } from "./package.js";
import { findPlaces, listFiles, readRange, withFile } from "./package-files.js";

export interface OpenOptions {
  readonly signal?: AbortSignal | undefined;
  /** {@link defaultLimits} where left out. */
  readonly limits?: Partial<Limits> | undefined;
}

/**
 * Opens a folder `.mlpackage` or a single file `.mlmodel`, and checks it: the description and the program are read in
 * full, and each weight that the program names is where it should be, of its type and size. The weights' numbers are
 * not read, nor is a model of another kind than `mlProgram` beyond its description.
 *
 * The file need not be trusted: what it may cost is bounded by `limits`, and it cannot name files outside of its
 * package.
 *
 * @throws {ModelPackageError} when it is not there, damaged, beyond a limit, or leads out of its folder.
 * @throws the signal's reason, once aborted.
 */
export async function openModelPackage(path: string, options: OpenOptions = {}): Promise<ModelPackage> {
  const { signal } = options;
  const limits: Limits = { ...defaultLimits, ...options.limits };
  signal?.throwIfAborted();
  const places = await findPlaces(path, limits);
  const all = places.isPackage ? await listFiles(places, limits, signal) : undefined;
  const modelPath = join(places.folder, ...places.model.split("/"));
  let modelSize = 0;
  const model = await withFile(places, places.model, (handle, size) => {
    modelSize = size;
    return readModel({ handle, size, path: modelPath, limits, signal });
  });
  const blobs = await openBlobs(places, model.program, signal);
  return {
    path,
    model,
    files: all ?? [{ path: places.model, size: modelSize }, ...blobs.files],
    blob: async (content) => blobs.entry(content),
  };
}

interface ModelSource {
  readonly handle: FileHandle;
  readonly size: number;
  readonly path: string;
  readonly limits: Limits;
  readonly signal: AbortSignal | undefined;
}

/** Fields of the outermost message; coremltools writes four at most. */
const largestFieldCount = 1000;

/** The members of Model's `Type` have the numbers from here on. */
const firstKind = 200;

/** A tag and a length, or a tag and a number: ten bytes a varint at most. */
const largestFieldHead = 20;

/**
 * Model, field by field from the file, so that what is not read (a neural network's weights are in its message) is not
 * held in memory.
 */
async function readModel({ handle, size, path, limits, signal }: ModelSource): Promise<CoreMlModel> {
  const problem = (what: string, fix = "Download or convert it again"): ModelPackageError =>
    new ModelPackageError({ path, problem: what, fix });
  const messages = new Map<number, { readonly start: number; readonly length: number }>();
  let specificationVersion = 0;
  let kind: string | undefined;
  let unknownKind: string | undefined;
  let count = 0;
  for (let at = 0; at < size; ) {
    signal?.throwIfAborted();
    count += 1;
    if (count > largestFieldCount) throw problem("is no model: its outermost message has too many fields");
    const head = await readRange(handle, path, at, Math.min(size, at + largestFieldHead));
    const { field, wire, number, length } = decodeWithin(path, () => fieldHead(head));
    const end = at + length;
    if (end > size) throw problem("is cut short: a field reaches beyond its end");
    if (field === modelFields.specificationVersion && wire === WireType.Varint) specificationVersion = number;
    const known = modelKinds[field];
    if (wire === WireType.LengthDelimited && (field === modelFields.description || known !== undefined)) {
      if (messages.has(field) || (known !== undefined && kind !== undefined))
        throw problem("is damaged: it holds two models or two descriptions");
      messages.set(field, { start: end - number, length: number });
      kind = known ?? kind;
    } else if (field >= firstKind) unknownKind ??= `unknown-${field}`;
    at = end;
  }
  kind ??= unknownKind;
  if (kind === undefined || specificationVersion <= 0)
    throw problem("is no Core ML model", "Give a folder .mlpackage or a file .mlmodel");

  let counted: Decoder | undefined;
  let held = 0;
  const decode = async <Result>(
    field: number,
    read: (decoder: Decoder) => Result,
  ): Promise<Result | undefined> => {
    const place = messages.get(field);
    if (place === undefined) return undefined;
    held += place.length;
    if (held > limits.messageBytes)
      throw problem(
        `has a description and program of more than ${limits.messageBytes} bytes`,
        "If the file is to be trusted, raise limits.messageBytes",
      );
    const bytes = await readRange(handle, path, place.start, place.start + place.length);
    const decoder = new Decoder(bytes, limits, counted);
    counted = decoder;
    return decodeWithin(path, () => read(decoder));
  };
  const description = (await decode(modelFields.description, decodeDescription)) ?? noDescription;
  const program = await decode(modelFields.mlProgram, decodeProgram);
  const known = { specificationVersion, ...description, kind };
  return program === undefined ? known : { ...known, program };
}

/** @returns `number`: a varint's value, or how long the field's content is; `length`: bytes of the whole field. */
function fieldHead(head: Uint8Array): { field: number; wire: WireType; number: number; length: number } {
  const reader = new BinaryReader(head);
  const [field, wire] = reader.tag();
  if (wire === WireType.Varint) return { field, wire, number: reader.int32(), length: reader.pos };
  if (wire === WireType.LengthDelimited) {
    const number = reader.uint32();
    return { field, wire, number, length: reader.pos + number };
  }
  const width = wire === WireType.Bit32 ? 4 : wire === WireType.Bit64 ? 8 : undefined;
  if (width === undefined) throw new Error("a protobuf group");
  return { field, wire, number: 0, length: reader.pos + width };
}
