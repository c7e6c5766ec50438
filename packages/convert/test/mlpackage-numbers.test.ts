import { coreml } from "@crossrank/backend-coreml";
import { onnx } from "@crossrank/backend-onnx";
import { defineConformanceSuite } from "@crossrank/conformance";
import type { Backend } from "@crossrank/core";
import { readGoldens, verify } from "@crossrank/core/verify";
import { afterAll, describe, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { isLong, sampledCases, sampledRunner } from "../../conformance/test/sampled-runner.js";
import { convert } from "../src/convert.js";
import type { MlpackageWriterOptions } from "../src/mlpackage/write-mlpackage.js";
import { packagedFixture, packageFixtures } from "./mlpackage-files.js";
import { temporaryFolder } from "./onnx-files.js";
import { readFixture, withFiles } from "./source-files.js";

const { path: folder, close } = await temporaryFolder();
afterAll(close);

/**
 * Packages of both forms against the goldens, with coreml's reference execution in Core ML's place. `tolerance` as
 * core's `verify` holds a model to; with arithmetic in half precision twice that, because a logit of 9 has a last place
 * of 8e-3 and 3.2e-2 was measured.
 */
const forms: readonly {
  readonly name: string;
  readonly options: MlpackageWriterOptions;
  readonly dtype: "fp16" | "fp32";
  readonly arithmetic: "single" | "half";
  readonly tolerance: number;
  readonly fixtures: readonly string[];
  readonly isSampled?: true;
}[] = [
  {
    name: "fp32, a package a length",
    options: { deployment: "macos13", lengths: [32, 64], batch: 3 },
    dtype: "fp32",
    arithmetic: "single",
    tolerance: 1e-4,
    fixtures: packageFixtures,
  },
  {
    name: "fp16, one package",
    options: { lengths: [16, 32, 64] },
    dtype: "fp16",
    arithmetic: "single",
    tolerance: 2e-2,
    fixtures: packageFixtures,
    isSampled: true,
  },
  {
    name: "fp16, computed in half precision",
    options: { lengths: [32, 64], batch: 5 },
    dtype: "fp16",
    arithmetic: "half",
    tolerance: 4e-2,
    // The worst of them, and the one that pools.
    fixtures: ["xlm-roberta-logit", "bert-cosine-mean"],
  },
];

// Without CROSSRANK_LONG a sample of the suite, and the numbers of the form that is much like the others.
// What is tried here is the file; a runtime in this process loads it faster.
const inner = (): Backend => onnx({ workers: 1, threads: 1, isolation: "thread" });

for (const { name, options, dtype, arithmetic, tolerance, ...form } of forms) {
  const isWhole = isLong || form.isSampled !== true;
  const names = isWhole ? form.fixtures : sampleOf(form.fixtures, { name, every: 3 });
  const fixtures = await Promise.all(
    names.map((fixture) => packagedFixture(`${folder}/${name}`, fixture, options, dtype)),
  );
  const backend = (): Backend => coreml({ reference: { backend: inner(), arithmetic } });
  describe(name, async () => {
    if (isWhole) {
      await defineConformanceSuite({
        // The code around a package is tried in full by Core ML's own suite.
        runner: sampledRunner({ name: "", every: 21 }),
        backend,
        fixtures: fixtures.map((one) => sampledCases(one)),
        tolerance,
        dtype,
      });
      return;
    }
    test.each(fixtures)("$name keeps to the goldens", async ({ files: model }) => {
      const goldens = await readGoldens(model);
      if (goldens === undefined) throw new Error("no goldens");
      const { passed, reason, summary } = await verify({ model, backend: backend(), goldens, dtype });
      expect(passed, reason).toBe(true);
      expect(summary.compared).toBeGreaterThan(40);
      expect(summary.maximum).toBeLessThanOrEqual(tolerance);
    });
  });
}

describe("hidden_act", () => {
  const activations = sampleOf(["gelu_new", "relu", "silu", "tanh"], { name: "hidden_act", every: 2 });
  test.each(activations)("%s is computed as the source does", async (activation) => {
    const model = await readFixture("bert-logit");
    const config = JSON.stringify({ ...model.config, hidden_act: activation });
    // Its goldens are of the fixture's own activation.
    const files = withFiles(model, { "config.json": config, "golden.json": undefined });
    const { verifications } = await convert({
      model: files,
      to: "mlpackage",
      dtype: "fp32",
      output: `${folder}/${activation}`,
      backend: coreml({ reference: { backend: inner() } }),
    });
    expect(verifications.map(({ against, verification }) => [against, verification.passed])).toEqual([
      ["source", true],
    ]);
  });
});
