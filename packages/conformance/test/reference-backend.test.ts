import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Deviation,
  defineConformanceSuite,
  fixtureNames,
  openFixtures,
  type ReferenceBackendOptions,
  referenceBackend,
} from "../src/index.js";
import { erf } from "../src/reference-model.js";

const runner = { describe, test, beforeAll, afterAll };

test("erf is that of the tables", () => {
  // Abramowitz and Stegun, Handbook of Mathematical Functions, table 7.1.
  expect(erf(0)).toBe(0);
  expect(erf(0.5)).toBeCloseTo(0.5204998778, 10);
  expect(erf(-1)).toBeCloseTo(-0.8427007929, 10);
  expect(erf(2)).toBeCloseTo(0.995322265, 10);
});

/** Encoders of the families that the reference declares, whose forward pass it does not have. */
const otherArchitectures: readonly Deviation[] = fixtureNames()
  .filter((name) => /^(deberta|modernbert|qwen3-cosine)/.test(name))
  .map((fixture) => ({
    fixture,
    check: "loads",
    reason: "the reference knows BERT and RoBERTa alone",
    expect: /needs architecture ".*", and backend reference offers bert, roberta, xlm-roberta/,
  }));

// Every fixture: those of other families must be refused.
await defineConformanceSuite({
  runner,
  backend: () => referenceBackend(),
  fixtures: openFixtures(),
  tolerance: 1e-4,
  deviations: otherArchitectures,
});

interface Shape extends ReferenceBackendOptions {
  readonly fixtures: readonly string[];
}

const shapes: Readonly<Record<string, Shape>> = {
  "fixed shapes, three at once": {
    batchSize: { exactly: 3 },
    sequenceLengths: [16, 32, 64],
    concurrentRuns: 3,
    fixtures: ["bert-logit", "bert-cosine-mean"],
  },
  "buckets shorter than the model": {
    batchSize: { max: 2 },
    sequenceLengths: [24, 48],
    fixtures: ["xlm-roberta-logit", "bert-cosine-cls"],
  },
  "one row, at most 40 tokens": {
    batchSize: { max: 1 },
    batchPreference: { rows: 1, tokens: 64, padding: 0 },
    maxSequenceLength: 40,
    concurrentRuns: 2,
    fixtures: ["bert-two-class", "bert-cosine-mean"],
  },
};

for (const [name, { fixtures, ...options }] of Object.entries(shapes)) {
  await defineConformanceSuite({
    runner: { ...runner, describe: (title, define) => describe(`${title}, ${name}`, define) },
    backend: () => referenceBackend(options),
    fixtures: openFixtures(fixtures),
    tolerance: 1e-4,
  });
}
