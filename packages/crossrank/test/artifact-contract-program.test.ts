import { join } from "node:path";
import {
  type Block,
  bodyOf,
  type CoreMlModel,
  defaultFunctionOf,
  describeModelPackage,
  type FunctionDefinition,
  type NamedType,
  openModelPackage,
  type PackageReport,
  writeModelPackage,
} from "@crossrank/formats/mlpackage";
import { describe, expect, test } from "vitest";
import { fixture, requestOf, temporaryFolder } from "../../formats/test/fixtures.js";
import { seedContract } from "../src/artifact-contract/seed-contract.js";
import { type Deviation, validateContract } from "../src/artifact-contract/validate.js";

const folder = await temporaryFolder();
let count = 0;

/** A real package, changed, written and read again. */
async function reportOf(name: string, change: (model: CoreMlModel) => CoreMlModel): Promise<PackageReport> {
  const { model, tensors } = await requestOf(await openModelPackage(fixture(name)));
  count += 1;
  const path = join(folder, `${count}.mlpackage`);
  await writeModelPackage({ path, model: change(model), tensors });
  return describeModelPackage(await openModelPackage(path));
}

function withFunction(
  model: CoreMlModel,
  change: (definition: FunctionDefinition) => FunctionDefinition,
): CoreMlModel {
  const { program } = model;
  const main = defaultFunctionOf(model);
  if (program === undefined || main === undefined) throw new Error("no function");
  return { ...model, program: { ...program, functions: { ...program.functions, main: change(main) } } };
}

function withBody(model: CoreMlModel, change: (body: Block) => Block): CoreMlModel {
  return withFunction(model, (definition) => {
    const body = bodyOf(definition);
    if (body === undefined) throw new Error("no body");
    return { ...definition, blocks: { [definition.opset]: change(body) } };
  });
}

const withInputs = (
  model: CoreMlModel,
  change: (input: NamedType, index: number) => NamedType,
): CoreMlModel =>
  withFunction(model, (definition) => ({ ...definition, inputs: definition.inputs.map(change) }));

const shapes = "int32 (20, 1, 1, 128) or (20, 1, 1, 256) or (20, 1, 1, 512)";

describe("a package whose program is not what its description says", () => {
  const cases: Readonly<
    Record<string, readonly [(model: CoreMlModel) => CoreMlModel, readonly Deviation[]]>
  > = {
    "is not found where nothing is changed": [(model) => model, []],
    "takes one length only": [
      (model) =>
        withInputs(model, (input) => ({
          ...input,
          type: { kind: "tensor", element: "int32", dimensions: [20, 1, 1, 64] },
        })),
      ["input_ids", "attention_mask"].map((name) => ({
        subject: `input ${name} in the program`,
        expected: shapes,
        found: "int32 (20, 1, 1, 64)",
      })),
    ],
    "takes another type": [
      (model) =>
        withInputs(model, (input, index) =>
          index === 0
            ? { ...input, type: { kind: "tensor", element: "fp32", dimensions: [20, 1, 1, undefined] } }
            : input,
        ),
      [
        {
          subject: "input input_ids in the program",
          expected: shapes,
          found: "fp32 (20, 1, 1, any)",
        },
      ],
    ],
    "calls an input by another name": [
      (model) => withInputs(model, (input, index) => (index === 0 ? { ...input, name: "ids_x" } : input)),
      [
        { subject: "input input_ids in the program", expected: shapes, found: "there is none" },
        { subject: "input ids_x in the program", expected: "there is none", found: "there is one" },
      ],
    ],
    "takes an input twice": [
      (model) =>
        withFunction(model, (definition) => ({
          ...definition,
          inputs: [...definition.inputs, ...definition.inputs.slice(0, 1)],
        })),
      [{ subject: "input input_ids in the program", expected: "once", found: "2 times" }],
    ],
    "gives nothing of the output's name": [
      (model) => withBody(model, (body) => ({ ...body, outputs: ["nothing"] })),
      [
        { subject: "output logit in the program", expected: "float32 (20, 1)", found: "there is none" },
        { subject: "output nothing in the program", expected: "there is none", found: "there is one" },
      ],
    ],
    "names an output that no operation makes": [
      (model) =>
        withBody(model, (body) => ({
          ...body,
          operations: body.operations.filter(
            ({ outputs }) => !outputs.some((output) => output.name === "logit"),
          ),
        })),
      [{ subject: "output logit in the program", expected: "float32 (20, 1)", found: "no tensor" }],
    ],
    "has no body for its operation set": [
      (model) => withFunction(model, (definition) => ({ ...definition, opset: "CoreML5" })),
      [{ subject: "function main", expected: "a body for CoreML5", found: "there is none" }],
    ],
    "lacks the default function": [
      (model) => ({ ...model, defaultFunction: "toString" }),
      [{ subject: "default function", expected: "one of the program's", found: "there is none" }],
    ],
  };
  test.each(Object.entries(cases))("%s", async (_, [change, deviations]) => {
    expect(validateContract(await reportOf("enumerated.mlpackage", change), seedContract)).toEqual(
      deviations,
    );
  });

  test("takes one length of a described range", async () => {
    const report = await reportOf("range.mlpackage", (model) =>
      withInputs(model, (input) => ({
        ...input,
        type: { kind: "tensor", element: "int32", dimensions: [20, 1, 1, 64] },
      })),
    );
    const subjects = validateContract(report, seedContract).map(({ subject }) => subject);
    expect(subjects).toContain("input input_ids in the program");
  });
});

test("token ids that coremltools cuts to 16 bits are a deviation where the table is longer", async () => {
  const opened = await openModelPackage(fixture("enumerated.mlpackage"));
  const withRows = (rows: number): CoreMlModel =>
    withBody(opened.model, (body) => ({
      ...body,
      operations: body.operations.map((one) => {
        const [output] = one.outputs;
        const isTable = one.type === "const" && output?.type.kind === "tensor" && output.name === table;
        return isTable
          ? { ...one, outputs: [{ name: table, type: { ...output.type, dimensions: [rows, 8] } }] }
          : one;
      }),
    }));
  const main = defaultFunctionOf(opened.model);
  const gather = (main && bodyOf(main))?.operations.find(({ type }) => type === "gather");
  const [binding] = gather?.inputs["x"] ?? [];
  const table = binding !== undefined && "name" in binding ? binding.name : "";
  const deviationsOf = async (rows: number): Promise<readonly Deviation[]> =>
    validateContract(await describeModelPackage({ ...opened, model: withRows(rows) }), seedContract);
  expect(await deviationsOf(32_768)).toEqual([]);
  expect(await deviationsOf(40_000)).toEqual([
    {
      subject: "input input_ids in the program",
      expected: "whole up to the table of 40000 rows that it looks up",
      found: "cut to int16, up to 32767, by cast input_ids_to_int16",
    },
  ]);
});

describe("a description that leaves something open", () => {
  test("an input may be left out", async () => {
    const report = await reportOf("enumerated.mlpackage", (model) => ({
      ...model,
      inputs: model.inputs.map((input) => ({ ...input, optional: input.name === "attention_mask" })),
    }));
    expect(validateContract(report, seedContract)).toEqual([
      { subject: "input attention_mask", expected: shapes, found: `${shapes}, optional` },
    ]);
  });

  test("an input is described twice", async () => {
    const report = await reportOf("enumerated.mlpackage", (model) => ({
      ...model,
      inputs: [...model.inputs, ...model.inputs.slice(0, 1)],
    }));
    expect(validateContract(report, seedContract)).toEqual([
      { subject: "input input_ids", expected: "once", found: "2 times" },
    ]);
  });
});

describe("a package of two functions", () => {
  test("is described by its default function", async () => {
    const report = await describeModelPackage(await openModelPackage(fixture("functions.mlpackage")));
    expect(report.function).toEqual({
      name: "short",
      others: ["long"],
      opset: "CoreML8",
      hasBody: true,
      inputs: ["input_ids", "attention_mask"],
      outputs: ["logit"],
    });
    expect(report.operations["gather"]).toBe(1);
  });

  test("is described by the other one, once that is the default", async () => {
    const report = await reportOf("functions.mlpackage", (model) => {
      const { program } = model;
      const long = program?.functions["long"];
      if (program === undefined || long === undefined) throw new Error("no such function");
      const renamed = long.inputs.map((input) => ({ ...input, name: `long_${input.name}` }));
      return {
        ...model,
        defaultFunction: "long",
        inputs: model.inputs.map((input) => ({ ...input, name: `long_${input.name}` })),
        program: {
          ...program,
          functions: { ...program.functions, long: { ...long, inputs: renamed } },
        },
      };
    });
    expect(report.function).toMatchObject({ name: "long", others: ["short"] });
    expect(report.inputs.map(({ name, inProgram }) => [name, inProgram])).toEqual(
      ["long_input_ids", "long_attention_mask"].map((name) => [
        name,
        { element: "int32", dimensions: [20, 1, 1, 128] },
      ]),
    );
  });
});
