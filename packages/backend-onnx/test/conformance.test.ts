import { onnx } from "@crossrank/backend-onnx";
import { defineConformanceSuite, openFixtures } from "@crossrank/conformance";
import { afterAll, beforeAll, describe, test } from "vitest";

const runner = { describe, test, beforeAll, afterAll };
const one = { workers: 1, threads: 1 } as const;
const isLong = process.env["CROSSRANK_LONG"] !== undefined;

// In this process, where a model loads in milliseconds: every fixture.
await defineConformanceSuite({
  runner: { ...runner, describe: (name, define) => describe(`thread, ${name}`, define) },
  backend: () => onnx({ ...one, isolation: "thread" }),
  fixtures: openFixtures(),
  tolerance: 1e-4,
});

// In a child process, as by default: one of every family, and every fixture with CROSSRANK_LONG.
await defineConformanceSuite({
  runner: { ...runner, describe: (name, define) => describe(`child, ${name}`, define) },
  backend: () => onnx(one),
  fixtures: openFixtures(
    isLong ? undefined : ["bert-logit", "bert-cosine-mean", "qwen3-yes-no", "qwen3-listwise"],
  ),
  tolerance: 1e-4,
});
