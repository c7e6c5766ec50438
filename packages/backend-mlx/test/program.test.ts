import { readFileSync } from "node:fs";
import { openFixtures } from "@crossrank/conformance";
import { describeModel, type ModelDescription } from "@crossrank/convert";
import { readProfile } from "@crossrank/core";
import { expect, test } from "vitest";
import { emitGraph } from "../src/graph/emit.js";
import { inputNames, operationNames, operations } from "../src/graph/operations.js";
import { longestSequence, relativeTable, rotaryPeriods } from "../src/graph/places.js";
import { ProgramBuilder } from "../src/graph/program.js";
import { loadAddon } from "../src/native.js";
import { batchOf, describeNative, rejection } from "./fixtures.js";

async function describeFixture(name: string): Promise<ModelDescription> {
  const [fixture] = openFixtures([name]);
  if (fixture === undefined) throw new Error(name);
  const { profile } = await readProfile(fixture.files);
  return describeModel(fixture.files, profile);
}

test("about 30 operations, and the interpreter has the same with the same arities", () => {
  const source = readFileSync(new URL("../native/shim/interpreter.cpp", import.meta.url), "utf8");
  const table = [...source.matchAll(/^ {4}\{"([a-z-]+)", (\d+), (\d+), (\w+)\},$/gm)];
  expect(table.map(([, name]) => name)).toEqual(operationNames);
  for (const [, name = "", fewest, most, attributes] of table) {
    const known = operations[name as keyof typeof operations];
    expect([Number(fewest), Number(most)], name).toEqual(known.inputs);
    expect(attributes === "mostAttributes" ? undefined : Number(attributes), name).toBe(known.attributes);
  }
});

test.each([
  ["bert-logit", "class-logits"],
  ["qwen3-yes-no", "token-logits"],
  ["modernbert-mean", "class-logits"],
  ["deberta-v2-logit", "class-logits"],
] as const)("of %s every weight is taken once", async (name, output) => {
  const { weights, program } = emitGraph(await describeFixture(name), output, [5, 6]);
  const names = weights.map((weight) => (weight.kind === "constant" ? weight.name : weight.weight.name));
  // The vocabulary's projection is the embedding table, of which two rows are taken besides.
  const rows = weights.filter(({ kind }) => kind === "rows").length;
  expect(new Set(names).size).toBe(names.length - rows);
  expect(program.every((word) => Number.isFinite(word))).toBe(true);
});

test("a token that the vocabulary does not have is refused", async () => {
  const description = await describeFixture("qwen3-yes-no");
  expect(() => emitGraph(description, "token-logits", [5, 1312])).toThrow(
    /has 1312 tokens, and 1312 is asked for/,
  );
  expect(() => emitGraph(description, "token-logits", [-1])).toThrow(RangeError);
});

test("tables of distances have a bound, whatever config.json says", async () => {
  const description = { ...(await describeFixture("deberta-v2-logit")), maxPositions: 2 ** 24 };
  expect(longestSequence(description)).toBe(65_536);
  const [{ attention }] = description.layers as [ModelDescription["layers"][number]];
  if (attention.positions.kind !== "disentangled") throw new Error("not disentangled");
  const { positions } = attention;
  const table = relativeTable(positions, 40);
  expect(table).toHaveLength(79);
  expect(table[39]).toBe(positions.span);
  expect(table.every((row) => row >= 0 && row < 2 * positions.span)).toBe(true);
  // Places that a model rotates are computed, not looked up.
  const decoder = { ...(await describeFixture("qwen3-yes-no")), maxPositions: 2 ** 20 };
  expect(longestSequence(decoder)).toBe(2 ** 20);
});

test("periods of rotary positions are those of transformers", () => {
  const periods = rotaryPeriods({ kind: "rotary", theta: 10_000 }, 8);
  expect([...periods]).toEqual([1, 10, 100, 1000]);
  expect(rotaryPeriods({ kind: "rotary", theta: 1_000_000 }, 64)[1]).toBe(
    Math.fround(1_000_000 ** Math.fround(2 / 64)),
  );
  expect([...rotaryPeriods({ kind: "scaled-rotary", frequencies: [1, 0.25] }, 4)]).toEqual([1, 4]);
});

/** A program by hand, on one weight of two rows. */
function byHand(
  write: (builder: ProgramBuilder<string>) => Parameters<ProgramBuilder<string>["finish"]>[0],
): Float64Array {
  const builder = new ProgramBuilder<string>();
  builder.weight("table", () => "table");
  return builder.finish(write(builder), { ids: 2, segments: 1, columns: 8 }).program;
}

const table = {
  name: "table",
  tensors: [
    { type: "F32", shape: [2, 3], parts: [], data: new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer) },
  ],
  target: "float32",
  plus: 0,
  bits: 0,
  group: 0,
  unfold: false,
} as const;

const good = byHand((builder) => builder.add("take", [{ kind: "weight", index: 0 }, builder.input("ids")]));

describeNative("the interpreter", () => {
  const small = { ...batchOf(1, 2), picked: 1 };
  const batch = {
    rows: 1,
    columns: 2,
    picked: 1,
    ids: Int32Array.of(1, 0),
    segments: new Int32Array(2),
    lengths: Int32Array.of(2),
    extents: Int32Array.of(2),
    places: Int32Array.of(0),
  };

  test("runs what it is given", async () => {
    expect(small.columns).toBe(2);
    const model = await loadAddon().load({ files: [], weights: [table], program: good });
    const { data, shape } = await model.run(batch);
    expect([...shape]).toEqual([1, 2, 3]);
    expect([...data]).toEqual([4, 5, 6, 1, 2, 3]);
    await model.close();
    await model.close();
    await expect(model.run(batch)).rejects.toThrow(/^closed: /);
  });

  test.each<[string, Partial<typeof batch>, RegExp]>([
    ["an id beyond the table", { ids: Int32Array.of(1, 2) }, /token 2 at 1, and there are 2/],
    ["a far id", { ids: Int32Array.of(1, 2 ** 31 - 1) }, /token 2147483647/],
    ["a negative id", { ids: Int32Array.of(-1, 0) }, /token -1 at 0/],
    ["a segment that there is not", { segments: Int32Array.of(0, 1) }, /segment 1 at 1/],
    ["a length beyond the columns", { lengths: Int32Array.of(3) }, /length 3/],
    ["a negative length", { lengths: Int32Array.of(-1) }, /length -1/],
    ["an extent beyond the columns", { extents: Int32Array.of(9) }, /extent 9/],
    ["a place beyond the columns", { places: Int32Array.of(2) }, /place 2/],
    ["fewer ids than it says", { ids: Int32Array.of(1) }, /another number of values/],
    ["more rows than it has", { rows: 2 }, /another number of values/],
    ["no rows", { rows: 0, ids: new Int32Array(0), segments: new Int32Array(0) }, /another number of values/],
    ["many rows of nothing", { rows: 2 ** 31, columns: 0 }, /another number of values/],
  ])("refuses a batch with %s", async (_, change, message) => {
    const model = await loadAddon().load({ files: [], weights: [table], program: good });
    const error = await rejection(model.run({ ...batch, ...change }));
    expect(error.message).toMatch(/^invalid-input: /);
    expect(error.message).toMatch(message);
    // And goes on.
    expect([...(await model.run(batch)).data]).toEqual([4, 5, 6, 1, 2, 3]);
    await model.close();
  });

  test("refuses sequences that are longer than the model", async () => {
    const model = await loadAddon().load({ files: [], weights: [table], program: good });
    const long = {
      ...batch,
      columns: 9,
      ids: new Int32Array(9),
      segments: new Int32Array(9),
      lengths: Int32Array.of(9),
      extents: Int32Array.of(9),
    };
    expect((await rejection(model.run(long))).message).toMatch(/the model takes 8 tokens/);
    await model.close();
  });

  const index = (name: keyof typeof operations): number => operationNames.indexOf(name);
  const [take, transpose, layerNorm] = [index("take"), index("transpose"), index("layer-norm")];
  /** Limits, the output, and how many steps. */
  const head = (output: number, steps: number): number[] => [2, 1, 8, output, steps];
  const made = 1 + inputNames.length;
  test.each<[string, readonly number[], RegExp]>([
    ["nothing", [], /ends early/],
    ["a step short", head(made, 1), /ends early/],
    ["words behind its end", [...good, 0], /goes on behind its end/],
    [
      "an operation that there is not",
      [...head(made, 1), operationNames.length, 2, 0, 1, 0],
      /a program with/,
    ],
    ["half an operation", [...head(made, 1), 0.5, 2, 0, 1, 0], /a program with 0\.5/],
    ["too few inputs", [...head(made, 1), take, 1, 0, 0], /take: too few inputs/],
    ["too many inputs", [...head(made, 1), take, 3, 0, 1, 1, 0], /a program with 3/],
    ["an input that is made later", [...head(made, 1), take, 2, 0, made, 0], /a program with/],
    ["a negative input", [...head(made, 1), take, 2, -1, 1, 0], /a program with -1/],
    [
      "an output that nothing makes",
      [...head(made + 1, 1), take, 2, 0, 1, 0],
      /an output that nothing makes/,
    ],
    ["other attributes", [...head(made, 1), layerNorm, 2, 0, 0, 0], /layer-norm: other attributes/],
    ["an attribute that is no number", [...head(made, 1), layerNorm, 2, 0, 0, 1, Number.NaN], /no number/],
    ["more steps than memory", [2, 1, 8, 6, 2 ** 40], /a program with/],
  ])("refuses a program with %s", async (_, words, message) => {
    const error = await rejection(
      loadAddon().load({ files: [], weights: [table], program: Float64Array.from(words) }),
    );
    expect(error.message).toMatch(/^invalid-input: /);
    expect(error.message).toMatch(message);
  });

  test.each<[string, readonly number[], RegExp]>([
    [
      "places of another table",
      [4, 1, 8, made, 1, take, 2, 0, 1, 0],
      /take: places up to 4 of a table of 2 rows/,
    ],
    ["places that are none", [...head(made, 1), take, 2, 0, 0, 0], /take: places up to 0/],
    ["a dimension that there is not", [...head(made, 1), transpose, 1, 0, 2, 0, 7], /no dimension 7/],
    ["one dimension twice", [...head(made, 1), transpose, 1, 0, 2, 0, 0], /transpose/],
  ])("refuses to run %s", async (_, words, message) => {
    const model = await loadAddon().load({ files: [], weights: [table], program: Float64Array.from(words) });
    expect((await rejection(model.run(batch))).message).toMatch(message);
    await model.close();
  });

  test.each<[string, object, RegExp]>([
    ["fewer bytes than its shape", { shape: [2, 4] }, /^damaged: table: a tensor does not fill its shape/],
    ["a shape of nothing", { shape: [0, 3] }, /a shape that is none/],
    ["a shape beyond memory", { shape: [2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1] }, /a shape that is none/],
    ["too many dimensions", { shape: [1, 1, 1, 1, 1, 1, 1, 1, 6] }, /too many dimensions/],
    ["another type", { type: "F8" }, /type must be one of/],
    [
      "no number",
      { data: new Uint8Array(Float32Array.of(1, 2, Number.NaN, 4, 5, 6).buffer) },
      /no finite number/,
    ],
    [
      "an infinity",
      { data: new Uint8Array(Float32Array.of(1, 2, Infinity, 4, 5, 6).buffer) },
      /no finite number/,
    ],
    [
      "a file that there is not",
      { data: undefined, parts: [{ file: 0, start: 0, end: 24 }] },
      /no such file/,
    ],
    [
      "a part that ends before it begins",
      { data: undefined, parts: [{ file: 0, start: 9, end: 8 }] },
      /part of a file that is none/,
    ],
  ])("refuses a weight with %s", async (_, change, message) => {
    const [tensor] = table.tensors;
    const weight = { ...table, tensors: [{ ...tensor, ...change }] } as unknown as typeof table;
    // What napi refuses it throws at once.
    const loading = (async () => loadAddon().load({ files: [], weights: [weight], program: good }))();
    expect((await rejection(loading)).message).toMatch(message);
  });
});
