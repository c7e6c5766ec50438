import type { FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  alignment,
  blobElements,
  blobVersion,
  headerLength,
  isBlobElement,
  metadataLength,
  modelFolderPrefix,
  sentinel,
} from "./blob-format.js";
import { elementsOf } from "./decode-value.js";
import { decodeWithin } from "./decoder.js";
import { ModelPackageError } from "./errors.js";
import type { BlobContent, BlobEntry } from "./package.js";
import { insidePath, type PackagePlaces, readRange, withFile } from "./package-files.js";
import type { Block, ElementType, Program, Value, ValueType } from "./program.js";

/** A tensor's place in a blob file, held against the type of every value that names it. */
interface Placed {
  readonly element: ElementType;
  /** Relative to the package's folder. */
  readonly file: string;
  readonly start: number;
  readonly byteLength: number;
}

/** The entries that a program names. */
export interface Blobs {
  readonly files: readonly { readonly path: string; readonly size: number }[];
  entry(content: BlobContent): BlobEntry;
}

/** Reads the metadata of each entry that a value of the program names, and checks them. */
export async function openBlobs(
  places: PackagePlaces,
  program: Program | undefined,
  signal: AbortSignal | undefined,
): Promise<Blobs> {
  const modelPath = join(places.folder, ...places.model.split("/"));
  const placed = new Map<string, Placed>();
  const files: { path: string; size: number }[] = [];
  for (const [declared, values] of byFile(program)) {
    const problem = (what: string): ModelPackageError =>
      new ModelPackageError({ path: modelPath, problem: what, fix: "Download or convert the package again" });
    if (!declared.startsWith(modelFolderPrefix))
      throw problem(
        `names the blob file ${JSON.stringify(declared)}, which does not begin with ${modelFolderPrefix}`,
      );
    const inside = insidePath(modelPath, declared.slice(modelFolderPrefix.length));
    const folder = dirname(places.model);
    const file = folder === "." ? inside : `${folder}/${inside}`;
    await withFile(places, file, async (handle, size) => {
      files.push({ path: file, size });
      const source = { handle, size, file, path: join(places.folder, ...file.split("/")) };
      await checkHeader(source);
      for (const [offset, types] of values) {
        signal?.throwIfAborted();
        placed.set(keyOf(declared, offset), await readEntry(source, offset, types));
      }
    });
  }
  return {
    files,
    entry(content) {
      const found = placed.get(keyOf(content.file, content.offset));
      if (found === undefined)
        throw new ModelPackageError({
          path: modelPath,
          problem: `has no value at ${content.offset} of ${content.file}`,
          fix: "Ask for a value of this package's own program",
        });
      return entryOf(places, found);
    },
  };
}

function keyOf(file: string, offset: number): string {
  return `${offset} ${file}`;
}

function entryOf(places: PackagePlaces, { element, file, start, byteLength }: Placed): BlobEntry {
  return {
    element,
    byteLength,
    async read(from, to) {
      if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to <= byteLength))
        throw new RangeError(`bytes ${from} to ${to} of a tensor of ${byteLength} bytes`);
      return withFile(places, file, (handle) =>
        readRange(handle, join(places.folder, ...file.split("/")), start + from, start + to),
      );
    },
  };
}

/** Types of the values at each place, by file. */
function byFile(program: Program | undefined): Map<string, Map<number, ValueType[]>> {
  const files = new Map<string, Map<number, ValueType[]>>();
  for (const { type, content } of program === undefined ? [] : valuesOf(program)) {
    if (content.kind !== "blob") continue;
    const places = files.get(content.file) ?? new Map<number, ValueType[]>();
    files.set(content.file, places);
    const types = places.get(content.offset) ?? [];
    places.set(content.offset, types);
    types.push(type);
  }
  return files;
}

/** Every value of a program: of its operations, in all functions and nested blocks, and of attributes. */
export function* valuesOf(program: Program): Generator<Value> {
  yield* Object.values(program.attributes);
  for (const definition of Object.values(program.functions)) {
    yield* Object.values(definition.attributes);
    for (const block of Object.values(definition.blocks)) yield* valuesOfBlock(block);
  }
}

function* valuesOfBlock(block: Block): Generator<Value> {
  yield* Object.values(block.attributes);
  for (const { inputs, blocks, attributes } of block.operations) {
    yield* Object.values(attributes);
    for (const bindings of Object.values(inputs))
      for (const binding of bindings) if ("value" in binding) yield binding.value;
    for (const inner of blocks) yield* valuesOfBlock(inner);
  }
}

interface BlobSource {
  readonly handle: FileHandle;
  readonly size: number;
  readonly file: string;
  readonly path: string;
}

async function checkHeader({ handle, size, path }: BlobSource): Promise<void> {
  if (size < headerLength) throw damaged(path, `has ${size} bytes, which is no blob file`);
  const header = await readRange(handle, path, 0, headerLength);
  const version = viewOf(header).getUint32(4, true);
  if (version !== blobVersion)
    throw new ModelPackageError({
      path,
      problem: `is a blob file of version ${version}, and version ${blobVersion} is read`,
      fix: "Save the model again with a current coremltools",
    });
}

async function readEntry(source: BlobSource, offset: number, types: readonly ValueType[]): Promise<Placed> {
  const { handle, size, file, path } = source;
  const where = `its entry at ${offset}`;
  if (offset % alignment !== 0) throw damaged(path, `${where} is not at a multiple of ${alignment}`);
  if (offset < headerLength || offset > size - metadataLength)
    throw damaged(path, `${where} lies outside of its ${size} bytes`);
  const metadata = viewOf(await readRange(handle, path, offset, offset + metadataLength));
  if (metadata.getUint32(0, true) !== sentinel) throw damaged(path, `${where} does not begin as one`);
  const code = metadata.getUint32(4, true);
  const byteLength = Number(metadata.getBigUint64(8, true));
  const start = Number(metadata.getBigUint64(16, true));
  // Beyond 2^53 these are rounded, and far beyond the end in any case.
  if (start % alignment !== 0 || start < headerLength || byteLength > size - start)
    throw damaged(path, `${where} has its data outside of the file's ${size} bytes`);
  let element: ElementType | undefined;
  for (const type of types) {
    if (type.kind !== "tensor") throw damaged(path, `${where} is of a value that is no tensor`);
    const elements = decodeWithin(path, () => elementsOf(type));
    if (elements === undefined) throw damaged(path, `${where} is of a tensor without a fixed shape`);
    element = type.element;
    // Of a type that is not known nothing can be said.
    if (!isBlobElement(element)) {
      if (element.startsWith("unknown-")) continue;
      throw damaged(path, `${where} is of a ${element} tensor, which no blob file holds`);
    }
    const expected = blobElements[element];
    if (code !== expected.code)
      throw damaged(path, `${where} has type ${nameOfCode(code)}, and the program says ${element}`);
    const needed = Math.ceil((elements * expected.bits) / 8);
    if (byteLength !== needed)
      throw damaged(
        path,
        `${where} has ${byteLength} bytes, and a ${element} tensor of shape (${type.dimensions.join(", ")}) has ${needed}`,
      );
  }
  return { element: element ?? `unknown-${code}`, file, start, byteLength };
}

function nameOfCode(code: number): string {
  const found = Object.entries(blobElements).find(([, known]) => known.code === code);
  return found?.[0] ?? `code ${code}`;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function damaged(path: string, problem: string): ModelPackageError {
  return new ModelPackageError({ path, problem, fix: "Download or convert the package again" });
}
