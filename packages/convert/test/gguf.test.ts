import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFixtures } from "@crossrank/conformance";
import { type ModelProfile, readProfile } from "@crossrank/core";
import type { WriteProgress } from "@crossrank/formats";
import { describe, expect, onTestFinished, test } from "vitest";
import type { StoredTensorFacts, WriteRequest } from "../src/artifact-writer.js";
import { UnsupportedConversionError } from "../src/errors.js";
import { ggufWriter } from "../src/gguf/write-gguf.js";
import { describeModel } from "../src/source/describe-model.js";
import type { ModelDescription } from "../src/source/description.js";
import { bert, filesOf, profile, tokenizer, weight } from "./gguf-model.js";
import { type GgufFile, numbersOf, readGguf } from "./gguf-reader.js";

const model = filesOf({ "tokenizer.json": JSON.stringify(tokenizer), "config.json": "{}" });

async function write(change: Partial<WriteRequest> = {}): Promise<GgufFile> {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-gguf-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const request = { files: model, description: bert(), profile, dtype: "F32", metadata: {}, ...change };
  const [path, ...others] = await ggufWriter.write({ ...request, path: join(folder, "model.gguf") });
  expect(others).toEqual([]);
  return readGguf(path ?? "");
}

describe("layout of a BERT reranker", () => {
  test("row V + i of the table is embedding i and what segment 1 differs by", async () => {
    const { tensors, metadata } = await write();
    const word = await weight("word", 12, 64).rows(0, 12);
    const segment = await weight("segment", 2, 64).rows(0, 2);
    const table = numbersOf(tensors.get("token_embd.weight"));
    expect(tensors.get("token_embd.weight")?.dimensions).toEqual([64, 24]);
    expect(table.slice(0, 12 * 64)).toEqual([...word]);
    for (let at = 0; at < 12 * 64; at++) {
      const wanted = (word[at] ?? 0) + Math.fround((segment[64 + (at % 64)] ?? 0) - (segment[at % 64] ?? 0));
      expect(table[12 * 64 + at]).toBe(Math.fround(wanted));
    }
    expect(numbersOf(tensors.get("token_types.weight"))).toEqual([...segment.slice(0, 64)]);
    expect(metadata.get("crossrank.segment_vocabulary")).toBe(12);
    expect(metadata.get("bert.vocab_size")).toBe(24);
    expect(metadata.get("bert.pooling_type")).toBe(4);
    expect(metadata.get("tokenizer.ggml.token_type_count")).toBe(1);
  });

  test("the head is the pooler and the classifier", async () => {
    const { tensors } = await write();
    expect(numbersOf(tensors.get("cls.weight"))).toEqual([
      ...(await weight("pooler.weight", 64, 64).rows(0, 64)),
    ]);
    expect(numbersOf(tensors.get("cls.bias"))).toEqual([...(await weight("pooler.bias", 64).rows(0, 64))]);
    expect(tensors.get("cls.output.weight")?.dimensions).toEqual([64, 1]);
    expect(numbersOf(tensors.get("cls.output.bias"))).toEqual([
      ...(await weight("classifier.bias", 1).rows(0, 1)),
    ]);
  });

  test("two classes become the difference that the profile's head takes", async () => {
    const { head } = bert();
    if (head.kind !== "classifier") throw new Error("no classifier");
    const classifier = { weight: weight("two", 2, 64), bias: weight("bias", 2) };
    const steps = [
      ...head.steps.slice(0, 1),
      { kind: "linear" as const, linear: classifier, activation: "identity" as const },
    ];
    const description: ModelDescription = { ...bert(), head: { ...head, classes: 2, steps } };
    const { tensors, metadata } = await write({
      description,
      profile: { ...profile, head: { kind: "two-class", positive: 0 } },
    });
    const rows = await weight("two", 2, 64).rows(0, 2);
    const difference = [...rows.slice(0, 64)].map((number, index) =>
      Math.fround(number - (rows[64 + index] ?? 0)),
    );
    expect(numbersOf(tensors.get("cls.output.weight"))).toEqual(difference);
    expect(metadata.get("crossrank.folded_two_class")).toBe(0);
  });

  test("a model whose sequences are all of segment 0 keeps its vocabulary", async () => {
    const { tensors, metadata } = await write({ profile: { ...profile, readsSegments: false } });
    expect(tensors.get("token_embd.weight")?.dimensions).toEqual([64, 12]);
    expect(metadata.has("crossrank.segment_vocabulary")).toBe(false);
    expect(metadata.get("tokenizer.ggml.seperator_token_id")).toBe(3);
  });
});

describe("vocabulary", () => {
  test("spellings are llama.cpp's, each once, and there is one a row", async () => {
    const { metadata } = await write();
    const tokens = metadata.get("tokenizer.ggml.tokens") as string[];
    expect(tokens).toHaveLength(24);
    expect(new Set(tokens).size).toBe(24);
    expect(tokens.slice(0, 12)).toEqual([
      "[PAD]",
      "[UNK]",
      "[CLS]",
      "[SEP]",
      "▁word",
      "[token 5: ▁word]",
      "[token 6]",
      "[token 7]",
      "a",
      "[segment 1: 4]",
      "[PAD10]",
      "[PAD11]",
    ]);
    expect(tokens.slice(12, 17)).toEqual([
      "[segment 1: 0]",
      "[segment 1: 1]",
      "[segment 1: 2]",
      "[segment 1: 3]",
      "[token 16: [segment 1: 4]]",
    ]);
    // Control, unknown, normal, unused (llama_token_type).
    const types = metadata.get("tokenizer.ggml.token_type") as number[];
    expect(types.slice(0, 16)).toEqual([3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 5, 5, 5, 5, 5, 3]);
  });

  test("the ends are those of the sequence as it is fed", async () => {
    const { metadata } = await write();
    expect(metadata.get("tokenizer.ggml.bos_token_id")).toBe(2);
    expect(metadata.get("tokenizer.ggml.eos_token_id")).toBe(15);
    expect(metadata.get("tokenizer.ggml.seperator_token_id")).toBe(15);
  });

  test("a token that the embedding table has no row for is refused", async () => {
    const vocab = { ...tokenizer.model.vocab, beyond: 12 };
    const files = filesOf({
      "config.json": "{}",
      "tokenizer.json": JSON.stringify({ ...tokenizer, model: { ...tokenizer.model, vocab } }),
    });
    await expect(write({ files })).rejects.toThrow(/token 12 .*12 rows/);
  });

  test("sequences without special tokens at their ends are refused: llama.cpp would add them", async () => {
    const pairTemplate = profile.pairTemplate.slice(0, -1);
    await expect(write({ profile: { ...profile, pairTemplate } })).rejects.toThrow(/do not begin and end/);
  });
});

test("metadata of our own says what the file was made of", async () => {
  const { metadata } = await write({ metadata: { id: "somebody/bert", revision: "abc" } });
  expect(metadata.get("crossrank.version")).toBe(1);
  expect(JSON.parse(String(metadata.get("crossrank.profile")))).toEqual(profile);
  expect(metadata.get("crossrank.tokenizer_sha256")).toMatch(/^[0-9a-f]{64}$/);
  expect(JSON.parse(String(metadata.get("crossrank.source")))).toEqual({
    id: "somebody/bert",
    revision: "abc",
  });
});

test("quantised files: vectors and the head stay F32, rows that fill no block become F16 and are named", async () => {
  const stored: StoredTensorFacts[] = [];
  const { tensors, metadata } = await write({ dtype: "q8_0", onTensor: (tensor) => stored.push(tensor) });
  const typeOf = (name: string): number | undefined => tensors.get(name)?.type;
  expect(typeOf("token_embd.weight")).toBe(8);
  expect(typeOf("blk.0.attn_q.weight")).toBe(8);
  expect(typeOf("blk.0.ffn_up.weight")).toBe(8);
  // 80 inputs are no multiple of 32.
  expect(typeOf("blk.0.ffn_down.weight")).toBe(1);
  expect(metadata.get("crossrank.kept_tensors")).toEqual(["blk.0.ffn_down.weight"]);
  const exact = [
    "position_embd.weight",
    "token_types.weight",
    "cls.weight",
    "cls.output.weight",
    "blk.0.attn_q.bias",
  ];
  for (const name of exact) expect(typeOf(name)).toBe(0);
  expect(metadata.get("general.file_type")).toBe(7);
  expect(stored.map(({ name }) => name)).toEqual([...tensors.keys()]);
  expect(stored.find(({ name }) => name === "token_embd.weight")).toEqual({
    name: "token_embd.weight",
    shape: [24, 64],
    dtype: "Q8_0",
  });
});

describe("a precision in blocks", () => {
  test.each([
    [48, 80, "48 and of 80"],
    // The rows of 128 fit, and are fewer than those of 48.
    [48, 128, "48"],
    [312, 1200, "312 and of 1200"],
    [100, 400, "100 and of 400"],
    [16, 64, "16"],
  ])(
    "is refused where most rows do not fit: %i wide, feed-forward %i",
    async (hidden, intermediate, widths) => {
      const description = bert(intermediate, hidden);
      for (const dtype of ["Q8_0", "Q4_0", "Q6_K", "Q4_K_M"]) {
        const refused = `rows of ${widths} are no multiple of 32: most weights of the file would be F16. Take F16`;
        expect(() => ggufWriter.check(description, profile, dtype)).toThrow(UnsupportedConversionError);
        expect(() => ggufWriter.check(description, profile, dtype)).toThrow(refused);
        const folder = await mkdtemp(join(tmpdir(), "crossrank-gguf-"));
        onTestFinished(() => rm(folder, { recursive: true, force: true }));
        const request = { files: model, description, profile, dtype, metadata: {} };
        await expect(ggufWriter.write({ ...request, path: join(folder, "model.gguf") })).rejects.toThrow(
          refused,
        );
        expect(await readdir(folder)).toEqual([]);
      }
      for (const dtype of ["F32", "F16", undefined]) ggufWriter.check(description, profile, dtype);
    },
  );

  test.each([
    [64, 80],
    [96, 100],
    [64, 2000],
    [64, 128],
  ])(
    "is what most weights of the layers have otherwise: %i wide, feed-forward %i",
    async (hidden, intermediate) => {
      const description = bert(intermediate, hidden);
      for (const [dtype, type] of [
        ["Q8_0", 8],
        ["Q4_0", 2],
      ] as const) {
        ggufWriter.check(description, profile, dtype);
        const { tensors } = await write({ description, dtype });
        const counts = new Map<number, number>();
        for (const [name, { type: held, dimensions }] of tensors) {
          const [inner = 0, outer] = dimensions;
          if (!name.startsWith("blk.") || outer === undefined) continue;
          counts.set(held, (counts.get(held) ?? 0) + inner * outer);
        }
        const [most] = [...counts].sort(([, left], [, right]) => right - left);
        expect(most?.[0]).toBe(type);
      }
    },
  );
});

test("Q4_0 holds the table of embeddings as Q8_0", async () => {
  const { tensors } = await write({ dtype: "Q4_0", description: bert(128) });
  expect(tensors.get("token_embd.weight")?.type).toBe(8);
  expect(tensors.get("blk.0.ffn_down.weight")?.type).toBe(2);
});

test.each([
  // token_embd, attn_q, attn_v, ffn_down of one layer, which is both the first and the last
  ["Q6_K", 18, [14, 14, 14, 14]],
  ["q5_k_m", 17, [14, 13, 14, 14]],
  ["Q5_K_S", 16, [14, 13, 13, 13]],
  ["Q4_K_M", 15, [14, 12, 14, 14]],
  ["q4_k_s", 14, [14, 12, 13, 12]],
] as const)("%s is llama.cpp's mixture, and its head F32", async (dtype, fileType, types) => {
  const stored: StoredTensorFacts[] = [];
  const { tensors, metadata } = await write({
    dtype,
    description: bert(512, 256),
    onTensor: (tensor) => stored.push(tensor),
  });
  const names = ["token_embd", "blk.0.attn_q", "blk.0.attn_v", "blk.0.ffn_down"];
  expect(names.map((name) => tensors.get(`${name}.weight`)?.type)).toEqual(types);
  for (const name of ["cls.weight", "cls.output.weight", "position_embd.weight"])
    expect(tensors.get(name)?.type).toBe(0);
  expect(metadata.get("general.file_type")).toBe(fileType);
  expect(metadata.get("crossrank.dtype")).toBe(dtype.toUpperCase());
  expect(metadata.has("crossrank.kept_tensors")).toBe(false);
  expect(stored.find(({ name }) => name === "blk.0.attn_k.weight")?.dtype).toBe(
    `Q${fileType === 18 ? 6 : fileType > 15 ? 5 : 4}_K`,
  );
});

test("Q4_K_M of rows that are no multiple of 256 takes llama.cpp's fallback types, and F16 of 32", async () => {
  const { tensors, metadata } = await write({ dtype: "Q4_K_M" });
  const typeOf = (name: string): number | undefined => tensors.get(`${name}.weight`)?.type;
  expect(typeOf("token_embd")).toBe(8);
  expect(typeOf("blk.0.attn_q")).toBe(6);
  expect(typeOf("blk.0.attn_v")).toBe(8);
  expect(typeOf("blk.0.ffn_down")).toBe(1);
  expect(metadata.get("crossrank.kept_tensors")).toEqual(["blk.0.ffn_down.weight"]);
});

test("a weight beyond half precision is an error, and not an infinity", async () => {
  const { embeddings } = bert();
  const huge = {
    ...embeddings.word,
    rows: async (from: number, to: number) => new Float32Array((to - from) * 64).fill(1e5),
  };
  const description = { ...bert(), embeddings: { ...embeddings, word: huge } };
  await expect(write({ description, dtype: "F16" })).rejects.toThrow(UnsupportedConversionError);
  await expect(write({ description, dtype: "F16" })).rejects.toThrow(/token_embd\.weight as F16: 100000/);
});

test("progress ends at the file's size; large tensors come in pieces", async () => {
  const steps: WriteProgress[] = [];
  const { embeddings } = bert();
  let most = 0;
  const word = weight("word", 40_000, 64);
  const counted = {
    ...word,
    rows: async (from: number, to: number) => {
      most = Math.max(most, to - from);
      return word.rows(from, to);
    },
  };
  const description = { ...bert(), vocabularySize: 40_000, embeddings: { ...embeddings, word: counted } };
  const { size } = await write({ description, onProgress: (step) => steps.push(step) });
  expect(steps.at(-1)).toEqual({ written: size, total: size });
  expect(steps.map(({ written }) => written)).toEqual(
    steps.map(({ written }) => written).sort((a, b) => a - b),
  );
  expect(most).toBe(2 ** 20 / 64);
});

test("an abort ends the writing with the signal's own reason", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  const onProgress = ({ written }: WriteProgress): void => {
    if (written > 5000) controller.abort(reason);
  };
  await expect(write({ signal: controller.signal, onProgress })).rejects.toBe(reason);
});

describe("what is refused", () => {
  const refused: [
    string,
    RegExp,
    (description: ModelDescription) => ModelDescription,
    Partial<ModelProfile>?,
  ][] = [
    ["an unknown architecture", /architecture elsewhere/, (d) => ({ ...d, architecture: "elsewhere" })],
    ["DeBERTa", /no DeBERTa/, (d) => ({ ...d, architecture: "deberta-v2" })],
    ["a listwise model", /listwise/, (d) => d, { family: "listwise" }],
    [
      "a norm behind the layers",
      /norm behind its last layer/,
      (d) => ({ ...d, finalNorm: d.embeddings.norm }),
    ],
    [
      "RELU",
      /relu.*GELU/,
      (d) => eachLayer(d, ({ feedForward: f }) => ({ feedForward: { ...f, activation: "relu" } })),
    ],
    [
      "causal attention",
      /causal/,
      (d) => eachLayer(d, ({ attention: a }) => ({ attention: { ...a, causal: true } })),
    ],
    [
      "another scale",
      /scaled by 0\.2/,
      (d) => eachLayer(d, ({ attention: a }) => ({ attention: { ...a, scale: 0.2 } })),
    ],
    [
      "several epsilons",
      /several epsilons/,
      (d) => eachLayer(d, ({ feedForwardNorm: n }) => ({ feedForwardNorm: { ...n, epsilon: 1e-5 } })),
    ],
    [
      "no positions",
      /no position table/,
      (d) => ({ ...d, embeddings: { ...d.embeddings, position: undefined } }),
    ],
    ["three classes", /3 classes/, (d) => changeHead(d, { classes: 3 })],
    ["the mean vector", /the mean vector/, (d) => changeHead(d, { pooling: "mean" })],
    ["no classifier", /has no classifier/, (d) => ({ ...d, head: { kind: "none" } })],
    [
      "another activation of the pooler",
      /not dense, tanh, dense/,
      (d) =>
        d.head.kind === "classifier"
          ? changeHead(d, {
              steps: d.head.steps.map((step) => ("linear" in step ? { ...step, activation: "relu" } : step)),
            })
          : d,
    ],
  ];

  test.each(refused)("%s", (_, message, change, profileChange = {}) => {
    expect(() => ggufWriter.check(bert(), profile)).not.toThrow();
    const check = () => ggufWriter.check(change(bert()), { ...profile, ...profileChange });
    expect(check).toThrow(UnsupportedConversionError);
    expect(check).toThrow(message);
  });

  test("of the fixtures, those that llama.cpp cannot compute", async () => {
    const problems: Record<string, string> = {};
    for (const { name, files } of openFixtures()) {
      const { profile: read } = await readProfile(files);
      try {
        ggufWriter.check(await describeModel(files, read), read);
      } catch (error) {
        if (!UnsupportedConversionError.isInstance(error)) throw error;
        problems[name] = error.problem;
      }
    }
    expect(problems).toEqual({
      "bert-late": expect.stringContaining("all tokens"),
      "bert-late-original": expect.stringContaining("all tokens"),
      "modernbert-late": expect.stringContaining("all tokens"),
      "deberta-v2-logit": expect.stringContaining("DeBERTa"),
      "modernbert-cls": expect.stringContaining("first token's vector"),
      "qwen3-listwise": expect.stringContaining("several tokens"),
    });
  });
});

function eachLayer(
  description: ModelDescription,
  change: (layer: ModelDescription["layers"][number]) => Partial<ModelDescription["layers"][number]>,
): ModelDescription {
  return { ...description, layers: description.layers.map((layer) => ({ ...layer, ...change(layer) })) };
}

function changeHead(
  description: ModelDescription,
  change: Partial<Extract<ModelDescription["head"], { kind: "classifier" }>>,
): ModelDescription {
  const { head } = description;
  if (head.kind !== "classifier") throw new Error("no classifier");
  return { ...description, head: { ...head, ...change } };
}
