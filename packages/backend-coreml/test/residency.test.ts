import { describe, expect, it } from "vitest";
import type { ComputeDevice, ComputePlan } from "../src/compute-plan.js";
import {
  fingerprintOf,
  judgeResidency,
  type ResidencyFingerprint,
  type ResidencyReport,
  residencyNotes,
} from "../src/residency.js";
import { ResidencyFileError, readResidencyFingerprint, readResidencyReport } from "../src/residency-file.js";

/**
 * The seed (the model card of tcashel/bge-reranker-base-coreml) pins 924 operations on the Neural Engine and 31 on the
 * CPU. It names the kinds on either side and not how many there are of each, so the split below is made up.
 */
const onNeuralEngine = {
  "ios18.add": 60,
  "ios18.conv": 74,
  "ios18.einsum": 288,
  "ios18.gelu": 12,
  "ios18.layer_norm": 25,
  "ios18.mul": 145,
  "ios18.softmax": 144,
  "ios18.transpose": 176,
};
const onProcessor = { "ios18.cast": 6, "ios18.gather": 9, "ios18.mul": 8, "ios18.sub": 8 };

const seed: ResidencyFingerprint = {
  schema: "crossrank.residency/1",
  neuralEngine: { total: 924 },
  cpu: { total: 31, operators: onProcessor },
  gpu: { total: 0 },
};

type Operations = { operator: string; preferred: ComputeDevice | null }[];

function expand(counts: Readonly<Record<string, number>>, preferred: ComputeDevice): Operations {
  return Object.entries(counts).flatMap(([operator, count]) =>
    Array.from({ length: count }, () => ({ operator, preferred })),
  );
}

/** A report that keeps to the seed's fingerprint, for a test to plant a drift in. */
function seedReport(): ComputePlan & { operations: Operations } {
  return {
    schema: "crossrank.compute-plan/1",
    model: "model.mlmodelc",
    computeUnits: "cpuAndNeuralEngine",
    system: "macOS 15.1 (24B83), Apple M3",
    operations: [...expand(onProcessor, "cpu"), ...expand(onNeuralEngine, "neuralEngine")].map(
      (operation, index) => ({
        ...operation,
        outputs: [`value_${index}`],
        supported: ["cpu" as const],
        cost: null,
      }),
    ),
  };
}

function first(report: { operations: Operations }, operator: string): Operations[number] {
  const found = report.operations.find((operation) => operation.operator === operator);
  if (found === undefined) throw new Error(`no ${operator} in the report`);
  return found;
}

describe("judgeResidency", () => {
  it("passes the seed's 924 and 31", () => {
    expect(judgeResidency(seedReport(), seed)).toEqual({
      passed: true,
      totals: {
        neuralEngine: { expected: 924, found: 924 },
        cpu: { expected: 31, found: 31 },
        gpu: { expected: 0, found: 0 },
        noDevice: { expected: 0, found: 0 },
      },
      drifts: [],
    });
  });

  const cases: Record<string, [(report: ReturnType<typeof seedReport>) => unknown, readonly object[]]> = {
    "one operation more on the CPU": [
      ({ operations }) => operations.push({ operator: "ios18.cast", preferred: "cpu" }),
      [
        { place: "cpu", operator: null, expected: 31, found: 32 },
        { place: "cpu", operator: "ios18.cast", expected: 6, found: 7 },
      ],
    ],
    "an operator from the Neural Engine on the CPU": [
      (report) => {
        first(report, "ios18.layer_norm").preferred = "cpu";
      },
      [
        { place: "neuralEngine", operator: null, expected: 924, found: 923 },
        { place: "cpu", operator: null, expected: 31, found: 32 },
        { place: "cpu", operator: "ios18.layer_norm", expected: 0, found: 1 },
      ],
    ],
    "an operation from the Neural Engine on the GPU": [
      (report) => {
        first(report, "ios18.softmax").preferred = "gpu";
      },
      [
        { place: "neuralEngine", operator: null, expected: 924, found: 923 },
        { place: "gpu", operator: null, expected: 0, found: 1 },
        { place: "gpu", operator: "ios18.softmax", expected: 0, found: 1 },
      ],
    ],
    "an operator renamed on the CPU": [
      (report) => {
        for (const one of report.operations) {
          if (one.operator === "ios18.gather") one.operator = "ios18.gather_nd";
        }
      },
      [
        { place: "cpu", operator: "ios18.gather", expected: 9, found: 0 },
        { place: "cpu", operator: "ios18.gather_nd", expected: 0, found: 9 },
      ],
    ],
    "the same totals with other operators on the CPU": [
      (report) => {
        first(report, "ios18.cast").operator = "ios18.sub";
      },
      [
        { place: "cpu", operator: "ios18.cast", expected: 6, found: 5 },
        { place: "cpu", operator: "ios18.sub", expected: 8, found: 9 },
      ],
    ],
    "an operation that changed places with another": [
      (report) => {
        first(report, "ios18.gather").preferred = "neuralEngine";
        first(report, "ios18.conv").preferred = "cpu";
      },
      [
        { place: "cpu", operator: "ios18.conv", expected: 0, found: 1 },
        { place: "cpu", operator: "ios18.gather", expected: 9, found: 8 },
      ],
    ],
    "an operation that has no device any more": [
      (report) => {
        first(report, "ios18.cast").preferred = null;
      },
      [
        { place: "cpu", operator: null, expected: 31, found: 30 },
        { place: "cpu", operator: "ios18.cast", expected: 6, found: 5 },
        { place: "noDevice", operator: null, expected: 0, found: 1 },
        { place: "noDevice", operator: "ios18.cast", expected: 0, found: 1 },
      ],
    ],
    "one operation less on the Neural Engine": [
      ({ operations }) => operations.splice(operations.length - 1, 1),
      [{ place: "neuralEngine", operator: null, expected: 924, found: 923 }],
    ],
  };
  it.each(Object.entries(cases))("fails for %s", (_, [plant, drifts]) => {
    const report = seedReport();
    plant(report);
    const verdict = judgeResidency(report, seed);
    expect(verdict.passed).toBe(false);
    expect(verdict.drifts).toEqual(drifts);
  });

  it("fails for an empty report", () => {
    const { passed, drifts } = judgeResidency({ operations: [] }, seed);
    expect(passed).toBe(false);
    expect(drifts).toContainEqual({ place: "neuralEngine", operator: null, expected: 924, found: 0 });
    expect(drifts).toContainEqual({ place: "cpu", operator: "ios18.gather", expected: 9, found: 0 });
  });

  it("fails for a report of the GPU", () => {
    const report = seedReport();
    for (const one of report.operations) one.preferred = "gpu";
    const { passed, totals } = judgeResidency({ ...report, computeUnits: "cpuAndGPU" }, seed);
    expect(passed).toBe(false);
    expect(totals.gpu).toEqual({ expected: 0, found: 955 });
  });

  it("holds compute units against each other where both say them", () => {
    const pinned = { ...seed, computeUnits: "cpuAndNeuralEngine" } as const;
    const report: ResidencyReport = { ...seedReport(), computeUnits: "all" };
    expect(judgeResidency(report, pinned)).toMatchObject({
      passed: false,
      drifts: [{ place: "computeUnits", expected: "cpuAndNeuralEngine", found: "all" }],
    });
    expect(judgeResidency(report, seed).passed).toBe(true);
    expect(judgeResidency({ operations: report.operations }, pinned).passed).toBe(true);
  });

  it("notes what only one of the two says", () => {
    const pinned = { ...seed, computeUnits: "cpuAndNeuralEngine" } as const;
    const report: ResidencyReport = { ...seedReport(), computeUnits: "all" };
    expect(residencyNotes(report, seed)).toEqual([
      "The baseline does not say which compute units it is for, and the report was planned for all.",
    ]);
    expect(residencyNotes({ operations: report.operations }, pinned)).toEqual([
      "The report does not say which compute units it was planned for, and the baseline is for cpuAndNeuralEngine.",
    ]);
    expect(residencyNotes(report, pinned)).toEqual([]);
    expect(residencyNotes({ operations: report.operations }, seed)).toEqual([]);
  });

  it("sees a renamed operator on the Neural Engine exactly where its operators are pinned", () => {
    const report = seedReport();
    first(report, "ios18.gelu").operator = "ios18.tanh";
    expect(judgeResidency(report, seed).passed).toBe(true);
    const pinned = { ...seed, neuralEngine: { total: 924, operators: onNeuralEngine } };
    expect(judgeResidency(report, pinned).drifts).toEqual([
      { place: "neuralEngine", operator: "ios18.gelu", expected: 12, found: 11 },
      { place: "neuralEngine", operator: "ios18.tanh", expected: 0, found: 1 },
    ]);
  });

  it("accepts operations without a device where they are pinned", () => {
    const report = seedReport();
    report.operations.push({ operator: "ios18.constexpr_cast", preferred: null });
    expect(judgeResidency(report, seed).passed).toBe(false);
    const noDevice = { total: 1, operators: { "ios18.constexpr_cast": 1 } };
    expect(judgeResidency(report, { ...seed, noDevice }).passed).toBe(true);
  });

  it("is not confused by operators with names of Object's own", () => {
    const report = { operations: [{ operator: "constructor", preferred: "cpu" as const }] };
    expect(judgeResidency(report, seed).drifts).toContainEqual({
      place: "cpu",
      operator: "constructor",
      expected: 0,
      found: 1,
    });
  });
});

describe("fingerprintOf", () => {
  it("pins every operator, and judges its own report as passed", () => {
    const fingerprint = fingerprintOf(seedReport());
    expect(fingerprint).toEqual({
      ...seed,
      computeUnits: "cpuAndNeuralEngine",
      neuralEngine: { total: 924, operators: onNeuralEngine },
    });
    expect(judgeResidency(seedReport(), fingerprint).passed).toBe(true);
    expect(readResidencyFingerprint(JSON.stringify(fingerprint))).toEqual(fingerprint);
  });

  it.each(["__proto__", "constructor", "ios18.conv"])(
    "can be written and read back with an operator %s",
    (operator) => {
      const { operations } = seedReport();
      const report = {
        operations: [...operations, { operator, preferred: "cpu" }, { operator, preferred: "neuralEngine" }],
      };
      const plan = readResidencyReport(JSON.stringify(report));
      const fingerprint = readResidencyFingerprint(JSON.stringify(fingerprintOf(plan)));
      expect(Object.keys(fingerprint.cpu.operators)).toContain(operator);
      expect(judgeResidency(plan, fingerprint)).toMatchObject({ passed: true, drifts: [] });
      const drifts = [
        { place: "neuralEngine", operator: null, expected: 925, found: 924 },
        { place: "cpu", operator: null, expected: 32, found: 31 },
      ];
      const { drifts: found } = judgeResidency(seedReport(), fingerprint);
      expect(found.filter((drift) => drift.place !== "computeUnits" && drift.operator === null)).toEqual(
        drifts,
      );
      expect(
        found.filter((drift) => drift.place !== "computeUnits" && drift.operator === operator),
      ).toHaveLength(2);
    },
  );

  it("keeps operations without a device apart", () => {
    const report = seedReport();
    first(report, "ios18.cast").preferred = null;
    expect(fingerprintOf(report)).toMatchObject({
      cpu: { total: 30 },
      noDevice: { total: 1, operators: { "ios18.cast": 1 } },
    });
  });

  it("makes none from a report that breaks the policy itself", () => {
    const report = seedReport();
    first(report, "ios18.softmax").preferred = "gpu";
    expect(() => fingerprintOf(report)).toThrow(/on the GPU, .*: 1 × ios18\.softmax$/);
    expect(() => fingerprintOf({ operations: expand(onProcessor, "cpu") })).toThrow(RangeError);
    expect(() => fingerprintOf({ operations: [] })).toThrow(/no operation is on the Neural Engine/);
  });
});

function fault(read: () => unknown): ResidencyFileError {
  try {
    read();
  } catch (error) {
    if (ResidencyFileError.isInstance(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("readResidencyReport", () => {
  it("reads a compute plan", () => {
    const report = readResidencyReport(JSON.stringify(seedReport()));
    expect(report.computeUnits).toBe("cpuAndNeuralEngine");
    expect(judgeResidency(report, seed).passed).toBe(true);
  });

  it("reads what a script around coremltools writes, and passes over constants", () => {
    const operations = [
      { type: "const", device: null },
      { type: "ios18.const", device: null },
      { type: "ios18.conv", device: "MLNeuralEngineComputeDevice" },
      { type: "ios18.gather", device: "MLCPUComputeDevice" },
      { operator: "ios18.mul", preferred: "ANE" },
      { operator: "ios18.cast", preferred: "GPU" },
      { operator: "ios18.shape", preferred: null },
    ];
    expect(readResidencyReport(JSON.stringify({ operations }))).toEqual({
      operations: [
        { operator: "ios18.conv", preferred: "neuralEngine" },
        { operator: "ios18.gather", preferred: "cpu" },
        { operator: "ios18.mul", preferred: "neuralEngine" },
        { operator: "ios18.cast", preferred: "gpu" },
        { operator: "ios18.shape", preferred: null },
      ],
    });
  });

  it.each([
    ["{", "", /^it is not JSON/],
    ["[]", "", /^the file: /],
    ["{}", "operations", /operations: /],
    ['{"operations":[{"device":"cpu"}]}', "operations[0].operator", /is missing/],
    ['{"operations":[{"operator":"ios18.conv"}]}', "operations[0].preferred", /is missing/],
    ['{"operations":[{"operator":"a","preferred":"npu"}]}', "operations[0].preferred", /found "npu"/],
    ['{"operations":[{"operator":"a","preferred":"toString"}]}', "operations[0].preferred", /found "toStr/],
    ['{"operations":[],"computeUnits":"ane"}', "computeUnits", /computeUnits: /],
    ['{"operations":[],"schema":"crossrank.compute-plan/2"}', "schema", /schema: /],
  ])("refuses %s", (text, field, problem) => {
    const error = fault(() => readResidencyReport(text));
    expect(error.field).toBe(field);
    expect(error.problem).toMatch(problem);
    expect(error.message).toMatch(/\. Pass a compute plan as JSON/);
  });

  it("names a few of many faults", () => {
    const operations = Array.from({ length: 900 }, () => ({ operator: "ios18.conv" }));
    const error = fault(() => readResidencyReport(JSON.stringify({ operations })));
    expect(error.problem).toMatch(/operations\[2\]\.preferred: is missing; and 897 more$/);
  });
});

describe("readResidencyFingerprint", () => {
  it.each([
    [{ schema: "crossrank.compute-plan/1" }, "schema"],
    [{ neuralEngine: undefined }, "neuralEngine"],
    [{ neuralEngine: { total: 0 } }, "neuralEngine.total"],
    [{ neuralEngine: { total: 924.5 } }, "neuralEngine.total"],
    [{ neuralEngine: { total: 924, operators: { "ios18.conv": 923 } } }, "neuralEngine.total"],
    [{ cpu: { total: 31 } }, "cpu.operators"],
    [{ cpu: { total: 32, operators: onProcessor } }, "cpu.total"],
    [{ cpu: { total: 1, operators: { "ios18.cast": -1, "ios18.gather": 2 } } }, "cpu.operators.ios18.cast"],
    [
      { cpu: { total: 1, operators: { "ios18.cast": 0.5, "ios18.gather": 0.5 } } },
      "cpu.operators.ios18.cast",
    ],
    [{ cpu: { total: 1, operators: { "": 1 } } }, "cpu.operators."],
    [{ cpu: { total: 1, operators: { "ios18.cast": "1" } } }, "cpu.operators.ios18.cast"],
    [{ cpu: { total: 1, operators: [1] } }, "cpu.operators"],
    [{ cpu: { total: 0, operators: null } }, "cpu.operators"],
    [{ neuralEngine: { total: 924, operators: 924 } }, "neuralEngine.operators"],
    [{ gpu: { total: 1 } }, "gpu.total"],
  ])("refuses %j", (change, field) => {
    const error = fault(() => readResidencyFingerprint(JSON.stringify({ ...seed, ...change })));
    expect(error.field).toBe(field);
    expect(error.message).toMatch(/--write-baseline$/);
  });

  it("refuses an entry that it does not know", () => {
    const error = fault(() => readResidencyFingerprint(JSON.stringify({ ...seed, ane: 924 })));
    expect(error.problem).toContain('"ane"');
  });
});
