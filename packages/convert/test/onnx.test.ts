import { onnx } from "@crossrank/backend-onnx";
import { defineConformanceSuite } from "@crossrank/conformance";
import { afterAll, beforeAll, describe, test } from "vitest";
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

for (const { target, dtype } of forms) {
  const writer = createOnnxWriter({ target });
  const fixtures = await Promise.all(
    encoderFixtures.map((name) => convertedFixture(`${folder}/${target}-${dtype}`, name, writer, dtype)),
  );
  describe(`${target} ${dtype}`, async () => {
    await defineConformanceSuite({
      runner: { describe, test, beforeAll, afterAll },
      backend: () => ({ ...onnx({ workers: 1, threads: 1 }), families: ["cross-encoder", "bi-encoder"] }),
      fixtures,
      tolerance: tolerances[dtype],
      dtype,
    });
  });
}
