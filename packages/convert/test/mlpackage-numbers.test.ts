import { coreml } from "@crossrank/backend-coreml";
import { onnx } from "@crossrank/backend-onnx";
import { defineConformanceSuite } from "@crossrank/conformance";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
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

for (const { name, options, dtype, arithmetic, tolerance, ...form } of forms) {
  const fixtures = await Promise.all(
    form.fixtures.map((fixture) => packagedFixture(`${folder}/${name}`, fixture, options, dtype)),
  );
  describe(name, async () => {
    await defineConformanceSuite({
      runner: { describe, test, beforeAll, afterAll },
      backend: () => coreml({ reference: { backend: onnx({ workers: 1, threads: 1 }), arithmetic } }),
      fixtures,
      tolerance,
      dtype,
    });
  });
}

describe("hidden_act", () => {
  test.each(["gelu_new", "relu", "silu", "tanh"])("%s is computed as the source does", async (activation) => {
    const model = await readFixture("bert-logit");
    const config = JSON.stringify({ ...model.config, hidden_act: activation });
    // Its goldens are of the fixture's own activation.
    const files = withFiles(model, { "config.json": config, "golden.json": undefined });
    const { verifications } = await convert({
      model: files,
      to: "mlpackage",
      dtype: "fp32",
      output: `${folder}/${activation}`,
      backend: coreml({ reference: { backend: onnx({ workers: 1, threads: 1 }) } }),
    });
    expect(verifications.map(({ against, verification }) => [against, verification.passed])).toEqual([
      ["source", true],
    ]);
  });
});
