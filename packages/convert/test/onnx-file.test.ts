import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { readGoldens, verify } from "@crossrank/core/verify";
import type { WriteProgress } from "@crossrank/formats";
import { afterAll, describe, expect, test } from "vitest";
import type { StoredTensorFacts } from "../src/artifact-writer.js";
import { UnsupportedConversionError } from "../src/errors.js";
import { createOnnxWriter, type OnnxTarget } from "../src/onnx/write-onnx.js";
import type { Weight } from "../src/source/weight.js";
import {
  convertedFixture,
  type Described,
  describeFixture,
  encoderFixtures,
  readGraph,
  temporaryFolder,
} from "./onnx-files.js";

const { path: folder, close } = await temporaryFolder();
afterAll(close);

const metadata = { "crossrank.source": "a model", "crossrank.revision": "0123abc" };

let count = 0;
async function freshPath(): Promise<string> {
  count += 1;
  const path = join(folder, String(count));
  await mkdir(path);
  return join(path, "model.onnx");
}

describe.each<OnnxTarget>(["onnxruntime", "plain", "mnn"])("a graph for %s", (target) => {
  const writer = createOnnxWriter({ target });
  test.each(encoderFixtures)("of %s is clean", async (name) => {
    const described = await describeFixture(name);
    for (const dtype of writer.dtypes) {
      const path = await freshPath();
      expect(await writer.write({ ...described, dtype, path, metadata })).toEqual([path]);
      const graph = await readGraph(path);
      expect(graph.operators.length).toBeGreaterThan(20);
      expect(graph.operators).not.toContain("Where");
      expect(graph.operators).not.toContain("IsNaN");
      expect(graph.metadata).toMatchObject(metadata);
      expect(graph.metadata["crossrank.graph"]).toBe(target === "onnxruntime" ? "final" : undefined);
      if (target !== "onnxruntime") expect(graph.domains).toEqual([""]);
      const segments = described.description.embeddings.segment?.shape[0] ?? 0;
      expect(graph.inputs).toEqual([
        "input_ids",
        "attention_mask",
        ...(segments > 1 ? ["token_type_ids"] : []),
      ]);
      expect(new Set(graph.tensors.map((tensor) => tensor.name)).size).toBe(graph.tensors.length);
    }
  });
});

test("fused operators are used where they are faster", async () => {
  const path = await freshPath();
  const bert = await describeFixture("bert-logit");
  const writer = createOnnxWriter();
  await writer.write({ ...bert, dtype: "fp32", path, metadata });
  const { operators, domains } = await readGraph(path);
  expect(domains).toEqual(["", "com.microsoft"]);
  // Of two layers the first has a way for batches without padding.
  expect(operators.filter((kind) => kind === "If")).toHaveLength(1);
  // Behind the last one only the first token is read.
  expect(operators.filter((kind) => kind === "MultiHeadAttention")).toHaveLength(1);
  await writer.write({ ...bert, dtype: "int8", path, metadata });
  const quantised = (await readGraph(path)).operators;
  expect(quantised).toContain("MatMulIntegerToFloat");
  expect(quantised).toContain("DynamicQuantizeMatMul");
});

test("rows score alike with padding, which attention masks, and alone, where it has no mask", async () => {
  const writer = createOnnxWriter();
  const { files } = await convertedFixture(join(folder, "padded"), "bert-logit", writer, "fp32");
  const query = "a question";
  const documents = [
    "short",
    "a document of more words than the other, so that the first is filled up with padding",
  ];
  const scoresOf = async (batch: { rows: number; padding: number }): Promise<readonly number[]> => {
    const backend = onnx({ isolation: "thread", workers: 1, threads: 1, batch });
    const reranker = await createReranker({ model: files, backend, dtype: "fp32" });
    const { scores } = await reranker.score(documents.map((document) => ({ query, document })));
    await reranker.dispose();
    return scores.map(({ logit }) => logit as number);
  };
  const [together, alone] = [
    await scoresOf({ rows: 2, padding: 1 }),
    await scoresOf({ rows: 1, padding: 0 }),
  ];
  for (const [index, logit] of alone.entries()) expect(together[index]).toBeCloseTo(logit, 4);
});

test("the same input gives the same bytes, and the facts of every tensor", async () => {
  const described = await describeFixture("modernbert-cls");
  const [one, other] = [await freshPath(), await freshPath()];
  const tensors: StoredTensorFacts[] = [];
  const onTensor = (tensor: StoredTensorFacts): void => void tensors.push(tensor);
  await createOnnxWriter().write({ ...described, dtype: "int8", path: one, metadata, onTensor });
  // Another order of the same metadata.
  const turned = Object.fromEntries(Object.entries(metadata).reverse());
  await createOnnxWriter().write({ ...described, dtype: "int8", path: other, metadata: turned });
  expect((await readFile(one)).equals(await readFile(other))).toBe(true);
  expect(tensors.map(({ name }) => name)).toEqual((await readGraph(one)).tensors.map(({ name }) => name));
  expect(tensors).toContainEqual({ name: "embeddings.word.int8", shape: [1198, 32], dtype: "int8" });
});

test("progress ends at the file's size", async () => {
  const path = await freshPath();
  const seen: WriteProgress[] = [];
  const described = await describeFixture("roberta-logit");
  const onProgress = (progress: WriteProgress): void => void seen.push(progress);
  await createOnnxWriter().write({ ...described, dtype: "fp16", path, metadata, onProgress });
  const { size } = await stat(path);
  expect(seen.at(-1)).toEqual({ written: size, total: size });
  expect(seen.every(({ total }) => total === size)).toBe(true);
});

describe.each(["fp32", "int8"])("weights in a file of their own, %s", (dtype) => {
  test("are found and give the same scores", async () => {
    const writer = createOnnxWriter({ externalFrom: 50_000 });
    const fixture = await convertedFixture(
      join(folder, `external-${dtype}`),
      "deberta-v2-logit",
      writer,
      dtype,
    );
    const main = await fixture.files.localPath(dtype === "fp32" ? "onnx/model.onnx" : "onnx/model_int8.onnx");
    const graph = await readGraph(main);
    expect(graph.tensors.filter(({ external }) => external).length).toBeGreaterThan(5);
    expect((await stat(main)).size).toBeLessThan(60_000);
    expect(existsSync(`${main}_data`)).toBe(true);
    const goldens = await readGoldens(fixture.files);
    if (goldens === undefined) throw new Error("no goldens");
    const backend = onnx({ isolation: "thread", workers: 1, threads: 1 });
    const { passed, reason } = await verify({ model: fixture.files, goldens, backend, dtype });
    expect(passed, reason).toBe(true);
  });
});

test("an abort ends writing with its own reason and closes the file", async () => {
  const described = await describeFixture("bert-logit");
  for (const externalFrom of [undefined, 1000]) {
    const path = await freshPath();
    const controller = new AbortController();
    const reason = new Error("enough");
    let chunks = 0;
    const writing = createOnnxWriter({ externalFrom }).write({
      ...described,
      dtype: "fp32",
      path,
      metadata,
      signal: controller.signal,
      onProgress: () => {
        chunks += 1;
        if (chunks === 5) controller.abort(reason);
      },
    });
    await expect(writing).rejects.toBe(reason);
    expect(chunks).toBe(5);
    if (process.platform === "linux") expect(openFiles().filter((file) => file.startsWith(path))).toEqual([]);
  }
});

test("nothing is written after an abort before the start", async () => {
  const path = await freshPath();
  const signal = AbortSignal.abort("no");
  const request = { ...(await describeFixture("bert-logit")), dtype: "fp32", path, metadata, signal };
  await expect(createOnnxWriter().write(request)).rejects.toBe("no");
  expect(existsSync(path)).toBe(false);
});

describe("refusals", () => {
  test.each(["qwen3-yes-no", "gemma-yes", "qwen3-listwise"])("%s", async (name) => {
    const { files, description, profile } = await describeFixture(name);
    const writer = createOnnxWriter();
    expect(() => writer.check(description, profile)).toThrow(UnsupportedConversionError);
    const path = await freshPath();
    const writing = writer.write({ files, description, profile, dtype: "fp32", path, metadata });
    await expect(writing).rejects.toThrow(/cannot be converted to onnx/);
    expect(existsSync(path)).toBe(false);
  });

  test("a dtype that there is not", async () => {
    const described = await describeFixture("bert-logit");
    const request = { ...described, path: await freshPath(), metadata };
    await expect(createOnnxWriter().write({ ...request, dtype: "q4" })).rejects.toThrow(/fp32, fp16, int8/);
    await expect(createOnnxWriter({ target: "mnn" }).write({ ...request, dtype: "int8" })).rejects.toThrow(
      /Take one of fp32, fp16/,
    );
  });

  test("a weight that half precision cannot hold", async () => {
    const described = await describeFixture("bert-logit");
    const word = described.description.embeddings.word;
    const huge: Weight = {
      ...word,
      async rows(from, to) {
        const rows = await word.rows(from, to);
        rows[0] = 65_520;
        return rows;
      },
    };
    const request = { ...withWords(described, huge), path: await freshPath(), metadata };
    await expect(createOnnxWriter().write({ ...request, dtype: "fp16" })).rejects.toThrow(
      /beyond 65504.*Take dtype fp32/,
    );
    await createOnnxWriter().write({ ...request, dtype: "fp32" });
  });
});

test.each(["fp32", "fp16", "int8"])("300 MB of weights pass through little memory, %s", async (dtype) => {
  const described = await describeFixture("bert-logit");
  const [columns, rows] = [described.description.hiddenSize, 2_400_000];
  const table: Weight = {
    name: "synthetic",
    shape: [rows, columns],
    async rows(from, to) {
      const numbers = new Float32Array((to - from) * columns);
      for (let index = 0; index < numbers.length; index += 1) numbers[index] = ((from + index) % 251) - 125;
      return numbers;
    },
  };
  const path = await freshPath();
  const before = process.memoryUsage().rss;
  let most = 0;
  await createOnnxWriter().write({
    ...withWords(described, table),
    dtype,
    path,
    metadata,
    onProgress: () => {
      most = Math.max(most, process.memoryUsage().rss);
    },
  });
  const bytes = { fp32: 4, fp16: 2, int8: 1 }[dtype] ?? Number.NaN;
  expect((await stat(path)).size).toBeGreaterThan(rows * columns * bytes);
  expect((most - before) / 1e6).toBeLessThan(150);
});

function withWords(described: Described, word: Weight): Described {
  const { description } = described;
  return {
    ...described,
    description: { ...description, embeddings: { ...description.embeddings, word } },
  };
}

function openFiles(): string[] {
  return readdirSync("/proc/self/fd").flatMap((number) => {
    try {
      return [readlinkSync(`/proc/self/fd/${number}`)];
    } catch {
      // The listing's own, which is closed by now.
      return [];
    }
  });
}
