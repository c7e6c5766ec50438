// Run with: node --test conformance.test.mjs
import { after, describe, test } from "node:test";
import { defineConformanceSuite, openFixtures } from "@crossrank/conformance";
import { toy } from "./toy.mjs";

await defineConformanceSuite({
  runner: { describe, test, afterAll: after },
  backend: toy,
  fixtures: openFixtures({ families: toy().families }),
  tolerance: 1e-4,
});
