import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { llamacpp } from "@crossrank/backend-llamacpp";
import { createReranker } from "@crossrank/core";
import { describe, expect, test } from "vitest";
import { arrayOf, type Contents, editGguf } from "./edit-gguf.js";
import { folderWith, load, openFolder, rejection } from "./fixtures.js";

const backend = llamacpp({ isolation: "thread" });
const query = "which animal barks?";
const documents = ["a dog barks at night", "cats sleep all day", "the river is wide and slow"];

async function logits(folder: string): Promise<number[]> {
  const reranker = await createReranker({ model: openFolder(folder), backend });
  try {
    const { results } = await reranker.rerank({ query, documents });
    return [...results].sort((a, b) => a.index - b.index).map(({ logit }) => logit as number);
  } finally {
    await reranker.dispose();
  }
}

async function withConfig(folder: string, change: Record<string, unknown>): Promise<string> {
  const path = join(folder, "config.json");
  const config = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
  for (const [key, value] of Object.entries(change)) if (value === undefined) delete config[key];
  await writeFile(path, JSON.stringify({ ...config, ...change }));
  return folder;
}

const float32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
};

/** The rank head's rows times a factor: no longer those of the token embeddings, as in a model that does not tie them. */
const withHeadTimes =
  (factor: number) =>
  ({ entries, tensors }: Contents): Contents => ({
    entries,
    tensors: tensors.map((tensor) => {
      if (tensor.name !== "cls.output.weight") return tensor;
      const data = Buffer.from(tensor.data);
      for (let at = 0; at + 4 <= data.length; at += 4) data.writeFloatLE(factor * data.readFloatLE(at), at);
      return { ...tensor, data };
    }),
  });

const withoutTensor =
  (name: string) =>
  ({ entries, tensors }: Contents): Contents => ({
    entries,
    tensors: tensors.filter((tensor) => tensor.name !== name),
  });

const withEntries =
  (change: (key: string) => Buffer | undefined | "keep") =>
  ({ entries, tensors }: Contents): Contents => ({
    entries: entries.flatMap((entry) => {
      const value = change(entry.key);
      if (value === undefined) return [];
      return [value === "keep" ? entry : { ...entry, value }];
    }),
    tensors,
  });

describe("a reranker that does not tie its output to its embeddings, as llama.cpp's converter writes it", () => {
  test("is ranked with its rank head", async () => {
    const tied = await logits(await folderWith("qwen3-yes-no", (bytes) => bytes));
    for (const factor of [1, 2, -1, 0.5]) {
      const folder = await folderWith("qwen3-yes-no", (bytes) => editGguf(bytes, withHeadTimes(factor)));
      const untied = await logits(await withConfig(folder, { tie_word_embeddings: false }));
      // The difference of two logits is linear in their rows.
      for (const [index, logit] of untied.entries()) {
        expect(logit).toBeCloseTo(factor * (tied[index] as number), 3);
      }
    }
  });

  test("is ranked so where config.json says nothing, which Qwen's class takes for untied", async () => {
    const tied = await logits(await folderWith("qwen3-yes-no", (bytes) => bytes));
    const folder = await folderWith("qwen3-yes-no", (bytes) => editGguf(bytes, withHeadTimes(2)));
    const untied = await logits(await withConfig(folder, { tie_word_embeddings: undefined }));
    expect(untied[0]).toBeCloseTo(2 * (tied[0] as number), 3);
  });

  test("is ranked the same with the rows of its head in the other order", async () => {
    const tied = await logits(await folderWith("qwen3-yes-no", (bytes) => bytes));
    const folder = await folderWith("qwen3-yes-no", (bytes) =>
      editGguf(bytes, (contents) => ({
        entries: withEntries((key) =>
          key === "qwen3.classifier.output_labels" ? arrayOf(["no", "yes"]) : "keep",
        )(contents).entries,
        tensors: contents.tensors.map((tensor) => {
          if (tensor.name !== "cls.output.weight") return tensor;
          const half = tensor.data.length / 2;
          return {
            ...tensor,
            data: Buffer.concat([tensor.data.subarray(half), tensor.data.subarray(0, half)]),
          };
        }),
      })),
    );
    const turned = await logits(await withConfig(folder, { tie_word_embeddings: false }));
    for (const [index, logit] of turned.entries()) expect(logit).toBeCloseTo(tied[index] as number, 3);
  });

  test.each<[string, (contents: Contents) => Contents, RegExp]>([
    ["without a head", withoutTensor("cls.output.weight"), /no tensor "output.weight".*does not tie them/],
    [
      "with a head of other answers",
      withEntries((key) =>
        key === "qwen3.classifier.output_labels" ? arrayOf(["relevant", "irrelevant"]) : "keep",
      ),
      /answers "relevant" and "irrelevant", and the model's answers are "yes" and "no"/,
    ],
  ])("is refused %s", async (_, edit, reason) => {
    const folder = await folderWith("qwen3-yes-no", (bytes) => editGguf(bytes, edit));
    const error = await rejection(load(backend, await withConfig(folder, { tie_word_embeddings: false })));
    expect(error.message).toMatch(reason);
  });
});

describe("a key that the file leaves out is llama.cpp's default", () => {
  test.each<[string, string, string, Record<string, unknown>, RegExp]>([
    [
      "the rotary base",
      "qwen3-yes-no",
      "qwen3.rope.freq_base",
      { rope_theta: 1_000_000, rope_parameters: undefined },
      /no "qwen3.rope.freq_base", for which llama.cpp takes 10000, and config.json has 1000000/,
    ],
    [
      "the rotary base, as transformers 5 writes it",
      "qwen2-one-zero",
      "qwen2.rope.freq_base",
      { rope_theta: undefined, rope_parameters: { rope_type: "default", rope_theta: 500_000 } },
      /no "qwen2.rope.freq_base".*10000.*500000/,
    ],
    [
      "the heads of keys and values",
      "qwen3-yes-no",
      "qwen3.attention.head_count_kv",
      { num_key_value_heads: 1 },
      /no "qwen3.attention.head_count_kv"/,
    ],
    [
      "the size of a head",
      "qwen3-yes-no",
      "qwen3.attention.key_length",
      { head_dim: 7 },
      /no "qwen3.attention.key_length"/,
    ],
  ])("%s", async (_, name, key, config, reason) => {
    const folder = await folderWith(name, (bytes) =>
      editGguf(
        bytes,
        withEntries((found) => (found === key ? undefined : "keep")),
      ),
    );
    const error = await rejection(load(backend, await withConfig(folder, config)));
    expect(error.message).toMatch(reason);
  });

  test("stretched positions", async () => {
    const folder = await folderWith("qwen3-yes-no", (bytes) => bytes);
    const config = { rope_scaling: { rope_type: "yarn", factor: 4 } };
    const error = await rejection(load(backend, await withConfig(folder, config)));
    expect(error.message).toMatch(/rope.scaling.type" of its metadata is "none", and config.json has "yarn"/);
  });

  test("is right where config.json says the same", async () => {
    const known = await logits(
      await withConfig(
        await folderWith("qwen3-yes-no", (bytes) =>
          editGguf(
            bytes,
            withEntries((key) => (key === "qwen3.rope.freq_base" ? float32(10_000) : "keep")),
          ),
        ),
        { rope_theta: 10_000, rope_parameters: undefined },
      ),
    );
    const silent = await logits(
      await withConfig(
        await folderWith("qwen3-yes-no", (bytes) =>
          editGguf(
            bytes,
            withEntries((key) => (key === "qwen3.rope.freq_base" ? undefined : "keep")),
          ),
        ),
        { rope_theta: 10_000, rope_parameters: undefined },
      ),
    );
    expect(silent).toEqual(known);
  });
});
