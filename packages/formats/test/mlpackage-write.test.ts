import { deepStrictEqual } from "node:assert/strict";
import { access, mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  type BlobTensor,
  type Block,
  type CoreMlModel,
  ModelPackageError,
  openModelPackage,
  planBlobs,
  type Value,
  writeModelPackage,
} from "../src/mlpackage/index.js";
import { fixture, modelFile, programFixtures, requestOf, temporaryFolder, weightFile } from "./fixtures.js";
import { randomModel } from "./random-model.js";

let folder: string;
let number = 0;
beforeAll(async () => {
  folder = await temporaryFolder();
});
const fresh = (): string => {
  number += 1;
  return join(folder, `model-${number}.mlpackage`);
};

describe.each(programFixtures)("%s written again", (name) => {
  test("is the same model, and its weights have the bytes of coremltools", async () => {
    const source = await openModelPackage(fixture(name));
    const { model, tensors } = await requestOf(source);
    const path = fresh();
    const written = await writeModelPackage({ path, model, tensors });
    expect(written).toEqual([modelFile, weightFile, "Manifest.json"].map((file) => join(path, file)));
    const again = await openModelPackage(path);
    expect(again.model).toStrictEqual(model);
    expect(await readFile(join(path, weightFile))).toEqual(await readFile(join(fixture(name), weightFile)));
  });
});

test("equal models have equal bytes, in whatever order their maps were made", async () => {
  const { model, tensors } = await requestOf(await openModelPackage(fixture("types.mlpackage")));
  const reversed = reverseKeys(model) as CoreMlModel;
  expect(JSON.stringify(reversed)).not.toBe(JSON.stringify(model));
  const [one, other] = [fresh(), fresh()];
  await writeModelPackage({ path: one, model, tensors });
  await writeModelPackage({ path: other, model: reversed, tensors });
  for (const file of [modelFile, weightFile, "Manifest.json"])
    expect(await readFile(join(other, file))).toEqual(await readFile(join(one, file)));
});

function reverseKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reverseKeys);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, inner]) => [key, reverseKeys(inner)]),
  );
}

test("what is written is read again: 60 models of a fixed random source", async () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const { model, tensors } = randomModel(seed);
    const path = fresh();
    await writeModelPackage({ path, model, tensors });
    const again = await openModelPackage(path);
    // Not expect: it does not compare what lies under the key "__proto__".
    deepStrictEqual(again.model, model, `seed ${seed}`);
    const { values } = planBlobs(tensors);
    for (const tensor of tensors) {
      const entry = await again.blob(values.get(tensor.name) as never);
      expect(await entry.read(0, entry.byteLength)).toEqual(await bytesOf(tensor));
    }
  }
});

async function bytesOf(tensor: BlobTensor): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of tensor.chunks()) chunks.push(chunk);
  return Uint8Array.from(chunks.flatMap((chunk) => [...chunk]));
}

/** A program of one constant. */
function constant(value: Value): CoreMlModel {
  const block: Block = {
    inputs: [],
    outputs: ["y"],
    attributes: {},
    operations: [
      {
        type: "const",
        inputs: {},
        outputs: [{ name: "y", type: value.type }],
        blocks: [],
        attributes: { val: value },
      },
    ],
  };
  return {
    specificationVersion: 9,
    inputs: [],
    outputs: [],
    metadata: { shortDescription: "", version: "", author: "", license: "", userDefined: {} },
    kind: "mlProgram",
    program: {
      version: 1,
      attributes: {},
      functions: { main: { inputs: [], opset: "CoreML8", blocks: { CoreML8: block }, attributes: {} } },
    },
  };
}

const halves = (values: readonly number[]): Value => ({
  type: { kind: "tensor", element: "fp16", dimensions: [values.length] },
  content: { kind: "immediate", values },
});

async function writtenValues(model: CoreMlModel): Promise<unknown> {
  const path = fresh();
  await writeModelPackage({ path, model, tensors: [] });
  const { program } = (await openModelPackage(path)).model;
  return program?.functions["main"]?.blocks["CoreML8"]?.operations[0]?.attributes["val"]?.content;
}

test("numbers in the program are rounded to their type", async () => {
  const given = [0.1, 1e-12, -1e4, 65_504, Number.POSITIVE_INFINITY, Number.NaN, -0];
  const kept = [0.0999755859375, 0, -1e4, 65_504, Number.POSITIVE_INFINITY, Number.NaN, -0];
  expect(await writtenValues(constant(halves(given)))).toStrictEqual({ kind: "immediate", values: kept });
  const single: Value = { ...halves([0.1]), type: { kind: "tensor", element: "fp32", dimensions: [1] } };
  expect(await writtenValues(constant(single))).toEqual({ kind: "immediate", values: [Math.fround(0.1)] });
});

test("a package without weights has no blob file", async () => {
  const path = fresh();
  await writeModelPackage({ path, model: constant(halves([1])), tensors: [] });
  expect((await openModelPackage(path)).files.map((file) => file.path)).toEqual([modelFile, "Manifest.json"]);
});

const weight = (name: string, bytes: Uint8Array, dimensions: readonly number[]): BlobTensor => ({
  name,
  element: "fp16",
  dimensions,
  async *chunks() {
    yield bytes.subarray(0, 3);
    yield bytes.subarray(3);
  },
});

const twelve = weight("weight", new Uint8Array(24).fill(7), [3, 4]);

function blobValue(element: "fp16" | "fp32", dimensions: readonly number[], tensor = twelve): Value {
  const content = planBlobs([tensor]).values.get(tensor.name);
  if (content === undefined) throw new Error("not planned");
  return { type: { kind: "tensor", element, dimensions }, content };
}

test("progress tells of the whole package", async () => {
  const seen: { written: number; total: number }[] = [];
  const path = fresh();
  const model = constant(blobValue("fp16", [3, 4]));
  await writeModelPackage({ path, model, tensors: [twelve], onProgress: (progress) => seen.push(progress) });
  const sizes = (await openModelPackage(path)).files.map(({ size }) => size);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  expect(seen.at(-1)).toEqual({ written: total, total });
  expect(seen.map(({ written }) => written)).toEqual(
    [...seen.map(({ written }) => written)].sort((a, b) => a - b),
  );
});

describe("nothing is left behind", () => {
  const cases: Readonly<Record<string, { readonly tensor: BlobTensor; readonly message: RegExp }>> = {
    "when a tensor gives too few bytes": {
      tensor: weight("weight", new Uint8Array(22), [3, 4]),
      message: /weight gave 22 bytes instead of 24/,
    },
    "when a tensor gives too many bytes": {
      tensor: weight("weight", new Uint8Array(26), [3, 4]),
      message: /weight gave 26 bytes instead of 24/,
    },
    "when a tensor cannot be made": {
      tensor: {
        ...twelve,
        // biome-ignore lint/correctness/useYield: it fails before
        async *chunks() {
          throw new Error("the source is gone");
        },
      },
      message: /the source is gone/,
    },
  };
  test.each(Object.entries(cases))("%s", async (_, { tensor, message }) => {
    const path = fresh();
    const model = constant(blobValue("fp16", [3, 4]));
    await expect(writeModelPackage({ path, model, tensors: [tensor] })).rejects.toThrow(message);
    await expect(access(path)).rejects.toThrow();
  });

  test("when it is aborted", async () => {
    const path = fresh();
    const controller = new AbortController();
    const request = {
      path,
      model: constant(blobValue("fp16", [3, 4])),
      tensors: [twelve],
      signal: controller.signal,
      onProgress: () => controller.abort(new Error("enough")),
    };
    await expect(writeModelPackage(request)).rejects.toThrow("enough");
    await expect(access(path)).rejects.toThrow();
  });
});

test("a path that is taken stays as it is", async () => {
  const path = fresh();
  await mkdir(path);
  const error = await writeModelPackage({ path, model: constant(halves([1])), tensors: [] }).catch((e) => e);
  expect(ModelPackageError.isInstance(error)).toBe(true);
  expect(error).toMatchObject({ path, problem: "is there already" });
  expect(await readdir(path)).toEqual([]);
});

describe("a program that contradicts itself is not written", () => {
  const scalar = { kind: "tensor", element: "int32", dimensions: [] } as const;
  const cases: Readonly<
    Record<
      string,
      { readonly value: Value; readonly tensors?: readonly BlobTensor[]; readonly message: RegExp }
    >
  > = {
    "a number beyond half precision": { value: halves([65_520]), message: /65520, which is beyond half/ },
    "too few numbers": {
      value: { type: { ...scalar, dimensions: [2] }, content: { kind: "immediate", values: [1] } },
      message: /has 1 values for its shape \(2\)/,
    },
    "a fraction as an integer": {
      value: { type: scalar, content: { kind: "immediate", values: [1.5] } },
      message: /1.5, which is no int32/,
    },
    "an integer beyond its type": {
      value: { type: { ...scalar, element: "int8" }, content: { kind: "immediate", values: [128] } },
      message: /128, which is no int8/,
    },
    "a text as a number": {
      value: { type: scalar, content: { kind: "immediate", values: ["1"] } },
      message: /"1", which is no int32/,
    },
    "a list": { value: { type: scalar, content: { kind: "other", as: "list" } }, message: /holds a list/ },
    "a weight of another type": {
      value: blobValue("fp32", [3, 4]),
      tensors: [twelve],
      message: /does not name weight as what it is: fp16 \(3, 4\)/,
    },
    "a weight of another size": {
      value: blobValue("fp16", [3, 5]),
      tensors: [twelve],
      message: /does not name weight as what it is/,
    },
    "a weight that is not there": { value: blobValue("fp16", [3, 4]), message: /where none is/ },
    "a weight that nothing names": {
      value: halves([1]),
      tensors: [twelve],
      message: /does not name weight/,
    },
  };
  test.each(Object.entries(cases))("%s", async (_, { value, tensors = [], message }) => {
    const path = fresh();
    await expect(writeModelPackage({ path, model: constant(value), tensors })).rejects.toThrow(message);
    await expect(access(path)).rejects.toThrow();
  });

  test("two tensors of one name", () => {
    expect(() => planBlobs([twelve, twelve])).toThrow("two tensors are named weight");
  });

  test("another kind of model", async () => {
    const { model } = await openModelPackage(fixture("network.mlmodel"));
    await expect(writeModelPackage({ path: fresh(), model, tensors: [] })).rejects.toThrow(/a neuralNetwork/);
  });
});
