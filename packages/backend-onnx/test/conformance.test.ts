import { onnx } from "@crossrank/backend-onnx";
import { defineConformanceSuite, openFixtures } from "@crossrank/conformance";
import { afterAll, beforeAll, describe, test } from "vitest";

await defineConformanceSuite({
  runner: { describe, test, beforeAll, afterAll },
  backend: () => onnx({ workers: 1, threads: 1 }),
  fixtures: openFixtures(),
  tolerance: 1e-4,
});
