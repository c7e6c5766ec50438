import { InvalidInputError } from "@crossrank/core";
import { describeModelPackage, openModelPackage, type PackageReport } from "@crossrank/formats/mlpackage";
import { describe, expect, test } from "vitest";
import { fixture } from "../../formats/test/fixtures.js";
import { readContract } from "../src/artifact-contract/read-contract.js";
import { fixedSeedContract, seedContract } from "../src/artifact-contract/seed-contract.js";
import { validateContract } from "../src/artifact-contract/validate.js";

const reportOf = async (name: string): Promise<PackageReport> =>
  describeModelPackage(await openModelPackage(fixture(name)));

describe("the seed's contract", () => {
  test("is kept by a package that coremltools converted with the seed's tensors", async () => {
    expect(validateContract(await reportOf("enumerated.mlpackage"), seedContract)).toEqual([]);
  });

  test("is kept by a package of one length as that of one length", async () => {
    const report = await reportOf("fixed.mlpackage");
    expect(validateContract(report, fixedSeedContract(128))).toEqual([]);
    expect(validateContract(report, fixedSeedContract(256)).map(({ subject }) => subject)).toEqual([
      "input input_ids",
      "input attention_mask",
    ]);
  });

  test("lists every deviation, not the first", async () => {
    const shapes = "int32 (20, 1, 1, 128) or (20, 1, 1, 256) or (20, 1, 1, 512)";
    const range = "int32 (20, 1, 1, 1..64)";
    expect(validateContract(await reportOf("range.mlpackage"), seedContract)).toEqual([
      { subject: "specification version", expected: "9", found: "7" },
      { subject: "input input_ids", expected: shapes, found: range },
      { subject: "input attention_mask", expected: shapes, found: range },
      { subject: "weights", expected: "only fp16, int16, uint16, int32", found: "4 of fp32 (3200 bytes)" },
    ]);
  });

  test("is not kept by another kind of model", async () => {
    const shapes = "int32 (20, 1, 1, 128) or (20, 1, 1, 256) or (20, 1, 1, 512)";
    expect(validateContract(await reportOf("network.mlmodel"), seedContract)).toEqual([
      { subject: "kind", expected: "mlProgram", found: "neuralNetwork" },
      { subject: "specification version", expected: "9", found: "4" },
      { subject: "input input_ids", expected: shapes, found: "there is none" },
      { subject: "input attention_mask", expected: shapes, found: "there is none" },
      { subject: "input x", expected: "there is none", found: "float64 (3)" },
      { subject: "output logit", expected: "float32 (20, 1)", found: "there is none" },
      { subject: "output y", expected: "there is none", found: "float64 (2)" },
    ]);
  });
});

describe("single deviations", () => {
  const changes: Readonly<
    Record<string, readonly [(report: PackageReport) => PackageReport, string, string]>
  > = {
    "an input of another name": [
      (report) => ({
        ...report,
        inputs: report.inputs.map((input) => ({ ...input, name: `${input.name}s` })),
      }),
      "input attention_mask",
      "there is none",
    ],
    "an input of another type": [
      (report) => ({
        ...report,
        inputs: report.inputs.map((input) => ({
          ...input,
          type: { ...input.type, element: "float32" } as never,
        })),
      }),
      "input input_ids",
      "float32 (20, 1, 1, 128) or (20, 1, 1, 256) or (20, 1, 1, 512)",
    ],
    "one length too few": [
      (report) => ({
        ...report,
        inputs: report.inputs.map((input) => ({
          ...input,
          type: {
            ...input.type,
            flexibility: {
              kind: "enumerated",
              shapes: [
                [20, 1, 1, 128],
                [20, 1, 1, 512],
              ],
            },
          } as never,
        })),
      }),
      "input input_ids",
      "int32 (20, 1, 1, 128) or (20, 1, 1, 512)",
    ],
    "an input more": [
      (report) => ({
        ...report,
        inputs: [...report.inputs, { ...report.inputs[0], name: "token_type_ids" } as never],
      }),
      "input token_type_ids",
      "int32 (20, 1, 1, 128) or (20, 1, 1, 256) or (20, 1, 1, 512)",
    ],
    "an output that the program gives in another type": [
      (report) => ({
        ...report,
        outputs: report.outputs.map((output) => ({
          ...output,
          inProgram: { element: "fp16", dimensions: [20, 1] },
        })),
      }),
      "output logit in the program",
      "fp16 (20, 1)",
    ],
    "weights of eight bits": [
      (report) => ({ ...report, weights: [...report.weights, { element: "int8", tensors: 3, bytes: 90 }] }),
      "weights",
      "3 of int8 (90 bytes)",
    ],
  };
  test.each(Object.entries(changes))("%s", async (_, [change, subject, found]) => {
    const deviations = validateContract(change(await reportOf("enumerated.mlpackage")), seedContract);
    expect(deviations).toContainEqual(expect.objectContaining({ subject, found }));
  });

  test("an output of another shape is one deviation, not two", async () => {
    const contract = { outputs: [{ name: "logit", element: "float32", shapes: [[8, 1]] }] } as const;
    expect(validateContract(await reportOf("enumerated.mlpackage"), contract)).toEqual([
      { subject: "output logit", expected: "float32 (8, 1)", found: "float32 (20, 1)" },
    ]);
  });

  test("an output whose shape only the program tells", async () => {
    const report = await reportOf("enumerated.mlpackage");
    const undeclared = (dimensions: readonly (number | null)[]): PackageReport => ({
      ...report,
      outputs: report.outputs.map((output) => ({
        ...output,
        type: { kind: "multi-array", element: "float32", shape: [] },
        inProgram: { element: "fp32", dimensions },
      })),
    });
    expect(validateContract(undeclared([20, 1]), seedContract)).toEqual([]);
    expect(validateContract(undeclared([null, 1]), seedContract)).toEqual([
      { subject: "output logit", expected: "float32 (20, 1)", found: "float32 without a shape" },
    ]);
  });
});

describe("a declared contract", () => {
  test("is read from JSON, and what it leaves out is free", async () => {
    expect(readContract(JSON.parse(JSON.stringify(seedContract)))).toEqual(seedContract);
    const report = await reportOf("range.mlpackage");
    const outputs = [{ name: "logit", element: "float32", shapes: [[20, 1]] }];
    const judge = (given: object): unknown => validateContract(report, readContract({ outputs, ...given }));
    expect(judge({})).toEqual([]);
    expect(judge({ specificationVersion: { minimum: 6 } })).toEqual([]);
    expect(judge({ specificationVersion: { minimum: 8 } })).toEqual([
      { subject: "specification version", expected: "8 or later", found: "7" },
    ]);
    expect(judge({ specificationVersion: { maximum: 6 } })).toEqual([
      { subject: "specification version", expected: "at most 6", found: "7" },
    ]);
    expect(judge({ specificationVersion: { minimum: 7, maximum: 7 }, weights: ["fp32"] })).toEqual([]);
  });

  const feature = { name: "x", element: "int32", shapes: [[1, 2]] };
  const cases: readonly (readonly [unknown, string])[] = [
    [null, "contract"],
    [[], "contract"],
    [{}, "contract"],
    [{ kind: "mlProgram", inputs: [], outputs: [] }, "contract"],
    [{ input: [] }, "contract.input"],
    [{ kind: 3 }, "contract.kind"],
    [{ specificationVersion: 9 }, "contract.specificationVersion"],
    [{ specificationVersion: { min: 9 } }, "contract.specificationVersion.min"],
    [{ specificationVersion: { minimum: "9" } }, "contract.specificationVersion.minimum"],
    [
      { specificationVersion: { minimum: 9, maximum: 7 }, inputs: [feature] },
      "contract.specificationVersion",
    ],
    [{ inputs: [feature, feature] }, "contract.inputs[1].name"],
    [{ inputs: {} }, "contract.inputs"],
    [{ inputs: [feature, { ...feature, name: "" }] }, "contract.inputs[1].name"],
    [{ outputs: [{ ...feature, element: "int7" }] }, "contract.outputs[0].element"],
    [{ outputs: [{ ...feature, element: "toString" }] }, "contract.outputs[0].element"],
    [{ inputs: [{ ...feature, shapes: [1, 2] }] }, "contract.inputs[0].shapes[0]"],
    [{ inputs: [{ ...feature, shapes: [[1], [2, 0]] }] }, "contract.inputs[0].shapes[1][1]"],
    [{ inputs: [{ ...feature, shapes: [] }] }, "contract.inputs[0].shapes"],
    [{ inputs: [{ name: "x" }] }, "contract.inputs[0].element"],
    [{ weights: ["float16"] }, "contract.weights[0]"],
  ];
  test.each(cases)("%j is refused at its field", (value, path) => {
    const error = (() => {
      try {
        return readContract(value);
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(InvalidInputError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ path });
  });
});
