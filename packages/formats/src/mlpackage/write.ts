import { createHash } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { WriteProgress } from "../progress.js";
import { writeParts } from "../write-parts.js";
import { type BlobTensor, blobFile, blobParts, planBlobs } from "./blob-plan.js";
import { valuesOf } from "./blobs.js";
import { elementsOf } from "./decode-value.js";
import { encodeModel } from "./encode-model.js";
import { ModelPackageError } from "./errors.js";
import type { CoreMlModel } from "./model.js";

export interface PackageRequest {
  /** The folder `.mlpackage`, which must not exist; the folder around it must. */
  readonly path: string;
  /** Its program's blob values are those of `planBlobs(tensors)`. */
  readonly model: CoreMlModel;
  /** In the order that `planBlobs` was given. */
  readonly tensors: readonly BlobTensor[];
  readonly signal?: AbortSignal | undefined;
  /** Called after each chunk, with bytes of the whole package. */
  readonly onProgress?: ((progress: WriteProgress) => void) | undefined;
}

/**
 * Writes a package as coremltools lays it out. Equal requests give equal bytes. Floats that are written in the program
 * are rounded to their type, to the nearest; tensors are stored as they come, one chunk in memory at a time.
 *
 * When it fails, nothing is left behind.
 *
 * @returns absolute paths: the model's file, that of its weights where it has some, and Manifest.json.
 * @throws {ModelPackageError} when there is something at the path already.
 * @throws {Error} for a program that is not written, or that contradicts itself or the tensors.
 * @throws the signal's reason, once aborted.
 */
export async function writeModelPackage(request: PackageRequest): Promise<readonly string[]> {
  const { model, tensors, signal, onProgress } = request;
  signal?.throwIfAborted();
  const message = encodeModel(model);
  const { total: blobLength } = planBlobs(tensors);
  checkPlaces(model, tensors);
  const manifest = new TextEncoder().encode(manifestOf(message, tensors.length > 0));
  const folder = resolve(request.path);
  const modelPath = join(folder, "Data", modelItem);
  const blobPath = join(dirname(modelPath), blobFile);
  const manifestPath = join(folder, "Manifest.json");

  await mkdir(folder).catch((cause: unknown) => {
    const exists = (cause as NodeJS.ErrnoException).code === "EEXIST";
    const facts = exists
      ? { problem: "is there already", fix: "Choose another path, or remove it" }
      : { problem: "cannot be made", fix: "See that the folder around it is there and can be written to" };
    throw new ModelPackageError({ path: folder, ...facts }, { cause });
  });
  try {
    const total = (tensors.length > 0 ? blobLength : 0) + message.length + manifest.length;
    let before = 0;
    const write = async (path: string, parts: Parameters<typeof writeParts>[0]["parts"], length: number) => {
      await mkdir(dirname(path), { recursive: true });
      await writeParts({ path, parts, before, total, signal, onProgress });
      before += length;
    };
    if (tensors.length > 0) await write(blobPath, blobParts(tensors), blobLength);
    await write(modelPath, [message], message.length);
    await write(manifestPath, [manifest], manifest.length);
  } catch (cause) {
    await rm(folder, { recursive: true, force: true });
    throw cause;
  }
  return [modelPath, ...(tensors.length > 0 ? [blobPath] : []), manifestPath];
}

const itemAuthor = "com.apple.CoreML";
const modelItem = `${itemAuthor}/model.mlmodel`;
const weightsItem = `${itemAuthor}/weights`;

/** A tensor that a program takes for another would score wrongly, without an error. */
function checkPlaces(model: CoreMlModel, tensors: readonly BlobTensor[]): void {
  const { values } = planBlobs(tensors);
  const placed = new Map<number, BlobTensor>();
  let file: string | undefined;
  for (const tensor of tensors) {
    const place = values.get(tensor.name);
    if (place === undefined) continue;
    file = place.file;
    placed.set(place.offset, tensor);
  }
  const named = new Set<BlobTensor>();
  for (const { type, content } of model.program === undefined ? [] : valuesOf(model.program)) {
    if (content.kind !== "blob") continue;
    const tensor = content.file === file ? placed.get(content.offset) : undefined;
    if (tensor === undefined)
      throw new Error(`the program names a tensor at ${content.offset} of ${content.file}, where none is`);
    named.add(tensor);
    const { element, dimensions } = tensor;
    const elements = dimensions.reduce((product, size) => product * size, 1);
    if (type.kind !== "tensor" || type.element !== element || elementsOf(type) !== elements)
      throw new Error(
        `the program does not name ${tensor.name} as what it is: ${element} (${dimensions.join(", ")})`,
      );
  }
  const unused = tensors.find((tensor) => !named.has(tensor));
  if (unused !== undefined) throw new Error(`the program does not name ${unused.name}`);
}

/** Manifest.json, as libmodelpackage of coremltools writes it, but for identifiers that the model determines. */
function manifestOf(message: Uint8Array, hasWeights: boolean): string {
  const model = identifier("model", message);
  const item = (name: string, path: string, description: string) => ({
    author: itemAuthor,
    description,
    name,
    path,
  });
  const entries = {
    [model]: item("model.mlmodel", modelItem, "CoreML Model Specification"),
    ...(hasWeights
      ? { [identifier("weights", message)]: item("weights", weightsItem, "CoreML Model Weights") }
      : {}),
  };
  const manifest = { fileFormatVersion: "1.0.0", itemInfoEntries: entries, rootModelIdentifier: model };
  return `${JSON.stringify(manifest, undefined, 4)}\n`;
}

/** A UUID of version 8 (RFC 9562): its other bits are ours, and here they are a hash. */
function identifier(name: string, message: Uint8Array): string {
  const hash = createHash("sha256").update(name).update(message).digest("hex");
  const parts = [hash.slice(0, 8), hash.slice(8, 12), `8${hash.slice(13, 16)}`, `8${hash.slice(17, 20)}`];
  return [...parts, hash.slice(20, 32)].join("-");
}
