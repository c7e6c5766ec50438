import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ModelLoadError } from "@crossrank/core";
import { type CoreMlModel, type Operation, writeModelPackage } from "@crossrank/formats/mlpackage";
import { describe, expect, test } from "vitest";
import { OutputTrace } from "../src/activated-output.js";
import { profileOf } from "./profile.js";
import { constant, modelOf, operation, tensorType } from "./programs.js";
import { load, modelFolder, reference, rejection, usual } from "./reference-fixtures.js";

const floats = tensorType("fp32", [2, 1]);
const step = (type: string, inputs: Record<string, string | readonly string[]>, output: string): Operation =>
  operation(type, inputs, { [output]: floats });

/** Each row's sum of ids is `z`. */
const model = (operations: readonly Operation[]): CoreMlModel =>
  modelOf({
    rows: 2,
    length: 4,
    operations: [
      constant("fp32", "string", ["fp32"]),
      constant("axes", "int32", [1], [1]),
      constant("keep", "bool", [true]),
      constant("one", "fp32", [1]),
      operation("cast", { x: "input_ids", dtype: "fp32" }, { ids: tensorType("fp32", [2, 4]) }),
      step("reduce_sum", { x: "ids", axes: "axes", keep_dims: "keep" }, "z"),
      ...operations,
    ],
  });

describe("an output that is made of logits", () => {
  test.each<[string, readonly Operation[], string, boolean?]>([
    ["sigmoid", [step("sigmoid", { x: "z" }, "logit")], "sigmoid"],
    ["sigmoid_hard", [step("sigmoid_hard", { x: "z" }, "logit")], "hard sigmoid"],
    ["tanh", [step("tanh", { x: "z" }, "logit")], "tanh"],
    ["softmax", [step("softmax", { x: "z" }, "logit")], "softmax"],
    [
      "forms behind it",
      [
        step("sigmoid", { x: "z" }, "a"),
        step("cast", { x: "a", dtype: "fp32" }, "b"),
        step("squeeze", { x: "b" }, "c"),
        step("reshape", { x: "c" }, "logit"),
      ],
      "sigmoid",
    ],
    [
      "one of two classes",
      [step("softmax", { x: "z" }, "p"), step("slice_by_index", { x: "p" }, "logit")],
      "softmax",
    ],
    ["its logarithm", [step("softmax", { x: "z" }, "p"), step("log", { x: "p" }, "logit")], "log-softmax"],
    [
      "both probabilities",
      [
        step("sigmoid", { x: "z" }, "p"),
        step("sub", { x: "one", y: "p" }, "q"),
        step("concat", { values: ["p", "q"] }, "logit"),
      ],
      "sigmoid",
      true,
    ],
    [
      "written out",
      [
        step("exp", { x: "z" }, "a"),
        step("add", { x: "a", y: "one" }, "b"),
        step("inverse", { x: "b" }, "logit"),
      ],
      "sigmoid",
    ],
    [
      "a written-out softmax",
      [
        step("exp", { x: "z" }, "a"),
        step("reduce_sum", { x: "a" }, "b"),
        step("real_div", { x: "a", y: "b" }, "logit"),
      ],
      "softmax",
    ],
  ])("is told: %s", (_, operations, by, scaled = false) => {
    const found = new OutputTrace(model(operations)).activationOf("logit");
    expect(found).toEqual({ by, logits: "z", scaled });
  });

  test.each<[string, readonly Operation[]]>([
    ["logits", [step("identity", { x: "z" }, "logit")]],
    ["a pooler's tanh", [step("tanh", { x: "z" }, "p"), step("linear", { x: "p" }, "logit")]],
    ["logits that are capped", [step("tanh", { x: "z" }, "p"), step("mul", { x: "p", y: "one" }, "logit")]],
    [
      "an activation that multiplies",
      [step("sigmoid", { x: "z" }, "p"), step("mul", { x: "z", y: "p" }, "logit")],
    ],
    ["nothing that makes it", []],
  ])("is not seen in %s", (_, operations) => {
    expect(new OutputTrace(model(operations)).activationOf("logit")).toBeUndefined();
  });
});

async function folderOf(changed: CoreMlModel): Promise<string> {
  const folder = modelFolder("bert-logit");
  mkdirSync(dirname(join(folder, usual)), { recursive: true });
  await writeModelPackage({ path: join(folder, usual), model: changed, tensors: [] });
  return folder;
}

const inside = model([step("sigmoid", { x: "z" }, "logit")]);
const profile = profileOf({ activation: "sigmoid" });

test("a package with its sigmoid inside is refused, unless a crossrank.json says that it gives the score", async () => {
  const folder = await folderOf(inside);
  const error = await rejection(load(reference(), folder, { profile }));
  expect(error).toBeInstanceOf(ModelLoadError);
  expect(String(error)).toMatch(/"logit" is the sigmoid of the logits.*"z".*--to mlpackage.*crossrank.json/);
  writeFileSync(join(folder, "crossrank.json"), '{ "activation": "identity" }');
  const session = await load(reference(), folder, { profile: { ...profile, activation: "identity" } });
  await session.dispose();
});
