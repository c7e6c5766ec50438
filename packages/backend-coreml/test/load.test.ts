import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { onnx } from "@crossrank/backend-onnx";
import {
  type Backend,
  IncompatibleModelError,
  InvalidInputError,
  ModelFileNotFoundError,
  ModelLoadError,
} from "@crossrank/core";
import {
  type CoreMlModel,
  type FunctionDefinition,
  type Operation,
  writeModelPackage,
} from "@crossrank/formats/mlpackage";
import { describe, expect, onTestFinished, test } from "vitest";
import { coreml } from "../src/coreml.js";
import { planOutput, planPackage } from "../src/feature-plan.js";
import { modelLoadError } from "../src/load-error.js";
import { NativeError } from "../src/native-error.js";
import { UntranslatableProgramError } from "../src/reference/errors.js";
import { constant, modelOf, operation, tensorType } from "./programs.js";
import { batchOf, load, modelFolder, reference, rejection, usual } from "./reference-fixtures.js";

const program = "Data/com.apple.CoreML/model.mlmodel";
const weights = "Data/com.apple.CoreML/weights/weight.bin";

/** Writes packages into a model's folder. */
async function folderOf(packages: Readonly<Record<string, CoreMlModel>>): Promise<string> {
  const folder = modelFolder("bert-logit");
  for (const [path, model] of Object.entries(packages)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    await writeModelPackage({ path: join(folder, path), model, tensors: [] });
  }
  return folder;
}

/** Each row's sum of ids. */
function sumOf(rows: number, length: number, extra: readonly Operation[] = []): readonly Operation[] {
  return [
    constant("fp32", "string", ["fp32"]),
    constant("axes", "int32", [1], [1]),
    constant("keep", "bool", [true]),
    operation("cast", { x: "input_ids", dtype: "fp32" }, { ids: tensorType("fp32", [rows, length]) }),
    ...extra,
    operation(
      "reduce_sum",
      { x: "ids", axes: "axes", keep_dims: "keep" },
      { logit: tensorType("fp32", [rows, 1]) },
    ),
  ];
}

const sum = (rows: number, length: number, extra?: readonly Operation[]): CoreMlModel =>
  modelOf({ rows, length, operations: sumOf(rows, length, extra) });

async function refused<Wanted extends Error>(
  folder: string,
  kind: abstract new (...facts: never[]) => Wanted,
  request: Parameters<typeof load>[2] = {},
  backend: Backend = reference(),
): Promise<Wanted> {
  const error = await rejection(load(backend, folder, request));
  expect(error).toBeInstanceOf(kind);
  return error as Wanted;
}

describe("which package is run", () => {
  test("fp16 before fp32, unless the request or the profile says otherwise; then the root of the folder", async () => {
    const folder = await folderOf({
      "mlpackage/model_fp32.mlpackage": sum(2, 4),
      "mlpackage/model.mlpackage": sum(3, 4),
      "model.mlpackage": sum(4, 4),
    });
    const rowsOf = async (request: Parameters<typeof load>[2]): Promise<unknown> => {
      const session = await load(reference(), folder, request);
      onTestFinished(() => session.dispose());
      return [session.artifact.dtype, session.capabilities.batchSize];
    };
    expect(await rowsOf({})).toEqual(["fp16", { exactly: 3 }]);
    expect(await rowsOf({ dtype: "fp32" })).toEqual(["fp32", { exactly: 2 }]);
    rmSync(join(folder, "mlpackage"), { recursive: true });
    expect(await rowsOf({})).toEqual(["fp16", { exactly: 4 }]);
  });

  test("one named by `file`", async () => {
    const folder = await folderOf({ "other/mine_int8.mlpackage": sum(2, 4) });
    const backend = (file: string) => coreml({ file, reference: { backend: onnx({ workers: 1 }) } });
    const session = await load(backend("other/mine_int8.mlpackage"), folder);
    onTestFinished(() => session.dispose());
    expect(session.artifact.dtype).toBe("mine_int8");
    expect(session.artifact.files.map(({ path }) => path)).toEqual([
      `other/mine_int8.mlpackage/${program}`,
      "other/mine_int8.mlpackage/Manifest.json",
    ]);
    const { found } = await refused(folder, ModelFileNotFoundError, {}, backend("model.mlpackage"));
    expect(found).toEqual(["other/mine_int8.mlpackage"]);
  });

  test("packages of one length each are one session", async () => {
    const folder = await folderOf({
      "mlpackage/model_8.mlpackage": sum(2, 8),
      "mlpackage/model_4.mlpackage": sum(2, 4),
      "mlpackage/model_16.mlpackage": sum(2, 16),
    });
    const session = await load(reference(), folder);
    onTestFinished(() => session.dispose());
    expect(session.capabilities).toMatchObject({
      sequenceLengths: [4, 8, 16],
      maxSequenceLength: 16,
      batchSize: { exactly: 2 },
    });
    expect(session.artifact.files.map(({ path }) => path.split("/")[1])).toEqual([
      ...["model_4.mlpackage", "model_4.mlpackage"],
      ...["model_8.mlpackage", "model_8.mlpackage"],
      ...["model_16.mlpackage", "model_16.mlpackage"],
    ]);
    for (const columns of [4, 8, 16]) {
      const ids = Array.from({ length: columns }, (_, place) => place);
      const batch = batchOf([{ ids, segmentIds: [] }], { rows: 2, columns });
      expect([...(await session.run(batch)).data]).toEqual([(columns * (columns - 1)) / 2, 0]);
    }
  });

  test("packages that do not go together are refused", async () => {
    const rows = await folderOf({
      "mlpackage/model_4.mlpackage": sum(2, 4),
      "mlpackage/model_8.mlpackage": sum(3, 8),
    });
    expect((await refused(rows, ModelLoadError)).message).toContain("other inputs, rows or outputs");
    const twice = await folderOf({
      "mlpackage/model_4.mlpackage": sum(2, 4),
      "mlpackage/model_8.mlpackage": sum(2, 4),
    });
    expect((await refused(twice, ModelLoadError)).message).toContain("it takes length 4, as another");
  });

  test("a set of which a length is missing is refused, and so is one with a length of another", async () => {
    const lengths = [4, 8, 16];
    const part = (length: number, set = lengths): CoreMlModel => {
      const model = sum(2, length);
      const userDefined = { "crossrank.lengths": set.join() };
      return { ...model, metadata: { ...model.metadata, userDefined } };
    };
    const path = (length: number): string => `mlpackage/model_${length}.mlpackage`;
    const folder = await folderOf(Object.fromEntries(lengths.map((one) => [path(one), part(one)])));
    const session = await load(reference(), folder);
    onTestFinished(() => session.dispose());
    expect(session.capabilities.sequenceLengths).toEqual(lengths);

    for (const [gone, here] of [
      [16, "4, 8"],
      [8, "4"],
    ] as const) {
      rmSync(join(folder, path(gone)), { recursive: true });
      const error = await refused(folder, ModelLoadError);
      expect(error.file).toBe(path(4));
      expect(error.message).toContain(`of the lengths 4, 8, 16, and the packages here take ${here}.`);
    }
    // By name it is the caller's choice.
    const named = coreml({ file: path(4), reference: { backend: onnx({ workers: 1 }) } });
    const alone = await load(named, folder);
    onTestFinished(() => alone.dispose());
    expect(alone.capabilities.maxSequenceLength).toBe(4);

    const mixed = await folderOf({
      [path(4)]: part(4, [4, 8]),
      [path(8)]: part(8, [4, 8]),
      [path(2)]: sum(2, 2),
    });
    expect((await refused(mixed, ModelLoadError)).message).toContain(
      "lengths 4, 8, and the packages here take 2, 4, 8",
    );
  });

  test("of a package with several functions the default one", async () => {
    const main = sum(2, 4);
    const doubled = sumOf(2, 4).flatMap((one) =>
      one.type === "cast"
        ? [
            constant("two", "fp32", [2]),
            { ...one, outputs: [{ name: "raw", type: tensorType("fp32", [2, 4]) }] },
            operation("mul", { x: "raw", y: "two" }, { ids: tensorType("fp32", [2, 4]) }),
          ]
        : [one],
    );
    const functions = {
      ...main.program?.functions,
      double: modelOf({ rows: 2, length: 4, operations: doubled }).program?.functions["main"],
    } as Readonly<Record<string, FunctionDefinition>>;
    for (const [defaultFunction, logit] of [
      ["main", 6],
      ["double", 12],
    ] as const) {
      const model = { ...main, defaultFunction, program: { version: 1, attributes: {}, functions } };
      const session = await load(reference(), await folderOf({ [usual]: model }));
      onTestFinished(() => session.dispose());
      const batch = batchOf([{ ids: [1, 2, 3], segmentIds: [] }], { rows: 2, columns: 4 });
      expect([...(await session.run(batch)).data]).toEqual([logit, 0]);
    }
  });

  test("there is none", async () => {
    const bare = modelFolder("bert-logit");
    const error = await refused(bare, ModelFileNotFoundError);
    expect(error.expected).toEqual([usual, "model.mlpackage"]);
    expect(error.message).toContain("crossrank convert --to mlpackage");
    const folder = await folderOf({ [usual]: sum(2, 4) });
    const other = await refused(folder, ModelFileNotFoundError, { dtype: "fp32" });
    expect(other.message).toContain("Ask for dtype fp16.");
    await refused(folder, InvalidInputError, { dtype: "int8" });
  });
});

describe("packages that are not whole", () => {
  const sound = (): string => modelFolder("bert-logit", { [usual]: "bert-logit_sdpa" });

  test.each([program, "Manifest.json"])("without %s", async (part) => {
    const folder = sound();
    rmSync(join(folder, usual, part));
    expect((await refused(folder, ModelFileNotFoundError)).expected).toEqual([`${usual}/${part}`]);
  });

  test("without its weights", async () => {
    const folder = sound();
    rmSync(join(folder, usual, weights));
    const error = await refused(folder, ModelLoadError);
    expect(error.message).toContain("weight.bin");
  });

  test.each([
    ["empty", () => Buffer.alloc(0), /the file is empty/],
    [
      "a Git LFS pointer",
      () => Buffer.from("version https://git-lfs.github.com/spec/v1\noid"),
      /git lfs pull/,
    ],
    ["cut in half", (bytes: Buffer) => bytes.subarray(0, bytes.length >> 1), /weight\.bin/],
    ["short of its last byte", (bytes: Buffer) => bytes.subarray(0, -1), /weight\.bin/],
  ])("with weights that are %s", async (_, change, message) => {
    const folder = sound();
    const path = join(folder, usual, weights);
    writeFileSync(path, change(readFileSync(path)));
    const error = await refused(folder, ModelLoadError);
    expect(error.message).toMatch(message);
    expect(error.file).toBe(`${usual}/${weights}`);
  });

  test("but an empty file that nothing reads is none of its parts", async () => {
    const folder = sound();
    writeFileSync(join(folder, usual, ".gitkeep"), "");
    const session = await load(reference(), folder);
    onTestFinished(() => session.dispose());
    expect(session.artifact.files.map(({ path }) => path)).toContain(`${usual}/.gitkeep`);
  });

  test("whose files a model keeps in different places", async () => {
    const folder = sound();
    const apart = join(folder, "elsewhere.bin");
    renameSync(join(folder, usual, weights), apart);
    const { openFixtureFolder } = await import("@crossrank/conformance");
    const { files } = openFixtureFolder(folder);
    const path = `${usual}/${weights}`;
    const scattered = {
      ...files,
      list: async () => [...(await files.list()), { path, size: 1 }],
      localPath: async (wanted: string) => (wanted === path ? apart : files.localPath(wanted)),
    };
    const error = await refused(folder, ModelLoadError, { files: scattered });
    expect(error.message).toContain("lie apart");
  });
});

describe("inputs and outputs", () => {
  const array = (shape: readonly number[], element = "int32" as const) => ({
    kind: "multi-array" as const,
    element,
    shape,
  });
  const withInputs = (
    shapes: Readonly<Record<string, CoreMlModel["inputs"][number]["type"]>>,
  ): CoreMlModel => ({
    ...sum(2, 4),
    inputs: Object.entries(shapes).map(([name, type]) => ({ name, description: "", optional: false, type })),
  });
  const both = (type: CoreMlModel["inputs"][number]["type"]): CoreMlModel =>
    withInputs({ input_ids: type, attention_mask: type });
  const enumerated = (...shapes: number[][]) => ({
    ...array(shapes[0] as number[]),
    flexibility: { kind: "enumerated" as const, shapes },
  });

  test("the seed's shapes, and segments", () => {
    const shapes = enumerated([20, 1, 1, 256], [20, 1, 1, 128], [20, 1, 1, 512]);
    expect(
      planPackage(withInputs({ input_ids: shapes, attention_mask: shapes, token_type_ids: shapes })),
    ).toEqual({
      inputs: [
        { name: "input_ids", source: "inputIds", rank: 4 },
        { name: "attention_mask", source: "attentionMask", rank: 4 },
        { name: "token_type_ids", source: "segmentIds", rank: 4 },
      ],
      rows: 20,
      lengths: [128, 256, 512],
    });
  });

  test.each([
    [
      "an unknown input",
      withInputs({ input_ids: array([2, 4]), position_ids: array([2, 4]) }),
      /unknown input "pos/,
    ],
    ["no mask", withInputs({ input_ids: array([2, 4]) }), /no input "attention_mask", without which padding/],
    ["no ids", withInputs({ attention_mask: array([2, 4]) }), /no input "input_ids"/],
    [
      "floats",
      both({ kind: "multi-array", element: "float32", shape: [2, 4] }),
      /"input_ids" is no int32 array/,
    ],
    [
      "an image",
      both({ kind: "other", as: "imageType" }),
      /no int32 array; it wants input_ids \(imageType\)/,
    ],
    ["three dimensions", both(array([2, 1, 4])), /neither \(rows, 1, 1, length\) nor \(rows, length\)/],
    ["channels", both(array([2, 3, 1, 4])), /neither/],
    ["no shape", both(array([])), /neither/],
    [
      "a range",
      both({
        ...array([2, 4]),
        flexibility: {
          kind: "range",
          ranges: [
            { lower: 2, upper: 2 },
            { lower: 1, upper: 512 },
          ],
        },
      }),
      /a range of shapes/,
    ],
    ["two batch sizes", both(enumerated([1, 4], [20, 4])), /batches of 1 and 20 rows/],
    [
      "shapes that differ",
      withInputs({ input_ids: enumerated([2, 4], [2, 8]), attention_mask: array([2, 4]) }),
      /differ in shape/,
    ],
    ["an open length", both(array([2, -1])), /not fixed/],
  ])("%s is refused", (_, model, message) => {
    const plan = planPackage(model);
    expect("problem" in plan ? plan.problem : plan).toMatch(message);
  });

  test("an output that is not there is an incompatible model, one in half precision a refusal", async () => {
    const folder = await folderOf({ [usual]: sum(2, 4) });
    const error = await refused(folder, IncompatibleModelError, {
      output: { kinds: ["pooled", "hidden-states"] },
    });
    expect(error.wanted).toBe('pooled" or "hidden-states');
    expect(error.supported).toEqual(["logit float32 ()"]);
    const model = sum(2, 4);
    const [output] = model.outputs;
    const type = { kind: "multi-array", element: "float16", shape: [] } as const;
    const changed = { ...model, outputs: [{ ...(output as (typeof model.outputs)[number]), type }] };
    expect(planOutput(changed, ["class-logits"])).toMatchObject({
      problem: expect.stringContaining("float16"),
    });
  });

  test("a pooled vector is given as such", async () => {
    const operations = sumOf(2, 4).map((one) =>
      one.type === "reduce_sum" ? { ...one, outputs: [{ ...one.outputs[0], name: "pooled_output" }] } : one,
    ) as readonly Operation[];
    const model = modelOf({ rows: 2, length: 4, operations, output: "pooled_output" });
    const session = await load(reference(), await folderOf({ [usual]: model }), {
      output: { kinds: ["hidden-states", "pooled"] },
    });
    onTestFinished(() => session.dispose());
    expect(session.capabilities.output).toBe("pooled");
    const { kind, shape } = await session.run(
      batchOf([{ ids: [1, 2], segmentIds: [] }], { rows: 2, columns: 4 }),
    );
    expect([kind, shape]).toEqual(["pooled", [2, 1]]);
  });
});

describe("programs that are not covered", () => {
  const flat = { extra: tensorType("fp32", [2, 4]) };

  test.each([
    [
      "an unknown operation",
      [operation("lstm", { x: "ids" }, flat)],
      "lstm",
      /no translation of this operation/,
    ],
    [
      "compressed weights",
      [operation("constexpr_lut_to_dense", { indices: "ids" }, flat)],
      "constexpr_lut_to_dense",
      /without compressing/,
    ],
    [
      "an argument that has no meaning here",
      [operation("tanh", { x: "ids", alpha: "keep" }, flat)],
      "tanh",
      /argument alpha is not covered/,
    ],
    ["a missing argument", [operation("tanh", {}, flat)], "tanh", /no argument x/],
    [
      "a value that nothing made",
      [operation("tanh", { x: "nowhere" }, flat)],
      "tanh",
      /"nowhere", which is not made/,
    ],
    [
      "a parameter that is computed",
      [operation("softmax", { x: "ids", axis: "ids" }, flat)],
      "softmax",
      /argument axis is not a constant/,
    ],
    [
      "an unknown mode",
      [constant("mode", "string", ["FAST"]), operation("gelu", { x: "ids", mode: "mode" }, flat)],
      "gelu",
      /mode "FAST" is not covered/,
    ],
    [
      "a batched gather",
      [
        constant("one", "int32", [1]),
        operation("gather", { x: "ids", indices: "input_ids", axis: "one", batch_dims: "one" }, flat),
      ],
      "gather",
      /batch_dims = 1 is not covered/,
    ],
    [
      "an axis that is not there",
      [
        constant("two", "int32", [2]),
        operation("gather", { x: "ids", indices: "input_ids", axis: "two" }, flat),
      ],
      "gather",
      /no axis 2 among 2/,
    ],
    [
      "narrow integers in arithmetic",
      [operation("add", { x: "input_ids", y: "input_ids" }, { extra: tensorType("int16", [2, 4]) })],
      "add",
      /computing in int16 is not covered/,
    ],
    [
      "double precision",
      [operation("tanh", { x: "ids" }, { extra: tensorType("fp64", [2, 4]) })],
      "tanh",
      /computing in fp64/,
    ],
    [
      "a padding that depends on the input",
      [
        constant("same", "string", ["same"]),
        operation("conv", { x: "ids", weight: "ids", pad_type: "same" }, flat),
      ],
      "conv",
      /pad_type "same"/,
    ],
    [
      "a reshape that copies dimensions",
      [constant("shape", "int32", [0, 4], [2]), operation("reshape", { x: "ids", shape: "shape" }, flat)],
      "reshape",
      /a 0 in shape/,
    ],
    [
      "one output too many",
      [operation("tanh", { x: "ids" }, { ...flat, more: tensorType("fp32", [2, 4]) })],
      "tanh",
      /it has 2 outputs/,
    ],
  ] as const)("%s", async (_, extra, type, message) => {
    const folder = await folderOf({ [usual]: sum(2, 4, extra) });
    const error = await refused(folder, ModelLoadError);
    expect(error.message).toMatch(message);
    expect(error.file).toBe(usual);
    const { cause } = error;
    expect(UntranslatableProgramError.isInstance(cause)).toBe(true);
    expect(cause).toMatchObject({ operation: type, value: "extra" });
  });

  test("token ids that are cut to 16 bits, where the vocabulary is larger", async () => {
    const lookUp = (tokens: number): readonly Operation[] => {
      const ids = { narrow: tensorType("int16", [2, 4]) };
      const table = Array.from({ length: tokens * 2 }, (_, place) => place % 3);
      return [
        constant("int16", "string", ["int16"]),
        constant("int32", "string", ["int32"]),
        constant("first", "int32", [0]),
        constant("places", "int32", [2], [1]),
        constant("table", "fp32", table, [tokens, 2]),
        operation(
          "expand_dims",
          { x: "input_ids", axes: "places" },
          { wide: tensorType("int32", [2, 4, 1]) },
        ),
        operation("squeeze", { x: "wide", axes: "places" }, { again: tensorType("int32", [2, 4]) }),
        operation("cast", { x: "again", dtype: "int16" }, ids),
        operation("cast", { x: "narrow", dtype: "int32" }, { whole: tensorType("int32", [2, 4]) }),
        operation(
          "gather",
          { x: "table", indices: "whole", axis: "first" },
          { extra: tensorType("fp32", [2, 4, 2]) },
        ),
      ];
    };
    const folder = await folderOf({ [usual]: sum(2, 4, lookUp(32_769)) });
    const error = await refused(folder, ModelLoadError);
    expect(error.message).toContain('cast "narrow": it narrows input_ids to int16, up to 32767');
    expect(error.message).toContain("32769 rows");
    // Core ML itself is not even asked, nor missed where there is none.
    const native = await refused(folder, ModelLoadError, {}, coreml());
    expect(native.message).toBe(error.message.replace("coreml:reference cannot", "coreml cannot"));
    expect(error.message).toContain("common::add_int16_cast");
    // The largest id still fits.
    const session = await load(reference(), await folderOf({ [usual]: sum(2, 4, lookUp(32_768)) }));
    onTestFinished(() => session.dispose());
    const batch = batchOf([{ ids: [32_767, 1], segmentIds: [] }], { rows: 2, columns: 4 });
    expect([...(await session.run(batch)).data]).toEqual([32_768, 0]);
  });

  test("an output of another form", async () => {
    const operations = sumOf(2, 4).map((one) =>
      one.type === "reduce_sum"
        ? { ...one, outputs: [{ name: "logit", type: tensorType("fp32", [2, 1, 1]) }] }
        : one,
    );
    const folder = await folderOf({ [usual]: modelOf({ rows: 2, length: 4, operations }) });
    expect((await refused(folder, ModelLoadError)).message).toContain("fp32 of 3 dimensions, not fp32 of 2");
  });
});

describe("the backend", () => {
  test("has a name for each arithmetic, and says what it runs on", async () => {
    expect(coreml().name).toBe("coreml");
    expect(reference().name).toBe("coreml:reference");
    expect(reference("half").name).toBe("coreml:reference-half");
    const { available, runtime, detail } = await reference().diagnose();
    expect(available).toBe(true);
    expect(runtime?.name).toBe("Core ML reference (on onnxruntime-node)");
    expect(detail).toMatch(/^packages are translated to ONNX, without Core ML; onnx: /);
  });

  test.each([
    [{ file: "model.mlmodel" }, "file"],
    [{ computeUnits: "gpu" }, "computeUnits"],
    [{ cacheFolder: "" }, "cacheFolder"],
    [{ reference: { backend: onnx(), arithmetic: "double" } }, "reference.arithmetic"],
    [{ reference: {} }, "reference.backend"],
  ])("refuses %j", (options, path) => {
    expect(() => coreml(options as Parameters<typeof coreml>[0])).toThrow(
      expect.objectContaining({ path, code: "invalid-input" }),
    );
  });

  test.skipIf(process.platform === "darwin")("without Core ML it says so, and what can be done", async () => {
    const folder = await folderOf({ [usual]: sum(2, 4) });
    const error = await refused(folder, ModelLoadError, {}, coreml());
    expect(error.backend).toBe("coreml");
    expect(error.message).toContain(`: ${(error.cause as NativeError).message}`);
    expect(error.message.match(/coreml\(\{ reference \}\)/g)).toHaveLength(1);
  });

  test.each([
    [
      new NativeError("cache", "it is full", { fix: "Name another folder" }),
      "it is full",
      "Name another folder",
    ],
    [
      new NativeError("load", "it is too\nlarge."),
      "it is too large",
      "Take other `computeUnits`, or convert the model for this version of macOS",
    ],
    [
      new NativeError("cache", "it changed"),
      "it changed",
      "Check where the package comes from, and convert it again",
    ],
    [new Error("it broke."), "it broke", "Check where the package comes from, and convert it again"],
  ])("gives one advice for %s", (cause, problem, fix) => {
    const error = modelLoadError({ model: "m", backend: "coreml", file: usual }, cause);
    expect(error.cause).toBe(cause);
    expect(error.message).toBe(`coreml cannot load ${usual}: ${problem}. ${fix}`);
  });

  test("a reference whose own backend cannot load is an error of this one", async () => {
    const folder = await folderOf({ [usual]: sum(2, 4) });
    const backend = coreml({ reference: { backend: onnx({ file: "another.onnx" }) } });
    const error = await refused(folder, ModelLoadError, {}, backend);
    expect(error.backend).toBe("coreml:reference");
    expect(ModelFileNotFoundError.isInstance(error.cause)).toBe(true);
  });
});
