import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { ctranslate2 } from "@crossrank/backend-ctranslate2";
import { defineConformanceSuite, openFixtures } from "@crossrank/conformance";
import { readGoldens, verify } from "@crossrank/core/verify";
import { openModel } from "@crossrank/hub";
import { expect, test } from "vitest";
import { sampledCases, sampledRunner } from "../../conformance/test/sampled-runner.js";
import { batchOf, describeNative, fixture, fixtureFolder, hasAddon, load } from "./fixtures.js";

const one = { sessions: 1, threads: 1 } as const;

/** Largest |Δ logit| from torch. The fixtures' weights are random and much larger than a trained model's. */
const suites = [
  { dtype: "fp32", tolerance: 1e-4, names: ["bert-logit", "xlm-roberta-logit", "roberta-logit"] },
  { dtype: "fp16", tolerance: 2e-2, names: ["bert-logit"] },
  { dtype: "int8", tolerance: 0.75, names: ["bert-logit"] },
] as const;

if (hasAddon) {
  for (const { dtype, tolerance, names } of suites) {
    await defineConformanceSuite({
      runner: sampledRunner({ name: dtype, every: 21, whole: dtype === "fp32" ? ["bert-logit"] : [] }),
      backend: () => ctranslate2({ ...one, isolation: "thread" }),
      fixtures: [
        ...names.map((name) => fixture(name, [dtype])),
        ...(dtype === "fp32" ? [fixture("bert-cosine-mean")] : []),
        // Families that this backend does not have.
        ...openFixtures(["qwen3-yes-no", "qwen3-listwise"]),
      ].map((one) => sampledCases(one)),
      tolerance,
      dtype,
      deviations:
        dtype === "fp32"
          ? []
          : [{ check: "coverage", reason: "bi-encoders are tried in fp32", expect: /bi-encoder/ }],
    });
  }
}

describeNative("within the bounds of verify, in a child process", () => {
  test.each([
    ["bert-logit", "fp32"],
    ["bert-logit", "fp16"],
    ["bert-logit", "int8"],
  ] as const)("%s in %s", async (name, dtype) => {
    const model = await openModel(fixtureFolder(name, [dtype]));
    const goldens = await readGoldens(model);
    if (goldens === undefined) throw new Error("no goldens");
    const { passed, reason, summary } = await verify({ model, backend: ctranslate2(one), goldens, dtype });
    expect(passed, reason).toBe(true);
    expect(summary.compared).toBeGreaterThan(80);
  });
});

describeNative("rows do not affect each other", () => {
  test.each(["fp32", "int8"] as const)("in %s, whatever stands beside them", async (dtype) => {
    const session = await load(
      ctranslate2({ ...one, isolation: "thread" }),
      fixtureFolder("bert-logit", [dtype]),
    );
    const lengths = [12, 5, 31, 1, 60];
    const columns = Math.max(...lengths);
    const together = batchOf(lengths.length, columns);
    together.lengths.set(lengths);
    for (const [row, length] of lengths.entries()) {
      together.attentionMask.fill(0, row * columns + length, (row + 1) * columns);
    }
    const ids = together.inputIds.slice();
    const { data } = await session.run(together);
    let worst = 0;
    for (const [row, length] of lengths.entries()) {
      const alone = batchOf(1, length);
      alone.inputIds.set(ids.subarray(row * columns, row * columns + length));
      const [expected = Number.NaN] = (await session.run(alone)).data;
      worst = Math.max(worst, Math.abs((data[row] ?? Number.NaN) - expected));
    }
    await session.dispose();
    expect(worst).toBeLessThan(1e-5);
  });
});

describeNative("in a worker thread, whose environment the library does not see", () => {
  // On other processors the library has products of one kind.
  test.runIf(process.arch === "x64")("8 bits are refused in it, and computed in a child process", () => {
    const program = fileURLToPath(new URL("fixtures/in-a-worker.mjs", import.meta.url));
    const { CT2_USE_MKL: _, ...env } = process.env;
    const folder = fixtureFolder("bert-logit", ["int8"]);
    const found = JSON.parse(execFileSync(process.execPath, [program, folder], { env, encoding: "utf8" }));
    expect(found).toEqual({
      thread: expect.stringMatching(/^model-load: .*CT2_USE_MKL=1/),
      process: "loaded",
    });
  });
});
