import { createHash } from "node:crypto";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import {
  type BlobContent,
  type BlobElement,
  type BlobTensor,
  type CoreMlModel,
  type ModelPackage,
  type Program,
  planBlobs,
  type Value,
} from "../src/mlpackage/index.js";

/** Written by coremltools: lab/coreml/build_fixtures.py. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
}

export const programFixtures: readonly string[] = ["enumerated", "fixed", "functions", "range", "types"].map(
  (stem) => `${stem}.mlpackage`,
);

/** What coremltools reads in a fixture. */
export interface ExpectedFacts {
  readonly kind: string;
  readonly specificationVersion: number;
  /** Of an ML Program. */
  readonly defaultFunction?: string;
  readonly inputs: readonly ExpectedFeature[];
  readonly outputs: readonly ExpectedFeature[];
  readonly userDefined: Readonly<Record<string, string>>;
  readonly opsets?: readonly string[];
  readonly operations?: Readonly<Record<string, number>>;
  readonly immediates?: Readonly<Record<string, ExpectedValue & { readonly values: readonly unknown[] }>>;
  readonly blobs?: Readonly<
    Record<string, ExpectedValue & { readonly offset: number; readonly sha256: string }>
  >;
}

export interface ExpectedFeature {
  readonly name: string;
  readonly element?: string;
  readonly shape?: readonly number[];
  readonly shapes?: readonly (readonly number[])[];
  readonly ranges?: readonly (readonly [number, number])[];
}

interface ExpectedValue {
  readonly element: string;
  readonly dimensions: readonly (number | null)[];
}

export async function readExpected(): Promise<Readonly<Record<string, ExpectedFacts>>> {
  return JSON.parse(await readFile(fixture("expected.json"), "utf8")) as Record<string, ExpectedFacts>;
}

/** A temporary folder, removed when the file's tests are done. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-formats-"));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A copy of a fixture that a test may damage. */
export async function copyOf(name: string, folder: string): Promise<string> {
  const path = join(await mkdtemp(join(folder, "copy-")), name);
  await cp(fixture(name), path, { recursive: true });
  return path;
}

export const modelFile = "Data/com.apple.CoreML/model.mlmodel";
export const weightFile = "Data/com.apple.CoreML/weights/weight.bin";

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Every value of a program with its place, in the words of check_writer.py. */
export function* placedValues(program: Program): Generator<readonly [string, Value]> {
  for (const [name, { blocks }] of Object.entries(program.functions))
    for (const block of Object.values(blocks)) yield* ofBlock(block, name);
}

function* ofBlock(
  block: Program["functions"][string]["blocks"][string],
  where: string,
): Generator<readonly [string, Value]> {
  for (const operation of block.operations) {
    const place = `${where}/${operation.outputs[0]?.name ?? operation.type}`;
    for (const [key, value] of Object.entries(operation.attributes)) yield [`${place}.${key}`, value];
    for (const [key, bindings] of Object.entries(operation.inputs))
      for (const [index, binding] of bindings.entries())
        if ("value" in binding) yield [`${place}(${key}[${index}])`, binding.value];
    for (const [index, inner] of operation.blocks.entries()) yield* ofBlock(inner, `${place}[${index}]`);
  }
}

/** A package's model and tensors as a request to write them. What only the reader knows (buildInfo) is left out. */
export async function requestOf(
  modelPackage: ModelPackage,
): Promise<{ readonly model: CoreMlModel; readonly tensors: readonly BlobTensor[] }> {
  const { program } = modelPackage.model;
  if (program === undefined) throw new Error("no program");
  const model = structuredClone({ ...modelPackage.model, program: { ...program, attributes: {} } });
  const tensors = new Map<number, BlobTensor>();
  const values: (readonly [string, BlobContent])[] = [];
  for (const [, { type, content }] of placedValues(model.program)) {
    if (content.kind !== "blob" || type.kind !== "tensor") continue;
    const entry = await modelPackage.blob(content);
    const name = String(content.offset);
    values.push([name, content]);
    tensors.set(content.offset, {
      name,
      element: type.element as BlobElement,
      dimensions: type.dimensions.map((size) => size ?? 0),
      async *chunks() {
        yield await entry.read(0, entry.byteLength);
      },
    });
  }
  const inOrder = [...tensors].sort(([one], [other]) => one - other).map(([, tensor]) => tensor);
  const plan = planBlobs(inOrder);
  for (const [name, content] of values) Object.assign(content, plan.values.get(name));
  return { model, tensors: inOrder };
}
