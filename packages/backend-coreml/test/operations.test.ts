import { onnx } from "@crossrank/backend-onnx";
import { fromHalf, toHalf } from "@crossrank/formats";
import type { ElementType, ModelPackage, Operation } from "@crossrank/formats/mlpackage";
import { expect, test } from "vitest";
import { openReferencePredictor } from "../src/reference/reference-predictor.js";
import { translatedOperations } from "../src/reference/translate.js";
import type { Arithmetic } from "../src/reference/translation.js";
import { profileOf } from "./profile.js";
import { constant, type Immediate, modelOf, operation, tensorType } from "./programs.js";
import { readFixture } from "./reference-fixtures.js";

interface Tensor {
  readonly element: ElementType;
  readonly dimensions: readonly number[];
  readonly values: Immediate;
}

/** Made by coremltools and torch: lab/coreml/operation_goldens.py. */
interface Case {
  readonly operation: string;
  readonly inputs: Readonly<Record<string, Tensor | readonly Tensor[]>>;
  readonly outputs: readonly Tensor[];
}

const cases = readFixture("operations.json") as readonly Case[];

/** One operation between constants, its outputs flattened and behind one another. */
function operationsOf(
  { operation: type, inputs, outputs }: Case,
  index: number,
): {
  readonly operations: readonly Operation[];
  readonly results: readonly string[];
} {
  const operations: Operation[] = [];
  const bind = (name: string, { element, values, dimensions }: Tensor): string => {
    operations.push(constant(name, element, values, dimensions));
    return name;
  };
  const bound = Object.fromEntries(
    Object.entries(inputs).map(([name, given]) => [
      name,
      [given].flat().map((tensor, place) => bind(`c${index}_${name}_${place}`, tensor as Tensor)),
    ]),
  );
  const made = outputs.map(({ element, dimensions }, place) => ({
    name: `o${index}_${place}`,
    type: tensorType(element, dimensions),
  }));
  operations.push(operation(type, bound, Object.fromEntries(made.map(({ name, type: of }) => [name, of]))));
  const results = made.map(({ name, type: { element, dimensions } }) => {
    const size = dimensions.reduce<number>((product, one) => product * (one ?? 0), 1);
    let value = name;
    if (element !== "fp32") {
      operations.push(constant(`${name}_dtype`, "string", ["fp32"]));
      const real = { [`${name}_real`]: tensorType("fp32", dimensions) };
      operations.push(operation("cast", { x: value, dtype: `${name}_dtype` }, real));
      value = `${name}_real`;
    }
    operations.push(constant(`${name}_shape`, "int32", [1, size], [2]));
    const flat = { [`${name}_flat`]: tensorType("fp32", [1, size]) };
    operations.push(operation("reshape", { x: value, shape: `${name}_shape` }, flat));
    return `${name}_flat`;
  });
  return { operations, results };
}

const sizes = cases.map(({ outputs }) => outputs.reduce((sum, { values }) => sum + values.length, 0));
const total = sizes.reduce((sum, size) => sum + size, 0);

/** All cases in one program. @returns the outputs of each, behind one another. */
async function run(all: readonly Case[], arithmetic: Arithmetic): Promise<readonly (readonly number[])[]> {
  const parts = all.map(operationsOf);
  const operations: readonly Operation[] = [
    ...parts.flatMap((part) => part.operations),
    constant("last", "int32", [1]),
    operation(
      "concat",
      { values: parts.flatMap(({ results }) => results), axis: "last" },
      { logit: tensorType("fp32", [1, total]) },
    ),
  ];
  const model: ModelPackage = {
    path: "in memory",
    model: modelOf({ rows: 1, length: 2, operations }),
    files: [],
    blob: async () => {
      throw new Error("it has no blob");
    },
  };
  const predictor = await openReferencePredictor(
    onnx({ isolation: "thread", workers: 1, threads: 1 }),
    model,
    {
      output: "logit",
      arithmetic,
      profile: profileOf({}),
      signal: undefined,
    },
  );
  try {
    const input = (name: string) => ({ name, shape: [1, 2], data: Int32Array.of(1, 1) });
    const { data } = await predictor.predict([input("input_ids"), input("attention_mask")], "logit");
    let end = 0;
    return sizes.map((size) => {
      end += size;
      return [...data.subarray(end - size, end)];
    });
  } finally {
    await predictor.close();
  }
}

const nearestHalf = (number: number): number => fromHalf(toHalf(number) ?? Number.NaN);

/** The same case with every float declared as fp16. */
function inHalf({ operation: type, inputs, outputs }: Case): Case {
  const change = (tensor: Tensor): Tensor => {
    const values = tensor.values.map((value) => (value === "fp32" ? "fp16" : value)) as readonly string[];
    if (tensor.element !== "fp32")
      return { ...tensor, values: tensor.element === "string" ? values : tensor.values };
    return { ...tensor, element: "fp16", values: tensor.values.map((value) => nearestHalf(Number(value))) };
  };
  const changed = Object.entries(inputs).map(([name, given]) => [
    name,
    [given].flat().map((one) => change(one as Tensor)),
  ]);
  return { operation: type, inputs: Object.fromEntries(changed), outputs: outputs.map(change) };
}

const found = await run(cases, "single");
const halves = cases.map(inHalf);
const unrounded = await run(halves, "single");
const rounded = await run(halves, "half");

test("every operation that is translated has a case", () => {
  const tried = new Set(cases.map(({ operation: type }) => type));
  expect(translatedOperations.filter((type) => type !== "const" && !tried.has(type))).toEqual([]);
});

const named = cases.map((one, index) => [one.operation, index, one] as const);

test.each(named)("%s, case %i", (_, index, one) => {
  const wanted = one.outputs.flatMap(({ values }) => values.map(Number));
  expect(found[index]?.length).toBe(wanted.length);
  for (const [place, number] of (found[index] ?? []).entries()) {
    const expected = wanted[place] ?? Number.NaN;
    expect(Math.abs(number - expected), `${one.operation}[${place}]: ${number}, ${expected}`).toBeLessThan(
      2e-6 * Math.max(1, Math.abs(expected)),
    );
  }
});

test.each(named)("%s, case %i, in half precision: the nearest halves", (_, index) => {
  expect(rounded[index]).toEqual(unrounded[index]?.map(nearestHalf));
});

test("which is not what was there before, where an operation computes", () => {
  const computing = new Set(
    named.flatMap(([type, index]) =>
      unrounded[index]?.some((number) => number !== nearestHalf(number)) ? [type] : [],
    ),
  );
  // All but those that only move or select numbers, and those whose cases hold integers.
  expect([...computing].sort()).toEqual([
    "add",
    "batch_norm",
    "conv",
    "einsum",
    "erf",
    "exp",
    "gelu",
    "layer_norm",
    "linear",
    "matmul",
    "mul",
    "pow",
    "real_div",
    "reduce_l2_norm",
    "reduce_mean",
    "reduce_sum",
    "reduce_sum_square",
    "rsqrt",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
    "sqrt",
    "square",
    "sub",
    "tanh",
  ]);
});
