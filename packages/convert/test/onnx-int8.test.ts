import { onnx } from "@crossrank/backend-onnx";
import { readGoldens, verify } from "@crossrank/core/verify";
import { afterAll, describe, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { createOnnxWriter } from "../src/onnx/write-onnx.js";
import { convertedFixture, encoderFixtures, readGraph, temporaryFolder } from "./onnx-files.js";

const { path: folder, close } = await temporaryFolder();
afterAll(close);

// Eight bits are judged as a whole (median, signs, order), which the conformance suite's tolerance cannot say.
describe.each(["onnxruntime", "plain"] as const)("int8 for %s", (target) => {
  test.each(sampleOf(encoderFixtures, { name: target, every: 3 }))(
    "%s is within core's bounds",
    async (name) => {
      const writer = createOnnxWriter({ target });
      const { files } = await convertedFixture(`${folder}/${target}`, name, writer, "int8");
      const goldens = await readGoldens(files);
      if (goldens === undefined) throw new Error(`${name} has no goldens`);
      const backend = onnx({ isolation: "thread", workers: 1, threads: 1 });
      const { passed, reason, summary } = await verify({ model: files, goldens, backend, dtype: "int8" });
      expect(passed, reason).toBe(true);
      expect(summary.compared).toBeGreaterThan(40);
      expect(summary.orderAgreement).toBeGreaterThan(0.98);
      // Otherwise it would be float32 under another name.
      expect(summary.maximum).toBeGreaterThan(1e-3);
    },
  );
});

test("a scale a token in the feed-forward layers: nearer to float32, and said in the file", async () => {
  const errors: number[] = [];
  for (const activations of ["batch", "row"] as const) {
    const writer = createOnnxWriter({ activations });
    const { files } = await convertedFixture(`${folder}/${activations}`, "bert-logit", writer, "int8");
    const goldens = await readGoldens(files);
    if (goldens === undefined) throw new Error("bert-logit has no goldens");
    const backend = onnx({ isolation: "thread", workers: 1, threads: 1 });
    const { passed, reason, summary } = await verify({ model: files, goldens, backend, dtype: "int8" });
    expect(passed, reason).toBe(true);
    errors.push(summary.median ?? Number.NaN);
    const { metadata } = await readGraph(await files.localPath("onnx/model_int8.onnx"));
    expect(metadata["crossrank.activations"]).toBe(activations === "row" ? "row" : undefined);
    const settingsOf = (dtype: string) => writer.settings?.({} as never, dtype);
    expect(settingsOf("int8")).toEqual({ target: "onnxruntime", activations });
    expect(settingsOf("fp32")).toEqual({ target: "onnxruntime" });
  }
  expect(errors[1]).toBeLessThan(errors[0] as number);
  const settings = createOnnxWriter().settings?.({} as never, "int8");
  expect(settings).toMatchObject({ activations: "row" });
  expect(() => createOnnxWriter({ target: "plain", activations: "row" })).toThrow(/needs target onnxruntime/);
});
