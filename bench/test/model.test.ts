import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeDocuments, pairLengths } from "../documents.mjs";
import { makeModel } from "../model/make-model.mjs";

let cache: string;
let folder: string;

beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), "crossrank-bench-test-"));
  folder = await makeModel("tiny", modelFolder, cache);
});

afterAll(() => rm(cache, { recursive: true, force: true }));

test("the generated BERT gives finite logits that lie apart, and the text lengths that were wanted", async () => {
  const { query, documents } = await makeDocuments(modelFolder, 12);
  await using reranker = await createReranker({
    model: await openModel(folder),
    backend: onnx({ isolation: "thread", workers: 1, threads: 1 }),
  });
  const { scores } = await reranker.score(documents.map((document) => ({ query, document })));

  const logits = scores.map(({ logit }) => logit ?? Number.NaN);
  expect(logits.every(Number.isFinite)).toBe(true);
  expect(Math.max(...logits) - Math.min(...logits)).toBeGreaterThan(0.1);
  expect(scores.map(({ tokens }) => tokens)).toEqual(pairLengths(12));
});

test("a second call finds the model that is there", async () => {
  expect(await makeModel("tiny", modelFolder, cache)).toBe(folder);
});

test("model.safetensors lists every tensor of the classifier, back to back to the end of the file", async () => {
  const file = await readFile(join(folder, "model.safetensors"));
  const headerSize = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerSize)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const { __metadata__: metadata, ...tensors } = header;

  expect(metadata).toEqual({ format: "pt" });
  expect(tensors["classifier.weight"]).toMatchObject({ dtype: "F32", shape: [1, 32] });
  // 5 of the embeddings, 16 of each layer, 2 of the pooler, 2 of the classifier.
  expect(Object.keys(tensors)).toHaveLength(5 + 2 * 16 + 2 + 2);
  let end = 0;
  for (const { shape, data_offsets: offsets } of Object.values(tensors)) {
    expect(offsets).toEqual([end, end + 4 * shape.reduce((total, size) => total * size, 1)]);
    end = offsets[1];
  }
  expect(file.length).toBe(8 + headerSize + end);
});

test.each([6, 12, 200])("%i documents have lengths within the model's, and about the same mean", (count) => {
  const lengths = pairLengths(count);
  expect(Math.min(...lengths)).toBeGreaterThanOrEqual(15);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(512);
  const mean = lengths.reduce((total, length) => total + length, 0) / count;
  expect(mean).toBeGreaterThan(165);
  expect(mean).toBeLessThan(190);
});
