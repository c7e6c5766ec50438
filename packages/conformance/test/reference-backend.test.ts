import { readProfile } from "@crossrank/core";
import { describe, expect, test } from "vitest";
import {
  type Deviation,
  defineConformanceSuite,
  fixtureNames,
  openFixtures,
  type ReferenceBackendOptions,
  referenceBackend,
} from "../src/index.js";
import { erf } from "../src/reference-model.js";
import { sampledCases, sampledRunner } from "./sampled-runner.js";

test("erf is that of the tables", () => {
  // Abramowitz and Stegun, Handbook of Mathematical Functions, table 7.1.
  expect(erf(0)).toBe(0);
  expect(erf(0.5)).toBeCloseTo(0.5204998778, 10);
  expect(erf(-1)).toBeCloseTo(-0.8427007929, 10);
  expect(erf(2)).toBeCloseTo(0.995322265, 10);
});

describe("openFixtures", () => {
  test("opens those of a family, as their own files say it", async () => {
    const families = ["cross-encoder", "bi-encoder", "causal-lm", "listwise", "late-interaction"] as const;
    const opened = families.flatMap((family) =>
      openFixtures({ families: [family] }).map((fixture) => ({ family, fixture })),
    );
    for (const { family, fixture } of opened) {
      expect([fixture.name, (await readProfile(fixture.files)).profile.family]).toEqual([
        fixture.name,
        family,
      ]);
    }
    expect(opened.map(({ fixture }) => fixture.name).sort()).toEqual(fixtureNames());
  });

  test("takes names and families together", () => {
    const filter = { families: ["bi-encoder"], names: ["bert-logit", "bert-cosine-cls"] } as const;
    expect(openFixtures(filter).map(({ name }) => name)).toEqual(["bert-cosine-cls"]);
    expect(openFixtures(["bert-logit"]).map(({ name }) => name)).toEqual(["bert-logit"]);
  });

  test("refuses a name and a family that nothing has, with those that there are", () => {
    expect(() => openFixtures({ names: ["bart"] })).toThrow(
      /has no fixture "bart"; there are bert-cosine-cls/,
    );
    expect(() => openFixtures({ families: ["listwise"], names: ["bert-logit"] })).toThrow(
      "families match no fixture: asked for listwise, and there are cross-encoder",
    );
  });
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
  runner: sampledRunner({ name: "", every: 21, whole: ["bert-cosine-mean"] }),
  backend: () => referenceBackend(),
  fixtures: openFixtures().map((one) => sampledCases(one)),
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
    fixtures: ["bert-logit", "bert-cosine-mean", "bert-late"],
  },
  "buckets shorter than the model": {
    batchSize: { max: 2 },
    sequenceLengths: [24, 48],
    fixtures: ["xlm-roberta-logit", "bert-cosine-cls", "bert-late"],
  },
  "one row, at most 40 tokens": {
    batchSize: { max: 1 },
    batchPreference: { rows: 1, tokens: 64, padding: 0 },
    maxSequenceLength: 40,
    concurrentRuns: 2,
    fixtures: ["bert-two-class", "bert-cosine-mean", "bert-late-original"],
  },
};

for (const [name, { fixtures, ...options }] of Object.entries(shapes)) {
  await defineConformanceSuite({
    runner: sampledRunner({ name, every: 6, whole: fixtures.slice(0, 1) }),
    backend: () => referenceBackend(options),
    fixtures: openFixtures(fixtures).map((one) => sampledCases(one)),
    tolerance: 1e-4,
  });
}
