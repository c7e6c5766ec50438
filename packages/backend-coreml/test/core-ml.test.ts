import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { openModelPackage } from "@crossrank/formats/mlpackage";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readComputePlan } from "../src/compute-plan.js";
import type { ComputeUnits } from "../src/compute-units.js";
import { diagnoseNative, openNativePredictor, planNative } from "../src/native-predictor.js";
import type { Predictor, PredictorInput, PredictorOutput } from "../src/predictor.js";
import { openReferencePredictor } from "../src/reference/reference-predictor.js";
import { profileOf } from "./profile.js";

// Core ML itself, on a Mac: what it gives for a package is held against the translation of the same package to ONNX.
// .github/workflows/backend-coreml-native.yml runs it.

const { available, detail } = diagnoseNative();
const required = process.env["CROSSRANK_REQUIRE_COREML"] === "1";
const skipped = !available && !required;
if (skipped) console.warn(`SKIPPED: Core ML is not tried here: ${detail}`);

/** The seed's own port of XLM-R with a fixture's weights: 20 rows, lengths 16, 32 and 64. */
const seedPort = fileURLToPath(new URL("fixtures/xlm-roberta-logit_seed-port.mlpackage", import.meta.url));
const rows = 20;
const vocabulary = 100;

/** Ids of sequences of several lengths, the last rows nothing but padding, as core fills them. */
function inputs(columns: number): PredictorInput[] {
  const ids = new Int32Array(rows * columns).fill(1);
  const mask = new Int32Array(rows * columns);
  for (let row = 0; row < rows - 2; row += 1) {
    const length = Math.max(4, columns - 3 * row);
    for (let column = 0; column < length; column += 1) {
      ids[row * columns + column] = 4 + ((row * 31 + column * 17) % (vocabulary - 4));
      mask[row * columns + column] = 1;
    }
    ids[row * columns] = 0;
    ids[row * columns + length - 1] = 2;
  }
  const shape = [rows, 1, 1, columns];
  return [
    { name: "input_ids", shape, data: ids },
    { name: "attention_mask", shape, data: mask },
  ];
}

let cacheFolder: string;
let reference: Predictor;

beforeAll(async () => {
  if (skipped) return;
  cacheFolder = await mkdtemp(join(tmpdir(), "crossrank-core-ml-"));
  reference = await openReferencePredictor(
    onnx({ isolation: "thread", workers: 1, threads: 1 }),
    await openModelPackage(seedPort),
    {
      output: "logit",
      arithmetic: "half",
      profile: profileOf({ architecture: "xlm-roberta", paddingId: 1 }),
    },
  );
});

afterAll(async () => {
  if (skipped) return;
  await reference.close();
  await rm(cacheFolder, { recursive: true, force: true });
});

/** Largest |Δ logit| over the rows that hold a sequence. */
function distance(one: PredictorOutput, other: PredictorOutput): number {
  expect(one.shape).toEqual([rows, 1]);
  expect(other.shape).toEqual([rows, 1]);
  const differences = Array.from(one.data.subarray(0, rows - 2), (logit, row) =>
    Math.abs(logit - (other.data[row] ?? Number.NaN)),
  );
  return Math.max(...differences);
}

describe.skipIf(skipped)("Core ML", () => {
  test.each<ComputeUnits>(["cpuOnly", "cpuAndNeuralEngine"])(
    "agrees with the reference execution on %s, at every length",
    async (computeUnits) => {
      const predictor = await openNativePredictor(seedPort, { cacheFolder, computeUnits });
      try {
        expect(predictor.runtime).toEqual({
          name: "Core ML",
          version: expect.stringMatching(/^macOS \d+\.\d+/),
        });
        expect(predictor.settings).toEqual({ computeUnits });
        for (const columns of [16, 32, 64]) {
          const [ours, theirs] = await Promise.all([
            predictor.predict(inputs(columns), "logit"),
            reference.predict(inputs(columns), "logit"),
          ]);
          expect(new Set(ours.data.subarray(0, rows - 2)).size).toBeGreaterThan(1);
          // The fixture's weights are random and much larger than a trained model's.
          expect(distance(ours, theirs)).toBeLessThan(5e-2);
          expect((await predictor.predict(inputs(columns), "logit")).data).toEqual(ours.data);
        }
      } finally {
        await predictor.close();
      }
    },
  );

  test("compiles once", async () => {
    const own = await mkdtemp(join(tmpdir(), "crossrank-core-ml-"));
    const steps: string[] = [];
    const options = {
      cacheFolder: own,
      computeUnits: "cpuOnly",
      onProgress: (step: string) => steps.push(step),
    } as const;
    await (await openNativePredictor(seedPort, options)).close();
    await (await openNativePredictor(seedPort, options)).close();
    expect(steps).toEqual(["read", "compile", "load", "read", "load"]);
    await rm(own, { recursive: true });
  });

  test("answers many predictions in their order, and those of before a close", async () => {
    const predictor = await openNativePredictor(seedPort, { cacheFolder, computeUnits: "cpuOnly" });
    const lengths = [16, 64, 32, 16, 64];
    const pending = lengths.map((columns) => predictor.predict(inputs(columns), "logit"));
    const closing = predictor.close();
    const late = predictor.predict(inputs(16), "logit");
    await expect(late).rejects.toMatchObject({ code: "closed" });
    const outputs = await Promise.all(pending);
    expect(outputs[3]?.data).toEqual(outputs[0]?.data);
    expect(outputs[4]?.data).toEqual(outputs[1]?.data);
    await closing;
    await predictor.close();
  });

  test("says what was refused", async () => {
    const predictor = await openNativePredictor(seedPort, { cacheFolder, computeUnits: "cpuOnly" });
    const [ids, mask] = inputs(16) as [PredictorInput, PredictorInput];
    const cases: [PredictorInput[], string, string][] = [
      [[ids], "logit", "predict"],
      [[ids, mask, { ...mask, name: "token_type_ids" }], "logit", "invalid-input"],
      [[ids, mask], "score", "predict"],
      [[ids, { ...mask, shape: [rows, 1, 1, 17] }], "logit", "invalid-input"],
      [inputs(17), "logit", "predict"],
    ];
    for (const [given, output, code] of cases) {
      await expect(predictor.predict(given, output)).rejects.toMatchObject({ code });
    }
    await predictor.close();
    const absent = join(cacheFolder, "absent.mlpackage");
    await expect(openNativePredictor(absent, { cacheFolder })).rejects.toMatchObject({ code: "cache" });
  });

  test("plans every operation that is no constant", async () => {
    const plan = await planNative(seedPort, { cacheFolder, computeUnits: "cpuOnly" });
    expect(readComputePlan(JSON.stringify(plan))).toEqual(plan);
    expect(plan).toMatchObject({ model: "xlm-roberta-logit_seed-port.mlpackage", computeUnits: "cpuOnly" });
    const names = plan.operations.map(({ operator }) => operator.split(".").at(-1));
    expect(names).toContain("conv");
    expect(names).not.toContain("const");
    expect(new Set(plan.operations.map(({ preferred }) => preferred ?? "cpu"))).toEqual(new Set(["cpu"]));
  });
});
