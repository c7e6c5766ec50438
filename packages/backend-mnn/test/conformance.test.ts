import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { mnn } from "@crossrank/backend-mnn";
import { defineConformanceSuite, openFixtures } from "@crossrank/conformance";
import { readGoldens, verify } from "@crossrank/core/verify";
import { openModel } from "@crossrank/hub";
import { expect, test } from "vitest";
import { sampledCases, sampledRunner } from "../../conformance/test/sampled-runner.js";
import { describeNative, fixture, fixtureFolder, hasAddon, mnnBytes } from "./fixtures.js";

const one = { sessions: 1, threads: 1 } as const;

/** Largest |Δ logit| from torch. The fixtures' weights are random and much larger than a trained model's. */
const suites = [
  {
    dtype: "fp32",
    tolerance: 2e-3,
    names: ["bert-logit", "xlm-roberta-logit", "roberta-logit", "deberta-v2-logit"],
  },
  { dtype: "fp16", tolerance: 2e-2, names: ["bert-logit"] },
  { dtype: "int8", tolerance: 0.75, names: ["bert-logit"] },
] as const;

if (hasAddon) {
  for (const { dtype, tolerance, names } of suites) {
    await defineConformanceSuite({
      runner: sampledRunner({
        name: dtype,
        every: 21,
        diagnoses: dtype === "fp32",
        whole: dtype === "fp32" ? ["bert-cosine-mean"] : [],
      }),
      backend: () => mnn({ ...one, isolation: "thread" }),
      fixtures: [
        ...names.map((name) => fixture(name, [dtype])),
        ...(dtype === "fp32" ? [fixture("bert-cosine-mean"), fixture("bert-late")] : []),
        // Families that this backend does not have.
        ...openFixtures(["qwen3-yes-no", "qwen3-listwise"]),
      ].map((one) => sampledCases(one)),
      tolerance,
      dtype,
      deviations:
        dtype === "fp32"
          ? []
          : [
              {
                check: "coverage",
                reason: "other families are tried in fp32",
                expect: /bi-encoder, late-interaction/,
              },
            ],
    });
  }

  // In a child process, with a second session beside the first, as by default.
  await defineConformanceSuite({
    runner: sampledRunner({ name: "child", every: 21 }),
    backend: () => mnn({ sessions: 2 }),
    fixtures: ["bert-logit", "bert-cosine-mean", "bert-late"].map((name) => sampledCases(fixture(name))),
    tolerance: 2e-3,
  });
}

describeNative("within the bounds of verify", () => {
  test.each([
    ["bert-logit", "fp32"],
    ["bert-logit", "fp16"],
    ["bert-logit", "int8"],
  ] as const)("%s in %s", async (name, dtype) => {
    const model = await openModel(fixtureFolder(name, [dtype]));
    const goldens = await readGoldens(model);
    if (goldens === undefined) throw new Error("no goldens");
    const { passed, reason, summary } = await verify({ model, backend: mnn(one), goldens, dtype });
    expect(passed, reason).toBe(true);
    expect(summary.compared).toBeGreaterThan(80);
  });

  test("a graph that torch exported converts without a complaint, scores wrongly, and is caught", async () => {
    const folder = fixtureFolder("bert-logit", []);
    await writeFile(join(folder, "mnn/model.mnn"), mnnBytes("bert-logit_torch-export.mnn"));
    const model = await openModel(folder);
    const goldens = await readGoldens(model);
    if (goldens === undefined) throw new Error("no goldens");
    const { passed, summary } = await verify({ model, backend: mnn(one), goldens, dtype: "fp32" });
    expect(passed).toBe(false);
    expect(summary.maximum).toBeGreaterThan(1);
    expect(summary.nonFinite).toBe(0);
  });
});
