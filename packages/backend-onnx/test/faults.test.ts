import { cp, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

test("an int8 graph that is not named so is batched and labelled by what it computes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-onnx-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await cp(nano, folder, { recursive: true });
  await rename(join(folder, "onnx/model_int8.onnx"), join(folder, "onnx/model.onnx"));
  const backend = onnx({ workers: 1, threads: 1, isolation: "thread" });
  const unnamed = await createReranker({ model: folderFiles(folder), backend });
  onTestFinished(() => unnamed.dispose());
  expect(unnamed.session.artifact.dtype).toBe("int8");
  const query = "capital of france";
  const alone = await unnamed.rerank({ query, documents: ["Paris is a city of France"] });
  const among = await unnamed.rerank({
    query,
    documents: ["Paris is a city of France", "an egg", "a long river that flows through many towns", "x"],
  });
  expect(among.results.find(({ index }) => index === 0)?.logit).toBe(alone.results[0]?.logit);
});
