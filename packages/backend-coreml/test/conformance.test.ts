import { onnx } from "@crossrank/backend-onnx";
import { defineConformanceSuite, openFixtureFolder, openFixtures } from "@crossrank/conformance";
import { sampleOf } from "../../../test/sample.js";
import { sampledCases, sampledRunner } from "../../conformance/test/sampled-runner.js";
import { coreml } from "../src/coreml.js";
import type { Arithmetic } from "../src/reference/translation.js";
import { modelFolder, usual } from "./reference-fixtures.js";

interface Suite {
  readonly title: string;
  readonly arithmetic: Arithmetic;
  readonly model: string;
  readonly package: string;
  /** Largest |Δ logit| from torch in float32. The fixtures' weights are random, and much larger than a trained model's. */
  readonly tolerance: number;
}

const suites: readonly Suite[] = [
  {
    title: "the seed's port, fp16 weights",
    arithmetic: "single",
    model: "xlm-roberta-logit",
    package: "xlm-roberta-logit_seed-port",
    tolerance: 0.02,
  },
  {
    title: "the seed's port, half precision",
    arithmetic: "half",
    model: "xlm-roberta-logit",
    package: "xlm-roberta-logit_seed-port",
    tolerance: 0.04,
  },
  {
    title: "a plain conversion, fp32",
    arithmetic: "single",
    model: "bert-logit",
    package: "bert-logit_plain_fp32",
    tolerance: 1e-4,
  },
  {
    title: "a plain conversion with fused attention, half precision",
    arithmetic: "half",
    model: "bert-logit",
    package: "bert-logit_sdpa",
    tolerance: 0.04,
  },
];

/** The last in full, and half of the others. */
const tried = sampleOf(suites, { name: "suites", every: 2, always: (one) => one === suites[3] });

for (const { title, arithmetic, model, package: name, tolerance } of tried) {
  await defineConformanceSuite({
    runner: sampledRunner({
      name: title,
      every: 21,
      diagnoses: title === suites[3]?.title,
      whole: title === suites[3]?.title ? [model] : [],
    }),
    backend: () =>
      coreml({ reference: { backend: onnx({ workers: 1, threads: 1, isolation: "thread" }), arithmetic } }),
    fixtures: [
      openFixtureFolder(modelFolder(model, { [usual]: name }), model),
      // Families that this backend does not have.
      ...openFixtures(["qwen3-yes-no", "qwen3-listwise"]),
    ].map((one) => sampledCases(one)),
    tolerance,
    // The same graph on the same numbers, whatever stands in the other rows; a longer padding sums in another order.
    batchTolerance: arithmetic === "half" ? 0.02 : 1e-5,
    deviations: [
      {
        check: "coverage",
        reason: "bi-encoders are tried with the packages that crossrank writes",
        expect: /bi-encoder/,
      },
    ],
  });
}
