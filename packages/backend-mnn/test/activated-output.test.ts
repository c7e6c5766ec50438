import { copyFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mnn } from "@crossrank/backend-mnn";
import { openFixtureFolder } from "@crossrank/conformance";
import { type Head, ModelLoadError, readProfile } from "@crossrank/core";
import { expect, onTestFinished, test } from "vitest";
import { GraphTrace } from "../src/activated-output.js";
import { readGraph } from "../src/operators.js";
import { batchOf, describeNative, fixtureFolder, load, rejection } from "./fixtures.js";

const ends = fileURLToPath(new URL("./fixtures/ends/", import.meta.url));
const here = { isolation: "thread", sessions: 1, threads: 1 } as const;

/** What each end does to `z`; lab/mnn/ends.py has its nodes. */
const done: Readonly<Record<string, string | undefined>> = {
  logits: undefined,
  sigmoid: "sigmoid",
  "hard-sigmoid": "hard sigmoid",
  tanh: "tanh",
  softmax: "softmax",
  "log-softmax": "log-softmax",
  "log-of-softmax": "log-softmax",
  "softmax-gathered": "softmax",
  "softmax-sliced": "softmax",
  "softmax-split": "softmax",
  "sigmoid-of-both": "sigmoid",
  "sigmoid-bounded": "sigmoid",
  "sigmoid-scaled": "sigmoid, scaled",
  "sigmoid-in-other-forms": "sigmoid",
  "sigmoid-written-out": "sigmoid",
  "sigmoid-as-quotient": "sigmoid",
  "softmax-written-out": "softmax",
  "log-softmax-written-out": "log-softmax",
  "sigmoid-by-tanh": "tanh, scaled",
  capped: undefined,
  "sigmoid-beside-logits": "sigmoid",
  "sigmoid-beside-copied-logits": "sigmoid",
  "sigmoid-in-doubles": "sigmoid",
  "sigmoid-or-more": "sigmoid",
  silu: undefined,
  "log-sigmoid": "softplus, scaled",
};

test("every end has its file", () => {
  expect(readdirSync(ends).sort()).toEqual(
    Object.keys(done)
      .map((name) => `${name}.mnn`)
      .sort(),
  );
});

test.each(Object.entries(done))("the end %s is told as %s", async (name, by) => {
  const trace = new GraphTrace(await readGraph(join(ends, `${name}.mnn`)));
  const found = trace.activationOf("logits");
  const said = found === undefined ? undefined : `${found.by}${found.scaled ? ", scaled" : ""}`;
  // What is taken from 1 is shifted; which of the two is met first does not matter.
  expect(name === "sigmoid-of-both" ? said?.replace(", scaled", "") : said).toBe(by);
});

test.each([
  "bert-logit_fp32",
  "bert-logit_fp16",
  "bert-logit_int8",
  "bert-logit_torch-export",
  "roberta-logit_fp32",
])("%s ends in its logits", async (name) => {
  const trace = new GraphTrace(await readGraph(join(ends, `../${name}.mnn`)));
  expect(trace.activationOf("logits")).toBeUndefined();
});

function folderWith(name: string): string {
  const folder = fixtureFolder("bert-logit", []);
  copyFileSync(join(ends, `${name}.mnn`), join(folder, "mnn/model.mnn"));
  return folder;
}

function batch(): ReturnType<typeof batchOf> {
  const made = batchOf(2, 3);
  return { ...made, inputIds: made.inputIds.map((id) => id % 16) };
}

async function scoresOf(name: string, prepare: (folder: string) => void = () => {}): Promise<number[]> {
  const folder = folderWith(name);
  prepare(folder);
  const { profile } = await readProfile(openFixtureFolder(folder).files);
  const session = await load(mnn(here), folder, { profile });
  onTestFinished(() => session.dispose());
  return [...(await session.run(batch())).data];
}

describeNative("a file with its sigmoid inside", () => {
  test.each(Object.entries(done).filter(([, by]) => by !== undefined))("is refused: %s", async (name, by) => {
    if (name === "sigmoid-beside-copied-logits") return;
    const error = await rejection(load(mnn(here), folderWith(name)));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toContain(`"logits" is the ${by?.split(",")[0]} of the logits`);
    expect(error.message).toMatch(/as the output "logits", or convert .* --to mnn/);
  });

  test("is read where its logits are an output too, whatever its name", async () => {
    const logits = await scoresOf("logits");
    expect(Math.abs((logits[0] ?? 0) - (logits[1] ?? 0))).toBeGreaterThan(1e-3);
    for (const [row, score] of (await scoresOf("sigmoid-beside-copied-logits")).entries()) {
      expect(score).toBeCloseTo(logits[row] ?? Number.NaN, 5);
    }
  });

  test("is refused where its logits are an output by name alone: MNN's converter lets that name have the sigmoid too", async () => {
    const trace = new GraphTrace(await readGraph(join(ends, "sigmoid-beside-logits.mnn")));
    expect(trace.activationOf("z")?.by).toBe("sigmoid");
  });

  test("runs where a crossrank.json says that its output is the score", async () => {
    const logits = await scoresOf("logits");
    const scores = await scoresOf("sigmoid", (folder) =>
      writeFileSync(join(folder, "crossrank.json"), '{ "activation": "identity" }'),
    );
    for (const [row, score] of scores.entries()) {
      expect(score).toBeCloseTo(1 / (1 + Math.exp(-(logits[row] ?? Number.NaN))), 5);
    }
  });

  test.each<[string, Head, boolean]>([
    ["log-softmax", { kind: "two-class", positive: 1 }, true],
    ["log-softmax-written-out", { kind: "two-class", positive: 1 }, true],
    ["softmax", { kind: "two-class", positive: 1 }, false],
    ["softmax-written-out", { kind: "two-class", positive: 1 }, false],
  ])("%s, read by the head %j: %s", async (name, head, read) => {
    const folder = folderWith(name);
    const { profile } = await readProfile(openFixtureFolder(folder).files);
    const loading = load(mnn(here), folder, { profile: { ...profile, head } });
    if (read) await (await loading).dispose();
    else expect(await rejection(loading)).toBeInstanceOf(ModelLoadError);
  });
});
