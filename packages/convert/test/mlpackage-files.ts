import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Fixture, openFixtureFolder } from "@crossrank/conformance";
import {
  type BlobEntry,
  describeModelPackage,
  type ModelPackage,
  type Operation,
  openModelPackage,
  type PackageReport,
} from "@crossrank/formats/mlpackage";
import { createMlpackageWriter, type MlpackageWriterOptions } from "../src/mlpackage/write-mlpackage.js";
import { type Described, describeFixture } from "./onnx-files.js";

const fixturesFolder = fileURLToPath(new URL("../../conformance/fixtures/", import.meta.url));

/** BERT and its like: those that a package can hold. */
export const packageFixtures: readonly string[] = [
  "bert-cosine-cls",
  "bert-cosine-mean",
  "bert-logit",
  "bert-two-class",
  "roberta-logit",
  "xlm-roberta-logit",
];

/** @returns the paths that the writer gives. */
export async function writePackage(
  path: string,
  model: string | Described,
  options: MlpackageWriterOptions = {},
  dtype = "fp16",
): Promise<readonly string[]> {
  const described = typeof model === "string" ? await describeFixture(model) : model;
  return createMlpackageWriter(options).write({
    ...described,
    dtype,
    path,
    metadata: { source: described.files.id, sha256: "0".repeat(64) },
  });
}

export interface ReadPackage {
  readonly opened: ModelPackage;
  readonly report: PackageReport;
  /** Operations of the one block, in order. */
  readonly operations: readonly Operation[];
}

export async function readPackage(path: string): Promise<ReadPackage> {
  const opened = await openModelPackage(path);
  const main = opened.model.program?.functions["main"];
  const operations = main?.blocks[main.opset]?.operations ?? [];
  return { opened, report: await describeModelPackage(opened), operations };
}

/** The blobs of the program's constants by name. */
export async function blobsOf({ opened, operations }: ReadPackage): Promise<ReadonlyMap<string, BlobEntry>> {
  const blobs = new Map<string, BlobEntry>();
  for (const { outputs, attributes } of operations) {
    const content = attributes["val"]?.content;
    if (content?.kind === "blob") blobs.set(outputs[0]?.name ?? "", await opened.blob(content));
  }
  return blobs;
}

export async function filesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

/** The sha256 of every file of a folder, by path. */
export async function hashesOf(folder: string): Promise<ReadonlyMap<string, string>> {
  const hashes = new Map<string, string>();
  for (const path of await filesIn(folder)) {
    const content = await readFile(join(folder, path));
    hashes.set(path, createHash("sha256").update(content).digest("hex"));
  }
  return hashes;
}

/** The fixture with our package in the place of its ONNX file, and without its weights. */
export async function packagedFixture(
  folder: string,
  name: string,
  options: MlpackageWriterOptions,
  dtype: "fp16" | "fp32",
): Promise<Fixture> {
  const target = join(folder, name);
  const left = [join(name, "onnx"), join(name, "model.safetensors")];
  await cp(join(fixturesFolder, name), target, {
    recursive: true,
    filter: (source) => !left.some((end) => source.endsWith(end)),
  });
  await mkdir(join(target, "mlpackage"));
  const file = dtype === "fp16" ? "model.mlpackage" : "model_fp32.mlpackage";
  await writePackage(join(target, "mlpackage", file), name, options, dtype);
  return openFixtureFolder(target, name);
}
