import { onnx } from "@crossrank/backend-onnx";
import { defineConformanceSuite } from "@crossrank/conformance";
import type { Backend } from "@crossrank/core";
import { readGoldens, verify } from "@crossrank/core/verify";
import { afterAll, describe, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { isLong, sampledCases, sampledRunner } from "../../conformance/test/sampled-runner.js";
import { createOnnxWriter, type OnnxTarget } from "../src/onnx/write-onnx.js";
import { convertedFixture, encoderFixtures, temporaryFolder } from "./onnx-files.js";

const { path: folder, close } = await temporaryFolder();
afterAll(close);

/** Largest differences from the goldens, as core's `verify` holds a model to. */
const tolerances = { fp32: 1e-4, fp16: 2e-2 } as const;

const forms: readonly { target: OnnxTarget; dtype: keyof typeof tolerances }[] = [
  { target: "onnxruntime", dtype: "fp32" },
  { target: "plain", dtype: "fp32" },
  { target: "onnxruntime", dtype: "fp16" },
];

// Without CROSSRANK_LONG a sample of the suite for the first form, and the numbers of the others.
// What is tried here is the file; a runtime in this process loads it faster.
const backend = (): Backend => ({
  ...onnx({ workers: 1, threads: 1, isolation: "thread" }),
  families: ["cross-encoder", "bi-encoder"],
});

for (const [index, { target, dtype }] of forms.entries()) {
  const writer = createOnnxWriter({ target });
  const fixtures = await Promise.all(
    encoderFixtures.map((name) => convertedFixture(`${folder}/${target}-${dtype}`, name, writer, dtype)),
  );
  describe(`${target} ${dtype}`, async () => {
    if (isLong || index === 0) {
      await defineConformanceSuite({
        runner: sampledRunner({ name: "", every: 21, whole: ["bert-cosine-mean"] }),
        backend,
        fixtures: fixtures.map((one) => sampledCases(one)),
        tolerance: tolerances[dtype],
        dtype,
      });
      return;
    }
    test.each(sampleOf(fixtures, { name: `${target} ${dtype}`, every: 3 }))(
      "$name keeps to the goldens",
      async ({ files: model }) => {
        const goldens = await readGoldens(model);
        if (goldens === undefined) throw new Error("no goldens");
        const { passed, reason, summary } = await verify({ model, backend: backend(), goldens, dtype });
        expect(passed, reason).toBe(true);
        expect(summary.compared).toBeGreaterThan(40);
        expect(summary.maximum).toBeLessThanOrEqual(tolerances[dtype]);
      },
    );
  });
}
