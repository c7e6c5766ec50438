import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CoreMlModel, type Operation, openModelPackage } from "@crossrank/formats/mlpackage";
import { describe, expect, test } from "vitest";
import { judgeDefaults } from "../src/judge-defaults.js";
import { constant, modelOf, operation, tensorType } from "./programs.js";

const fixtures = fileURLToPath(new URL("./fixtures/", import.meta.url));
const floats = tensorType("fp32", [1, 4]);
const made = (name: string) => ({ [name]: floats });

const model = (operations: readonly Operation[]): CoreMlModel =>
  modelOf({
    rows: 1,
    length: 4,
    operations: [
      constant("fp32", "string", ["fp32"]),
      operation("cast", { x: "input_ids", dtype: "fp32" }, made("x")),
      constant("axes", "int32", [1], [1]),
      constant("epsilon", "fp32", [1e-12]),
      constant("tanh", "string", ["TANH_APPROXIMATION"]),
      ...operations,
    ],
  });

const norm = (inputs: Record<string, string> = {}) =>
  operation("layer_norm", { x: "x", axes: "axes", ...inputs }, made("logit"));
const mean = operation("reduce_mean", { x: "x", axes: "axes" }, made("mean"));
const root = (x: string, inputs: Record<string, string> = {}) =>
  operation("rsqrt", { x, ...inputs }, made("logit"));
const gelu = (inputs: Record<string, string> = {}) => operation("gelu", { x: "x", ...inputs }, made("logit"));
const within = (inner: Operation): Operation => ({
  ...operation("cond", { pred: "x" }, made("logit")),
  blocks: [{ inputs: [], outputs: ["logit"], operations: [inner], attributes: {} }],
});

describe("an argument that an operation leaves out", () => {
  test.each<[string, readonly Operation[], unknown, RegExp]>([
    [
      "a norm's epsilon",
      [norm()],
      { layer_norm_eps: 1e-12 },
      /layer_norm "logit" has no epsilon.* 0.00001, .*1e-12/,
    ],
    ["within another operation", [within(norm())], { layer_norm_eps: 1e-12 }, /no epsilon/],
    ["of ModernBERT's name", [norm()], { norm_eps: 1e-6 }, /no epsilon/],
    [
      "a root of a mean of squares",
      [mean, root("mean")],
      { rms_norm_eps: 1e-5 },
      /rsqrt.*takes 1e-12.*0.00001/,
    ],
    ["GELU's approximation", [gelu()], { hidden_act: "gelu_new" }, /gelu.*no mode.*"EXACT".*gelu_new/],
  ])(
    "is Core ML's default, and refused where the model's is another: %s",
    (_, operations, config, reason) => {
      const problem = judgeDefaults(model(operations), config);
      expect(problem?.problem).toMatch(reason);
      expect(problem?.fix).toMatch(/crossrank convert --to mlpackage/);
    },
  );

  test.each<[string, readonly Operation[], unknown]>([
    ["the default is the model's", [norm()], { layer_norm_eps: 1e-5 }],
    ["the operation states it", [norm({ epsilon: "epsilon" })], { layer_norm_eps: 1e-12 }],
    ["both are too small to matter", [mean, root("mean")], { layer_norm_eps: 1e-7 }],
    ["something was added before the root", [root("x")], { layer_norm_eps: 1e-5 }],
    ["GELU is exact", [gelu()], { hidden_act: "gelu" }],
    ["GELU states it", [gelu({ mode: "tanh" })], { hidden_act: "gelu_new" }],
    ["nothing says what is right", [norm(), gelu()], undefined],
    ["config.json is no object", [norm(), gelu()], "x"],
  ])("is right where %s", (_, operations, config) => {
    expect(judgeDefaults(model(operations), config)).toBeUndefined();
  });
});

test("the fixtures' packages leave nothing out", async () => {
  const packages = readdirSync(fixtures).filter((name) => name.endsWith(".mlpackage"));
  expect(packages.length).toBeGreaterThan(2);
  for (const name of packages) {
    const { model: read } = await openModelPackage(join(fixtures, name), {});
    const config = { layer_norm_eps: name.startsWith("xlm") ? 1e-5 : 1e-12, hidden_act: "gelu" };
    expect(judgeDefaults(read, config), name).toBeUndefined();
  }
});
