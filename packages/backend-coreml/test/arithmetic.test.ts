import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type OnnxOptions, onnx } from "@crossrank/backend-onnx";
import { type BackendSession, createReranker, NonFiniteScoreError } from "@crossrank/core";
import { type Operation, writeModelPackage } from "@crossrank/formats/mlpackage";
import { describe, expect, onTestFinished, test } from "vitest";
import { coreml } from "../src/coreml.js";
import type { Arithmetic } from "../src/reference/translation.js";
import { constant, modelOf, operation, tensorType } from "./programs.js";
import {
  batchOf,
  load,
  modelFolder,
  type RoundedGolden,
  readFixture,
  reference,
  rejection,
  usual,
} from "./reference-fixtures.js";

/** Two rows of two ids become two logits. */
const rows = 2;
const length = 2;

async function folderOf(operations: readonly Operation[], shape = { rows, length }): Promise<string> {
  const folder = modelFolder("bert-logit");
  mkdirSync(join(folder, "mlpackage"));
  await writeModelPackage({
    path: join(folder, usual),
    model: modelOf({ ...shape, operations }),
    tensors: [],
  });
  return folder;
}

const half = (name: string): Record<string, ReturnType<typeof tensorType>> => ({
  [name]: tensorType("fp16", [rows, length]),
});

/** (id × 0.1 + 1000) − 1000 of the larger id of each row, in half precision. */
const ladder: readonly Operation[] = [
  constant("fp16", "string", ["fp16"]),
  constant("fp32", "string", ["fp32"]),
  // 0.1 to the nearest half.
  constant("tenth", "fp16", [0.0999755859375]),
  constant("thousand", "fp16", [1000]),
  constant("axes", "int32", [1], [1]),
  constant("keep", "bool", [true]),
  operation("cast", { x: "input_ids", dtype: "fp16" }, half("ids")),
  operation("mul", { x: "ids", y: "tenth" }, half("small")),
  operation("add", { x: "small", y: "thousand" }, half("large")),
  operation("sub", { x: "large", y: "thousand" }, half("back")),
  operation(
    "reduce_max",
    { x: "back", axes: "axes", keep_dims: "keep" },
    { top: tensorType("fp16", [rows, 1]) },
  ),
  operation("cast", { x: "top", dtype: "fp32" }, { logit: tensorType("fp32", [rows, 1]) }),
];

const sequences = [
  { ids: [3, 1], segmentIds: [0, 0] },
  { ids: [2, 7], segmentIds: [0, 0] },
];

async function logits(session: BackendSession): Promise<number[]> {
  const { data } = await session.run(batchOf(sequences, { rows, columns: length }));
  return [...data];
}

async function open(
  folder: string,
  arithmetic: Arithmetic,
  options: OnnxOptions = {},
): Promise<BackendSession> {
  const backend = onnx({ isolation: "thread", workers: 1, threads: 1, ...options });
  const session = await load(coreml({ reference: { backend, arithmetic } }), folder);
  onTestFinished(() => session.dispose());
  return session;
}

describe("half precision, by hand", () => {
  const levels = ["disabled", "basic", "extended", "all"] as const;

  test.each(levels)(
    "every intermediate is rounded, with ONNX Runtime's optimisation at %s",
    async (level) => {
      const options = { sessionOptions: { graphOptimizationLevel: level } };
      const folder = await folderOf(ladder);
      // 3 × 0.1 = 0.2999… and 7 × 0.1 = 0.6998…; near 1000 halves are 0.5 apart, so that they come back as 0.5.
      expect(await logits(await open(folder, "half", options))).toEqual([0.5, 0.5]);
      // In float32 the numbers near 1000 are 2^-14 apart.
      const [first = 0, second = 0] = await logits(await open(folder, "single", options));
      expect(first).toBeCloseTo(3 * 0.0999755859375, 4);
      expect(second).toBeCloseTo(7 * 0.0999755859375, 4);
      expect([first, second].every((number) => Number.isInteger(number * 2 ** 14))).toBe(true);
    },
  );

  test("ties go to the even half, and integers above 2048 are rounded as they come in", async () => {
    const operations = [
      constant("fp16", "string", ["fp16"]),
      constant("fp32", "string", ["fp32"]),
      constant("axes", "int32", [1], [1]),
      constant("keep", "bool", [true]),
      operation("cast", { x: "input_ids", dtype: "fp16" }, half("ids")),
      operation(
        "reduce_max",
        { x: "ids", axes: "axes", keep_dims: "keep" },
        { top: tensorType("fp16", [rows, 1]) },
      ),
      operation("cast", { x: "top", dtype: "fp32" }, { logit: tensorType("fp32", [rows, 1]) }),
    ];
    const folder = await folderOf(operations);
    const batch = () =>
      batchOf(
        [
          { ids: [2049, 1], segmentIds: [0, 0] },
          { ids: [2051, 1], segmentIds: [0, 0] },
        ],
        { rows, columns: length },
      );
    expect([...(await (await open(folder, "half")).run(batch())).data]).toEqual([2048, 2052]);
    expect([...(await (await open(folder, "single")).run(batch())).data]).toEqual([2049, 2051]);
  });

  test("subnormal halves survive, and what is below them is zero", async () => {
    // 2^-24 is the smallest half; a quarter of it rounds to zero.
    const operations = [
      ...ladder.slice(0, 2),
      constant("tenth", "fp16", [2 ** -12]),
      constant("thousand", "fp16", [2 ** -12]),
      ...ladder.slice(4, 8),
      operation("mul", { x: "small", y: "thousand" }, half("back")),
      ...ladder.slice(10),
    ];
    const folder = await folderOf(operations);
    expect(await logits(await open(folder, "half"))).toEqual([3 * 2 ** -24, 7 * 2 ** -24]);
    const smaller = operations.map((one) =>
      one.outputs[0]?.name === "thousand" ? constant("thousand", "fp16", [2 ** -14]) : one,
    );
    // 3 × 2^-26 = 0.75 × 2^-24 and 7 × 2^-26 = 1.75 × 2^-24.
    expect(await logits(await open(await folderOf(smaller), "half"))).toEqual([2 ** -24, 2 * 2 ** -24]);
  });
});

describe("beyond half precision", () => {
  /** Scores as a mask of the float minimum makes them: the number exists in single precision alone. */
  const maskOf = (hidden: number): readonly Operation[] => {
    const type = tensorType("fp16", [4, 64]);
    return [
      constant("fp16", "string", ["fp16"]),
      constant("fp32", "string", ["fp32"]),
      constant("one", "fp16", [1]),
      constant("minimum", "fp32", [hidden]),
      constant("axis", "int32", [1]),
      constant("axes", "int32", [1], [1]),
      constant("keep", "bool", [true]),
      operation("cast", { x: "minimum", dtype: "fp16" }, { hidden: tensorType("fp16", []) }),
      operation("cast", { x: "attention_mask", dtype: "fp16" }, { mask: type }),
      operation("sub", { x: "one", y: "mask" }, { padding: type }),
      operation("mul", { x: "padding", y: "hidden" }, { added: type }),
      operation("cast", { x: "input_ids", dtype: "fp16" }, { ids: type }),
      operation("add", { x: "ids", y: "added" }, { scores: type }),
      operation("softmax", { x: "scores", axis: "axis" }, { weights: type }),
      operation("mul", { x: "weights", y: "ids" }, { weighted: type }),
      operation(
        "reduce_sum",
        { x: "weighted", axes: "axes", keep_dims: "keep" },
        { top: tensorType("fp16", [4, 1]) },
      ),
      operation("cast", { x: "top", dtype: "fp32" }, { logit: tensorType("fp32", [4, 1]) }),
    ];
  };
  const shape = { rows: 4, length: 64 };
  const floatMinimum = -3.4028234663852886e38;

  test("a mask of the float minimum is NaN in half precision: NonFiniteScoreError", async () => {
    const folder = await folderOf(maskOf(floatMinimum), shape);
    const { openModel } = await import("@crossrank/hub");
    const model = await openModel(folder);
    const error = await rejection(createReranker({ model, backend: reference("half") }));
    expect(NonFiniteScoreError.isInstance(error), String(error)).toBe(true);
    expect((error as NonFiniteScoreError).value).toBe("NaN");
    const single = await createReranker({ model, backend: reference("single") });
    onTestFinished(() => single.dispose());
    const { scores } = await single.score([{ query: "tea", document: "green leaves" }]);
    expect(Number.isFinite(scores[0]?.logit)).toBe(true);
  });

  test("a mask of -10000 is not", async () => {
    const { openModel } = await import("@crossrank/hub");
    const model = await openModel(await folderOf(maskOf(-10_000), shape));
    const reranker = await createReranker({ model, backend: reference("half") });
    onTestFinished(() => reranker.dispose());
    const { scores } = await reranker.score([{ query: "tea", document: "green leaves" }]);
    expect(Number.isFinite(scores[0]?.logit)).toBe(true);
  });

  test("what coremltools makes of transformers' own attention in fp16 is refused, whatever the arithmetic", async () => {
    // The float minimum became −∞ in the artifact itself, and 0 × −∞ is NaN on every real token.
    const { openModel } = await import("@crossrank/hub");
    const model = await openModel(modelFolder("bert-logit", { [usual]: "bert-logit_plain" }));
    for (const arithmetic of ["single", "half"] as const) {
      const error = await rejection(createReranker({ model, backend: reference(arithmetic) }));
      expect(NonFiniteScoreError.isInstance(error), String(error)).toBe(true);
    }
  });
});

describe("whole models against torch with weights rounded to half", () => {
  const goldens = readFixture("rounded-weights.json") as Readonly<Record<string, readonly RoundedGolden[]>>;
  const packages = [
    ["xlm-roberta-logit", "xlm-roberta-logit_seed-port", 1],
    ["bert-logit", "bert-logit_sdpa", 0],
  ] as const;

  test.each(packages)("%s: %s", async (name, fixture, padding) => {
    const folder = modelFolder(name, { [usual]: fixture });
    const pairs = goldens[name] ?? [];
    expect(pairs.length).toBe(16);
    const differences: Record<Arithmetic, number[]> = { single: [], half: [] };
    for (const arithmetic of ["single", "half"] as const) {
      const session = await open(folder, arithmetic);
      const { data } = await session.run(batchOf(pairs, { rows: 20, columns: 64, padding }));
      differences[arithmetic] = pairs.map(({ logit }, row) => Math.abs((data[row] ?? Number.NaN) - logit));
    }
    // The same weights, so that nothing is left but the translation: well within the seed's 1e-3 on fixed pairs.
    expect(Math.max(...differences.single)).toBeLessThan(1e-4);
    // Half precision is visible, and of the size of its rounding.
    expect(Math.max(...differences.half)).toBeGreaterThan(1e-3);
    expect(Math.max(...differences.half)).toBeLessThan(0.04);
    console.log(
      `${fixture}: largest difference ${Math.max(...differences.single).toExponential(1)} in single, ` +
        `${Math.max(...differences.half).toExponential(1)} in half`,
    );
  });
});
