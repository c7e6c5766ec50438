import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { backends, type OnnxOptions, onnx } from "@crossrank/backend-onnx";
import type { BackendSession } from "@crossrank/core";
import { precisionOf, readGraph, withLocalFile } from "@crossrank/formats/onnx";
import { describe, expect, onTestFinished, test } from "vitest";
import { fixture, folderWith, load, temporaryFolder } from "./fixtures.js";

/** The embedded model: a real graph with DynamicQuantizeLinear. */
const nano = fileURLToPath(new URL("../../model-nano/model/", import.meta.url));
const nanoGraph = join(nano, "onnx/model_int8.onnx");

async function loadFor(folder: string, options: OnnxOptions = {}): Promise<BackendSession> {
  const session = await load(onnx({ workers: 1, threads: 1, ...options }), folder);
  onTestFinished(() => session.dispose());
  return session;
}

async function readQuantisesPerBatch(path: string): Promise<boolean | undefined> {
  const graph = await withLocalFile(path, readGraph);
  return graph && precisionOf(graph).quantisesPerBatch;
}

describe("whether rows affect scores", () => {
  test("is read from the graph's operators", async () => {
    expect(await readQuantisesPerBatch(nanoGraph)).toBe(true);
    expect(await readQuantisesPerBatch(join(fixture("cross-encoder"), "onnx/model.onnx"))).toBe(false);
    expect(await readQuantisesPerBatch(join(fixture("cross-encoder-external"), "onnx/model.onnx"))).toBe(
      false,
    );
  });

  test("is not known of what is no graph", async () => {
    const path = join(await temporaryFolder(), "model.onnx");
    const graph = await readFile(nanoGraph);
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from("<html>"),
      graph.subarray(0, 40),
      Buffer.alloc(500, 0xff),
    ]) {
      await writeFile(path, bytes);
      expect(await readQuantisesPerBatch(path)).toBeUndefined();
    }
  });

  test("does not depend on the file's name", async () => {
    const quantised = await temporaryFolder();
    await cp(nanoGraph, join(quantised, "onnx/model.onnx"));
    const { capabilities } = await loadFor(quantised);
    expect(capabilities.rowsAffectScores).toBe(true);
    expect(capabilities.batchPreference.rows).toBe(1);
    const exact = await loadFor(await folderWith(["onnx/model_int8.onnx"]));
    expect(exact.capabilities.rowsAffectScores).toBe(false);
    expect(exact.capabilities.batchPreference.rows).toBe(8);
  });

  test("decides the rows of a batch, unless the caller wants otherwise", async () => {
    expect((await loadFor(nano)).capabilities.batchPreference.rows).toBe(1);
    const { capabilities } = await loadFor(nano, { batch: { rows: 8, padding: 0.2 } });
    expect(capabilities.batchPreference).toMatchObject({ rows: 8, padding: 0.2 });
  });
});

describe("settings", () => {
  test("of a graph whose rows are independent: nothing about batches, threads or this machine", async () => {
    const optimizedModelFilePath = join(await temporaryFolder(), "run.onnx");
    const plain = await loadFor(fixture("cross-encoder"));
    expect(plain.settings).toEqual({ executionProviders: "cpu", graphOptimizationLevel: "all" });
    const told = await loadFor(fixture("cross-encoder"), {
      threads: 2,
      batch: { rows: 2 },
      sessionOptions: { optimizedModelFilePath, logSeverityLevel: 3 },
    });
    expect(told.settings).toEqual(plain.settings);
  });

  test("hold the batch where rows affect scores, and every option that may change a number", async () => {
    const { settings } = await loadFor(nano, {
      batch: { rows: 8 },
      executionProviders: [{ name: "cpu", useArena: false }],
      sessionOptions: { graphOptimizationLevel: "basic", extra: { session: { b: "1", a: "0" } } },
    });
    expect(settings).toEqual({
      executionProviders: '[{"name":"cpu","useArena":false}]',
      graphOptimizationLevel: "basic",
      sessionOptions: '{"extra":{"session":{"a":"0","b":"1"}}}',
      batch: '{"padding":0.05,"rows":8,"tokens":256}',
    });
  });
});

describe("the descriptor", () => {
  const [descriptor] = backends;

  test("lists artifacts as the backend would take them", () => {
    const paths = [
      "model.onnx",
      "onnx/model_int8.onnx",
      "onnx/model.onnx",
      "onnx/model_O3.onnx",
      "gguf/a.gguf",
    ];
    expect(descriptor?.artifacts(paths)).toEqual([
      { dtype: "fp32", path: "onnx/model.onnx" },
      { dtype: "fp32", path: "model.onnx" },
      { dtype: "fp32", path: "onnx/model_O3.onnx", aliases: ["O3"] },
      { dtype: "int8", path: "onnx/model_int8.onnx" },
    ]);
    expect(descriptor?.candidates(paths)).toEqual([
      "model.onnx",
      "onnx/model.onnx",
      "onnx/model_O3.onnx",
      "onnx/model_int8.onnx",
    ]);
  });

  test("makes the backend that it describes", async () => {
    const backend = await descriptor?.create({ threads: 1, workers: 1 });
    expect(backend).toMatchObject({ name: descriptor?.name, families: descriptor?.families });
  });
});
