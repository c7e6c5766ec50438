import { onnx } from "@crossrank/backend-onnx";
import { afterAll, beforeAll, describe, test } from "vitest";
import { defineConformanceSuite, openFixtures } from "../src/index.js";

await defineConformanceSuite({
  runner: { describe, test, beforeAll, afterAll },
  backend: () => onnx({ workers: 1, threads: 1 }),
  fixtures: openFixtures(),
  tolerance: 1e-4,
});
