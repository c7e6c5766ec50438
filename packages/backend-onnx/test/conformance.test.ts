import { onnx } from "@crossrank/backend-onnx";
import { defineConformanceSuite, fixtureNames, openFixtures } from "@crossrank/conformance";
import { sampleOf } from "../../../test/sample.js";
import { isLong, sampledCases, sampledRunner } from "../../conformance/test/sampled-runner.js";

const one = { workers: 1, threads: 1 } as const;
/** One of every family. */
const everyFamily = ["bert-logit", "bert-cosine-mean", "qwen3-yes-no", "qwen3-listwise", "bert-late"];

/** Every check with these: of a bi-encoder convert/test/onnx.test.ts has all, other suites those of the other families. */
const whole = ["qwen3-listwise", "bert-late"];

// In this process, where a model loads in milliseconds: of the other fixtures one of two.
const tried = sampleOf(fixtureNames(), {
  name: "fixtures",
  every: 2,
  always: (name) => everyFamily.includes(name),
});
await defineConformanceSuite({
  runner: sampledRunner({ name: "thread", every: 21, whole }),
  backend: () => onnx({ ...one, isolation: "thread" }),
  fixtures: openFixtures(tried).map((one) => sampledCases(one, whole)),
  tolerance: 1e-4,
});

// In a child process, as by default: one of every family, and every fixture with CROSSRANK_LONG.
await defineConformanceSuite({
  runner: sampledRunner({ name: "child", every: 21, diagnoses: false }),
  backend: () => onnx(one),
  fixtures: openFixtures(isLong ? undefined : everyFamily).map((one) => sampledCases(one)),
  tolerance: 1e-4,
});
