import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { expect, onTestFinished, test } from "vitest";
import { folderFiles } from "./folder-files.js";

/** The embedded model: a real graph with DynamicQuantizeLinear. */
const nano = fileURLToPath(new URL("../../model-nano/model/", import.meta.url));

async function open(batch?: { rows: number }): ReturnType<typeof createReranker> {
  const backend = onnx({ workers: 1, threads: 1, batch });
  const reranker = await createReranker({ model: folderFiles(nano), backend });
  onTestFinished(() => reranker.dispose());
  return reranker;
}

test("int8 in batches of 8 rows loads, and says by how much scores may move", async () => {
  const reranker = await open({ rows: 8 });
  const { warnings } = await reranker.rerank({ query: "capital of france", documents: ["Paris", "an egg"] });
  const warning = warnings.find(({ code }) => code === "rows-affect-scores");
  expect(warning).toMatchObject({ rows: 8, measured: expect.any(Number) });
  expect(warning).not.toMatchObject({ measured: 0 });
});

test("its cache key is not the default's, whose scores do not move", async () => {
  const [usual, batched] = [await open(), await open({ rows: 8 })];
  expect(await batched.cacheKey()).not.toBe(await usual.cacheKey());
  const { warnings } = await usual.rerank({ query: "capital of france", documents: ["Paris", "an egg"] });
  expect(warnings.map(({ code }) => code)).not.toContain("rows-affect-scores");
});
