import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { arrayElements, elementCodes } from "../src/mlpackage/fields.js";
import { describeModelPackage, type FeatureType, openModelPackage } from "../src/mlpackage/index.js";
import {
  type ExpectedFeature,
  fixture,
  modelFile,
  placedValues,
  programFixtures,
  readExpected,
  sha256,
} from "./fixtures.js";

const expected = await readExpected();

/** coremltools' names of the same codes: DataType and ArrayDataType. */
const elementNames: Readonly<Record<string, number>> = {
  BOOL: 1,
  STRING: 2,
  FLOAT16: 10,
  FLOAT32: 11,
  INT8: 21,
  INT16: 22,
  INT32: 23,
  UINT4: 35,
};
const arrayNames: Readonly<Record<string, number>> = { INT32: 131_104, FLOAT32: 65_568, DOUBLE: 65_600 };

function asExpected(name: string, type: FeatureType): ExpectedFeature {
  if (type.kind === "other") return { name, element: type.as };
  const { element, shape, flexibility } = type;
  const code = Object.entries(arrayElements).find(([known]) => known === element)?.[1];
  const facts = {
    name,
    element: Object.entries(arrayNames).find(([, known]) => known === code)?.[0] ?? element,
    shape,
  };
  if (flexibility?.kind === "enumerated") return { ...facts, shapes: flexibility.shapes };
  if (flexibility?.kind === "range")
    return { ...facts, ranges: flexibility.ranges.map(({ lower, upper }) => [lower, upper ?? -1] as const) };
  return facts;
}

describe.each(Object.keys(expected))("%s", (name) => {
  const facts = expected[name];

  test("is described as coremltools describes it", async () => {
    const report = await describeModelPackage(await openModelPackage(fixture(name)));
    expect(report.kind).toBe(facts?.kind);
    expect(report.specificationVersion).toBe(facts?.specificationVersion);
    expect(report.inputs.map((input) => asExpected(input.name, input.type))).toEqual(facts?.inputs);
    expect(report.outputs.map((output) => asExpected(output.name, output.type))).toEqual(facts?.outputs);
    // What a fixture is made of is in expected.json; two runs of the builder differ in their date only.
    expect(report.metadata.userDefined).toEqual(facts?.userDefined);
    expect(report.function?.name).toBe(facts?.defaultFunction);
    expect(report.operations).toEqual(facts?.operations ?? {});
    expect(report.opsets).toEqual(facts?.opsets ?? []);
  });
});

describe.each(programFixtures)("the program of %s", (name) => {
  test("has the values that coremltools reads", async () => {
    const { model } = await openModelPackage(fixture(name));
    const immediates: Record<string, unknown> = {};
    for (const [place, { type, content }] of placedValues(model.program as never)) {
      if (type.kind !== "tensor" || content.kind !== "immediate") continue;
      immediates[place] = { code: codeOf(type.element), dimensions: type.dimensions, values: content.values };
    }
    const wanted = Object.entries(expected[name]?.immediates ?? {}).map(([place, value]) => [
      place,
      { code: elementNames[value.element], dimensions: value.dimensions, values: value.values },
    ]);
    expect(wanted.length).toBeGreaterThan(20);
    expect(immediates).toEqual(Object.fromEntries(wanted));
  });

  test("has the weights that coremltools reads", async () => {
    const opened = await openModelPackage(fixture(name));
    const blobs: Record<string, unknown> = {};
    for (const [place, { type, content }] of placedValues(opened.model.program as never)) {
      if (type.kind !== "tensor" || content.kind !== "blob") continue;
      const entry = await opened.blob(content);
      expect(entry.element).toBe(type.element);
      const stored = await entry.read(0, entry.byteLength);
      // coremltools gives one number a byte where the file packs two.
      const numbers =
        type.element === "uint4" ? [...stored].flatMap((byte) => [byte & 15, byte >> 4]) : stored;
      blobs[place] = {
        code: codeOf(type.element),
        dimensions: type.dimensions,
        offset: content.offset,
        sha256: sha256(Uint8Array.from(numbers)),
      };
    }
    const wanted = Object.entries(expected[name]?.blobs ?? {}).map(([place, value]) => [
      place,
      {
        code: elementNames[value.element],
        dimensions: value.dimensions,
        offset: value.offset,
        sha256: value.sha256,
      },
    ]);
    expect(wanted.length).toBeGreaterThan(0);
    expect(blobs).toEqual(Object.fromEntries(wanted));
  });
});

function codeOf(element: string): number | undefined {
  return Object.entries(elementCodes).find(([name]) => name === element)?.[1];
}

test("a nested block and a list of inputs are kept", async () => {
  const { model } = await openModelPackage(fixture("types.mlpackage"));
  const main = model.program?.functions["main"];
  const operations = main?.blocks[main.opset]?.operations ?? [];
  const cond = operations.find(({ type }) => type === "cond");
  expect(cond?.blocks.map((block) => block.operations.map(({ type }) => type))).toEqual([
    ["const", "mul"],
    ["const", "sub"],
  ]);
  expect(operations.find(({ type }) => type === "concat")?.inputs["values"]).toHaveLength(2);
});

test("metadata is read, beyond ASCII too", async () => {
  const { metadata } = (await openModelPackage(fixture("enumerated.mlpackage"))).model;
  expect(metadata).toMatchObject({
    shortDescription: "Fixture: the seed's tensors, ünïcode",
    author: "a lab",
    license: "MIT",
    version: "1.2",
  });
});

test("a package's model file is read by itself, with the weights beside it", async () => {
  const opened = await openModelPackage(join(fixture("fixed.mlpackage"), modelFile));
  expect(opened.model).toEqual((await openModelPackage(fixture("fixed.mlpackage"))).model);
  expect(opened.files.map(({ path }) => path)).toEqual(["model.mlmodel", "weights/weight.bin"]);
  expect((await describeModelPackage(opened)).weights).toEqual([
    { element: "fp16", tensors: 4, bytes: 1600 },
  ]);
});

test("parts of a weight are read", async () => {
  const opened = await openModelPackage(fixture("enumerated.mlpackage"));
  const [, value] =
    [...placedValues(opened.model.program as never)].find(([, { content }]) => content.kind === "blob") ?? [];
  if (value?.content.kind !== "blob") throw new Error("the fixture has no weights");
  const entry = await opened.blob(value.content);
  const all = await entry.read(0, entry.byteLength);
  expect(await entry.read(6, 10)).toEqual(all.slice(6, 10));
  expect(await entry.read(3, 3)).toEqual(new Uint8Array());
  await expect(entry.read(0, entry.byteLength + 1)).rejects.toThrow(RangeError);
  await expect(entry.read(-1, 2)).rejects.toThrow(RangeError);
  await expect(opened.blob({ ...value.content, offset: 7 })).rejects.toThrow(/has no value at 7/);
});

test("an abort ends the opening with its reason", async () => {
  const reason = new Error("enough");
  await expect(
    openModelPackage(fixture("fixed.mlpackage"), { signal: AbortSignal.abort(reason) }),
  ).rejects.toBe(reason);
});
