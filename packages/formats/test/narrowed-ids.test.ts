import { expect, test } from "vitest";
import {
  type Argument,
  type Block,
  type ElementType,
  type FunctionDefinition,
  narrowedIds,
  type Operation,
  type Value,
  type ValueType,
} from "../src/mlpackage/index.js";

const tensor = (element: ElementType, ...dimensions: readonly number[]): ValueType => ({
  kind: "tensor",
  element,
  dimensions,
});

function operation(
  type: string,
  inputs: Readonly<Record<string, string>>,
  output: string,
  of: ValueType,
  more: { readonly blocks?: readonly Block[]; readonly value?: Value } = {},
): Operation {
  const named = Object.entries(inputs).map(([name, from]): [string, Argument] => [name, [{ name: from }]]);
  return {
    type,
    inputs: Object.fromEntries(named),
    outputs: [{ name: output, type: of }],
    blocks: more.blocks ?? [],
    attributes: more.value === undefined ? {} : { val: more.value },
  };
}

const block = (operations: readonly Operation[], outputs: readonly string[]): Block => ({
  inputs: [],
  outputs,
  operations,
  attributes: {},
});

function definition(
  operations: readonly Operation[],
  inputs = ["input_ids", "attention_mask"],
): FunctionDefinition {
  return {
    inputs: inputs.map((name) => ({ name, type: tensor("int32", 2, 8) })),
    opset: "CoreML8",
    blocks: { CoreML8: block(operations, ["rows"]) },
    attributes: {},
  };
}

/** A table of a number of rows, by what makes it. */
const table = (rows: number, maker = "const"): Operation =>
  operation(maker, {}, "table", tensor("fp16", rows, 4));
const lookUp = (indices: string): Operation =>
  operation("gather", { x: "table", indices }, "rows", tensor("fp16", 2, 8, 4));
const cast = (x: string, output: string, element: ElementType): Operation =>
  operation("cast", { x }, output, tensor(element, 2, 8));

const toShort = [cast("input_ids", "short", "int16"), cast("short", "ids", "int32")];

test("names the first place, its limit and the table", () => {
  expect(narrowedIds(definition([table(40_000), ...toShort, lookUp("ids")]))).toEqual({
    input: "input_ids",
    operation: "cast",
    value: "short",
    element: "int16",
    largest: 32_767,
    rows: 40_000,
  });
});

test("a type that holds the number of the table's last row is wide enough", () => {
  expect(narrowedIds(definition([table(32_768), ...toShort, lookUp("ids")]))).toBeUndefined();
  expect(narrowedIds(definition([table(32_769), ...toShort, lookUp("ids")]))).toMatchObject({ rows: 32_769 });
  const unsigned = cast("input_ids", "ids", "uint16");
  expect(narrowedIds(definition([table(65_536), unsigned, lookUp("ids")]))).toBeUndefined();
  expect(narrowedIds(definition([table(65_537), unsigned, lookUp("ids")]))).toMatchObject({
    largest: 65_535,
  });
});

test("an input of any name, a narrowing that is not on the way to the table, and a compressed table", () => {
  const aside = [cast("words", "short", "int16"), lookUp("words")];
  expect(
    narrowedIds(definition([table(40_000, "constexpr_lut_to_dense"), ...aside], ["words"])),
  ).toMatchObject({
    input: "words",
    value: "short",
  });
});

test("through arithmetic, a selection and a nested block", () => {
  const ids = tensor("int32", 2, 8);
  const inner = block([cast("added", "short", "int16"), cast("short", "chosen", "int32")], ["chosen"]);
  const operations = [
    table(40_000),
    operation("add", { x: "input_ids", y: "offset" }, "added", ids),
    operation("cond", { pred: "flag" }, "either", ids, { blocks: [inner] }),
    operation("select", { cond: "flag", a: "input_ids", b: "either" }, "ids", ids),
    lookUp("ids"),
  ];
  expect(narrowedIds(definition(operations))).toMatchObject({ value: "short", rows: 40_000 });
});

test("the rows are those of the axis that is looked up", () => {
  const axis: Value = { type: tensor("int32"), content: { kind: "immediate", values: [1] } };
  const along = operation(
    "gather",
    { x: "table", indices: "ids", axis: "one" },
    "rows",
    tensor("fp16", 4, 2, 8),
  );
  const one = operation("const", {}, "one", tensor("int32"), { value: axis });
  const wide = operation("const", {}, "table", tensor("fp16", 4, 40_000));
  const long = operation("const", {}, "table", tensor("fp16", 40_000, 4));
  expect(narrowedIds(definition([one, wide, ...toShort, along]))).toMatchObject({ rows: 40_000 });
  expect(narrowedIds(definition([one, long, ...toShort, along]))).toBeUndefined();
});

test("what is no id may be narrow: a mask, a length, a comparison, and what a table holds", () => {
  const length = operation("shape", { x: "input_ids" }, "length", tensor("int32", 2));
  const isPadding = operation("not_equal", { x: "input_ids", y: "padding" }, "is", tensor("bool", 2, 8));
  const operations = [
    table(40_000),
    lookUp("input_ids"),
    length,
    cast("length", "short_length", "int16"),
    isPadding,
    cast("is", "short_is", "int16"),
    cast("attention_mask", "short_mask", "uint16"),
    operation("gather", { x: "kinds", indices: "input_ids" }, "kind", tensor("int8", 2, 8)),
  ];
  expect(narrowedIds(definition(operations))).toBeUndefined();
});

test("a mask that ids are multiplied with is none of them", () => {
  const operations = [
    table(250_002),
    cast("attention_mask", "short", "uint16"),
    cast("short", "mask", "int32"),
    operation("mul", { x: "input_ids", y: "mask" }, "ids", tensor("int32", 2, 8)),
    lookUp("ids"),
  ];
  expect(narrowedIds(definition(operations))).toBeUndefined();
});

test("a function without a body has none", () => {
  const whole = definition([table(40_000), ...toShort, lookUp("ids")]);
  expect(narrowedIds({ ...whole, opset: "toString" })).toBeUndefined();
});
