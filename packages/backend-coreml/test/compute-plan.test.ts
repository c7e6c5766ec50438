import { expect, test } from "vitest";
import { type ComputePlan, readComputePlan } from "../src/compute-plan.js";

const plan: ComputePlan = {
  schema: "crossrank.compute-plan/1",
  model: "model.mlpackage",
  computeUnits: "cpuAndNeuralEngine",
  system: "macOS 15.1 (24B83), Apple M3",
  operations: [
    { operator: "ios18.gather", outputs: ["embedded"], preferred: "cpu", supported: ["cpu"], cost: 0.01 },
    {
      operator: "ios18.conv",
      outputs: ["query_0"],
      preferred: "neuralEngine",
      supported: ["neuralEngine", "gpu", "cpu"],
      cost: 0.2,
    },
    { operator: "ios18.cast", outputs: [], preferred: null, supported: [], cost: null },
  ],
};

test("reads what planNative gives, and drops nothing", () => {
  expect(readComputePlan(JSON.stringify(plan))).toEqual(plan);
});

test.each<[string, unknown, string]>([
  ["no JSON", undefined, "no JSON"],
  ["another schema", { ...plan, schema: "crossrank.compute-plan/2" }, "schema"],
  ["unknown compute units", { ...plan, computeUnits: "npu" }, "computeUnits"],
  ["no operations", { ...plan, operations: undefined }, "operations"],
  ["an unknown device", { ...plan, operations: [{ ...plan.operations[0], preferred: "ane" }] }, "preferred"],
  [
    "an unknown supported device",
    { ...plan, operations: [{ ...plan.operations[0], supported: ["ane"] }] },
    "supported",
  ],
  [
    "no preferred device",
    { ...plan, operations: [{ ...plan.operations[0], preferred: undefined }] },
    "preferred",
  ],
  ["a cost below zero", { ...plan, operations: [{ ...plan.operations[0], cost: -1 }] }, "cost"],
  [
    "an operation without a name",
    { ...plan, operations: [{ ...plan.operations[0], operator: "" }] },
    "operator",
  ],
])("refuses %s, and says where", (_, value, place) => {
  expect(() => readComputePlan(JSON.stringify(value) ?? "")).toThrow(place);
});
