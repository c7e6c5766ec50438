import { mlx } from "@crossrank/backend-mlx";
import { defineConformanceSuite, openFixtures } from "@crossrank/conformance";
import { sampleOf } from "../../../test/sample.js";
import { sampledCases, sampledRunner } from "../../conformance/test/sampled-runner.js";
import { hasAddon } from "./fixtures.js";

const here = { isolation: "thread" } as const;

/** Largest |Δ logit| from torch's float32. The fixtures' weights are random and much larger than a trained model's. */
const lower = [
  { dtype: "bf16", tolerance: 0.45 },
  { dtype: "fp16", tolerance: 0.05 },
  { dtype: "q8", tolerance: 0.3 },
] as const;

if (hasAddon) {
  const everything = openFixtures();
  await defineConformanceSuite({
    runner: sampledRunner({ name: "fp32", every: 21, whole: ["bert-logit"] }),
    backend: () => mlx(here),
    fixtures: everything.map((fixture) => sampledCases(fixture, ["bert-logit"])),
    tolerance: 1e-4,
    dtype: "fp32",
  });

  // One of each way of computing: an encoder, a decoder, rotary encoders with windows, disentangled attention.
  const some = openFixtures(["bert-logit", "qwen3-yes-no", "modernbert-mean", "deberta-v2-logit"]);
  for (const [index, { dtype, tolerance }] of lower.entries()) {
    await defineConformanceSuite({
      runner: sampledRunner({ name: dtype, every: 21, diagnoses: false }),
      backend: () => mlx(here),
      fixtures: sampleOf(some, { name: `${index}`, every: 2 }).map((fixture) => sampledCases(fixture)),
      tolerance,
      dtype,
      deviations: [
        { check: "coverage", reason: "the other families are tried in fp32", expect: /no fixture/ },
      ],
    });
  }

  // In a child process, as by default.
  await defineConformanceSuite({
    runner: sampledRunner({ name: "child", every: 21, diagnoses: false }),
    backend: () => mlx(),
    fixtures: openFixtures(["bert-logit"]).map((fixture) => sampledCases(fixture)),
    tolerance: 1e-4,
    deviations: [
      { check: "coverage", reason: "the other families are tried on a thread", expect: /no fixture/ },
    ],
  });
}
