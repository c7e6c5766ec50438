import { fixtureNames } from "@crossrank/conformance";
import { afterAll } from "vitest";
import { sampledRunner } from "../../conformance/test/sampled-runner.js";
import type { SuiteRequest } from "./browser/page.js";
import { fixtureFolder, listFolder, openScene } from "./browser/scene.js";

// The suite runs in a page of a real Chromium without a screen, and vitest asks it for one test after the other.

const scene = await openScene();
const page = await scene.open(scene.isolated);
afterAll(() => scene.close());

const request: SuiteRequest = {
  fixtures: await Promise.all(
    fixtureNames().map(async (name) => ({ name, files: await listFolder(fixtureFolder(name)) })),
  ),
  options: { threads: 1 },
  tolerance: 1e-4,
};
const suites = await page.evaluate((asked) => globalThis.crossrank.define(asked), request);
const runner = sampledRunner({ name: "web", every: 6, whole: ["bert-logit"] });
for (const [index, { name, titles }] of suites.entries()) {
  runner.describe(name, () => {
    runner.afterAll(() => page.evaluate((suite) => globalThis.crossrank.end(suite), index));
    for (const [test, title] of titles.entries()) {
      runner.test(title, () =>
        page.evaluate(([suite, number]) => globalThis.crossrank.run(suite, number), [index, test] as const),
      );
    }
  });
}
