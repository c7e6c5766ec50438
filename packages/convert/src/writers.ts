import { InvalidInputError } from "@crossrank/core";
import type { ArtifactWriter } from "./artifact-writer.js";
import { ctranslate2Descriptor } from "./ctranslate2/descriptor.js";
import { ggufDescriptor } from "./gguf/descriptor.js";
import { mlpackageDescriptor } from "./mlpackage/descriptor.js";
import { mnnDescriptor } from "./mnn/descriptor.js";
import { onnxDescriptor } from "./onnx/descriptor.js";
import type { WriterDescriptor } from "./writer-descriptor.js";

export type { ArtifactSettings, ArtifactWriter, StoredTensorFacts, WriteRequest } from "./artifact-writer.js";
export type { BatchUse } from "./batch-use.js";
export type { WriterDescriptor, WriterOption } from "./writer-descriptor.js";

/** The formats of this package, one a line. */
export const writers: readonly WriterDescriptor[] = [
  onnxDescriptor,
  ggufDescriptor,
  mnnDescriptor,
  mlpackageDescriptor,
  ctranslate2Descriptor,
];

/**
 * Precisions of a format of this package, most precise first.
 * @throws {InvalidInputError} `to` is no format of these.
 */
export function conversionDtypes(format: string): readonly string[] {
  return descriptorOf(format, writers).dtypes;
}

/**
 * Makes the writer of a format.
 *
 * @param among Default: the formats of this package.
 * @throws {InvalidInputError} `to` is no format of these; an option is of another format, or has a value that it
 *   cannot have.
 */
export async function createWriter(
  format: string,
  options: Readonly<Record<string, unknown>> = {},
  among: readonly WriterDescriptor[] = writers,
): Promise<ArtifactWriter> {
  const descriptor = descriptorOf(format, among);
  const set = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name] of set) {
    if (Object.hasOwn(descriptor.options ?? {}, name)) continue;
    throw new InvalidInputError(
      name,
      `is ${describeOwners(name, among)}, and ${format} has none. Leave it out`,
    );
  }
  return descriptor.create(Object.fromEntries(set));
}

/** Of which formats something can be set. */
export function formatsWith(option: string, among: readonly WriterDescriptor[] = writers): readonly string[] {
  return among.filter(({ options = {} }) => Object.hasOwn(options, option)).map(({ format }) => format);
}

function descriptorOf(format: string, among: readonly WriterDescriptor[]): WriterDescriptor {
  const descriptor = among.find((one) => one.format === format);
  if (descriptor !== undefined) return descriptor;
  const known = among.map((one) => one.format).join(", ");
  throw new InvalidInputError("to", `must be one of ${known}, not ${JSON.stringify(format)}`);
}

function describeOwners(option: string, among: readonly WriterDescriptor[]): string {
  const owners = formatsWith(option, among);
  return owners.length === 0 ? "an option of no format" : `an option of ${owners.join(", ")}`;
}
