import { fixtureNames } from "@crossrank/conformance";
import { afterAll } from "vitest";
import { isLong, sampledRunner } from "../../conformance/test/sampled-runner.js";
import { fixtureFolder, gpuArguments, listFolder, openScene } from "./browser/scene.js";

// The suite runs in a page of a real Chromium without a screen, and vitest asks it for one test after the other.

/** One of every family, and a head of several modules. */
const someOfAll = [
  "bert-logit",
  "bert-cosine-mean",
  "modernbert-chain",
  "qwen3-yes-no",
  "qwen3-listwise",
  "bert-late",
];

const variants = [
  {
    name: "wasm",
    fixtures: isLong ? fixtureNames() : someOfAll,
    options: { threads: 1 },
    tolerance: 1e-4,
    partly: undefined,
    args: [],
  },
  // A GPU sums in another order. Here the processor plays it, and takes minutes: each shape is compiled anew.
  {
    name: "webgpu",
    fixtures: ["bert-logit"],
    options: { executionProvider: "webgpu", threads: 1 },
    tolerance: 1e-3,
    partly: "one model says how a GPU's numbers are read",
    args: gpuArguments,
  },
] as const;

for (const { name, fixtures: names, options, tolerance, partly, args } of isLong
  ? variants
  : variants.slice(0, 1)) {
  const scene = await openScene(...args);
  const page = await scene.open(scene.isolated);
  afterAll(() => scene.close());
  const fixtures = await Promise.all(
    names.map(async (fixture: string) => ({
      name: fixture,
      files: await listFolder(fixtureFolder(fixture)),
    })),
  );
  const request = { fixtures, options, tolerance, partly };
  const suites = await page.evaluate((asked) => globalThis.crossrank.define(asked), request);
  // As many as there are fixtures, so that each check has one.
  const runner = sampledRunner({ name, every: someOfAll.length });
  for (const [index, suite] of suites.entries()) {
    runner.describe(suite.name, () => {
      runner.afterAll(() => page.evaluate((number) => globalThis.crossrank.end(number), index));
      for (const [test, title] of suite.titles.entries()) {
        runner.test(title, () =>
          page.evaluate(([one, other]) => globalThis.crossrank.run(one, other), [index, test] as const),
        );
      }
    });
  }
}
