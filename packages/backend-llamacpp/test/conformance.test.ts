import { llamacpp } from "@crossrank/backend-llamacpp";
import { defineConformanceSuite, openFixtureFolder, openFixtures } from "@crossrank/conformance";
import { readGoldens, verify } from "@crossrank/core/verify";
import { describe, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { isLong, sampledCases, sampledRunner } from "../../conformance/test/sampled-runner.js";
import { convertedFolder, openFolder } from "./fixtures.js";

const dtypes = ["F32", "F16", "Q8_0"];

/**
 * Largest |Δ logit|. The fixtures' weights are random and much larger than a trained model's, and errors with them.
 * llama.cpp looks GELU up in a table of half-precision numbers (convert-fixtures.test.ts shows that this is all of
 * the difference); SiLU it computes, so the Qwens are exact.
 */
const withGelu: Record<string, number> = { F32: 1e-2, F16: 4e-2, Q8_0: 0.75 };
const withSilu: Record<string, number> = { F32: 5e-5, F16: 2e-2, Q8_0: 0.75 };

const models: Record<string, Record<string, number>> = {
  "bert-cosine-cls": withGelu,
  "bert-cosine-mean": withGelu,
  "bert-logit": withGelu,
  "bert-two-class": withGelu,
  "gemma-yes": withGelu,
  "modernbert-chain": withGelu,
  "modernbert-mean": withGelu,
  "qwen2-one-zero": withSilu,
  "qwen3-cosine-last": withSilu,
  "qwen3-document-first": withSilu,
  "qwen3-system-user": withSilu,
  "qwen3-yes-no": withSilu,
  "roberta-logit": withGelu,
  "xlm-roberta-logit": withGelu,
};

/** Without CROSSRANK_LONG, of the smaller precisions: one of every family, of either activation. */
const sample = ["bert-logit", "bert-cosine-mean", "gemma-yes", "qwen3-cosine-last", "qwen3-yes-no"];
const isTried = (name: string, dtype: string): boolean => isLong || dtype === "F32" || sample.includes(name);
const verified = sampleOf(
  Object.keys(models).flatMap((name) => ["F16", "Q8_0"].map((dtype) => [name, dtype] as const)),
  { name: "verify", every: 8 },
);

const folders = new Map<string, string>();
for (const name of Object.keys(models)) {
  const wanted = dtypes.filter(
    (dtype) => isTried(name, dtype) || verified.some(([model, other]) => model === name && other === dtype),
  );
  folders.set(name, await convertedFolder(name, wanted));
}
const fixture = (name: string): ReturnType<typeof openFixtureFolder> =>
  openFixtureFolder(folders.get(name) as string, name);

/** Every check with a decoder here, and half of them in a child; other backends' suites have the other families. */
const whole = ["qwen3-yes-no"];

// In this process, where a model loads in milliseconds: all families in every precision.
for (const dtype of sampleOf(dtypes, { name: "dtypes", every: 2, always: (dtype) => dtype === "F32" })) {
  for (const tolerance of [withGelu, withSilu]) {
    const names = Object.keys(models).filter((name) => models[name] === tolerance && isTried(name, dtype));
    await defineConformanceSuite({
      runner: sampledRunner({
        name: dtype,
        every: 21,
        whole: dtype === "F32" ? whole : [],
        diagnoses: dtype === "F32" && tolerance === withSilu,
      }),
      backend: () => llamacpp({ isolation: "thread" }),
      fixtures: [...names.map(fixture), ...openFixtures(["qwen3-listwise"])].map((one) =>
        sampledCases(one, dtype === "F32" ? whole : []),
      ),
      tolerance: tolerance[dtype] as number,
      dtype,
      // A family of which one of the two lists has no model is tried by the other.
      deviations:
        tolerance === withSilu
          ? [{ check: "coverage", reason: "the other list has the cross-encoders", expect: /cross-encoder/ }]
          : [],
    });
  }
}

// In a child process, as by default: it is one for every model, and starts anew with each load. One family a run.
const inChild = sampleOf(["bert-logit", "qwen3-yes-no", "bert-cosine-mean"], {
  name: "in a child",
  every: 3,
});
await defineConformanceSuite({
  // It diagnoses in a child wherever it runs, as the suite above has tried.
  runner: sampledRunner({ name: "child", every: 21, diagnoses: false }),
  backend: () => llamacpp(),
  fixtures: inChild.map((name) => sampledCases(fixture(name))),
  tolerance: 1e-2,
  dtype: "F32",
});

describe("within the bounds of verify", () => {
  test.each(verified)("%s in %s", async (name, dtype) => {
    const model = openFolder(folders.get(name) as string, name);
    const goldens = await readGoldens(model);
    if (goldens === undefined) throw new Error("no goldens");
    const backend = llamacpp({ isolation: "thread" });
    const { passed, reason, summary } = await verify({ model, backend, goldens, dtype });
    expect(passed, reason).toBe(true);
    expect(summary.compared).toBeGreaterThan(80);
  });
});
