import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  CrossrankError,
  InvalidInputError,
  ModelFileNotFoundError,
  ModelProfileError,
  readProfile,
} from "../src/index.js";
import { memoryFiles } from "./memory-files.js";
import { unigram, wordPiece } from "./tokenizers.js";

const bert = {
  architectures: ["BertForSequenceClassification"],
  model_type: "bert",
  max_position_embeddings: 512,
  pad_token_id: 0,
};
const identity = { sentence_transformers: { activation_fn: "torch.nn.modules.linear.Identity" } };

async function read(contents: Record<string, unknown>, overrides = {}) {
  return readProfile(memoryFiles({ "tokenizer.json": wordPiece, ...contents }), overrides);
}

describe("cross-encoders", () => {
  it("reads one label and sentence-transformers' activation", async () => {
    const { profile, sources } = await read({
      "config.json": { ...bert, id2label: { 0: "LABEL_0" }, ...identity },
      "tokenizer_config.json": { model_max_length: 128 },
    });
    expect(profile).toMatchObject({
      family: "cross-encoder",
      architecture: "bert",
      head: { kind: "logit" },
      activation: "identity",
      maxLength: 128,
      truncation: "document-only",
      paddingId: 0,
    });
    expect(profile.pairTemplate).toHaveLength(5);
    expect(sources.maxLength).toBe("tokenizer_config.json model_max_length");
  });

  it("takes two labels as two classes, and one label without an activation as a sigmoid", async () => {
    const two = await read({ "config.json": { ...bert, id2label: { 0: "LABEL_0", 1: "LABEL_1" } } });
    expect(two.profile.head).toEqual({ kind: "two-class", positive: 1 });
    const one = await read({ "config.json": { ...bert, num_labels: 1 } });
    expect(one.profile).toMatchObject({ head: { kind: "logit" }, activation: "sigmoid" });
  });

  it("reads the older name of the activation", async () => {
    const config = {
      ...bert,
      num_labels: 1,
      sbert_ce_default_activation_function: "torch.nn.modules.linear.Identity",
    };
    expect((await read({ "config.json": config })).profile.activation).toBe("identity");
  });

  it("takes the padding offset off RoBERTa's position table, and no limit for 1e30", async () => {
    const { profile } = await read({
      "tokenizer.json": unigram,
      "config.json": {
        architectures: ["XLMRobertaForSequenceClassification"],
        model_type: "xlm-roberta",
        max_position_embeddings: 514,
        pad_token_id: 1,
        num_labels: 1,
      },
      "tokenizer_config.json": { model_max_length: 1e30 },
    });
    expect(profile).toMatchObject({ maxLength: 512, paddingId: 1 });
    expect(
      profile.pairTemplate.map((piece) => ("id" in piece ? piece.id : "text" in piece && piece.text)),
    ).toEqual([0, "query", 2, 2, "document", 2]);
  });

  it.each([
    ["three labels", { ...bert, num_labels: 3 }, /3 labels/],
    [
      "an unknown activation",
      { ...bert, num_labels: 1, sentence_transformers: { activation_fn: "torch.nn.ReLU" } },
      /ReLU.*identity/,
    ],
    ["a causal model", { ...bert, architectures: ["Qwen3ForCausalLM"] }, /Qwen3ForCausalLM/],
    ["an encoder without pooling", { ...bert, architectures: ["BertModel"] }, /crossrank\.json/],
    [
      "a malformed entry",
      { ...bert, max_position_embeddings: "512" },
      /config\.json.*max_position_embeddings/,
    ],
  ])("refuses %s and says why", async (_, config, message) => {
    const attempt = read({ "config.json": config });
    await expect(attempt).rejects.toThrow(ModelProfileError);
    await expect(attempt).rejects.toThrow(message);
  });

  it("names a missing file and what is there", async () => {
    await expect(read({ "weights.bin": "x" })).rejects.toThrow(ModelFileNotFoundError);
    await expect(read({ "weights.bin": "x" })).rejects.toThrow(/config\.json.*weights\.bin/);
    await expect(readProfile(memoryFiles({ "config.json": bert }))).rejects.toThrow(/tokenizer\.json/);
  });

  it("refuses broken JSON and names the file", async () => {
    await expect(read({ "config.json": "{" })).rejects.toThrow(/config\.json: cannot be read/);
  });
});

describe("bi-encoders", () => {
  const modules = [
    { idx: 0, name: "0", path: "", type: "sentence_transformers.models.Transformer" },
    { idx: 1, name: "1", path: "1_Pooling", type: "sentence_transformers.models.Pooling" },
    { idx: 2, name: "2", path: "2_Normalize", type: "sentence_transformers.models.Normalize" },
  ];
  const files = (pooling: object, chain: object[] = modules) => ({
    "config.json": { ...bert, architectures: ["BertModel"] },
    "modules.json": chain,
    "1_Pooling/config.json": pooling,
    "sentence_bert_config.json": { max_seq_length: 256, do_lower_case: false },
    "config_sentence_transformers.json": { prompts: { query: "query: ", document: "passage: " } },
  });

  it("reads pooling, length and prompts from sentence-transformers' files", async () => {
    const { profile } = await read(files({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: false }));
    expect(profile).toMatchObject({
      family: "bi-encoder",
      head: { kind: "cosine", pooling: "cls" },
      maxLength: 256,
      queryPrefix: "query: ",
      documentPrefix: "passage: ",
    });
    const mean = await read(files({ pooling_mode_cls_token: false, pooling_mode_mean_tokens: true }));
    expect(mean.profile.head).toEqual({ kind: "cosine", pooling: "mean" });
    const newer = await read(files({ pooling_mode: "mean", word_embedding_dimension: 384 }));
    expect(newer.profile.head).toEqual({ kind: "cosine", pooling: "mean" });
  });

  it.each([
    ["max pooling", files({ pooling_mode_max_tokens: true }), /pooling max_tokens/],
    [
      "two poolings at once",
      files({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: true }),
      /cls_token \+ mean_tokens/,
    ],
    [
      "a dense module",
      files({ pooling_mode_cls_token: true }, [...modules, { path: "3_Dense", type: "x.Dense" }]),
      /Dense/,
    ],
  ])("refuses %s", async (_, contents, message) => {
    await expect(read(contents)).rejects.toThrow(message);
  });
});

describe("errors", () => {
  it("are told apart across copies of the package, subclasses included", () => {
    const error = new InvalidInputError("query", "is empty");
    expect(CrossrankError.isInstance(error)).toBe(true);
    expect(InvalidInputError.isInstance(error)).toBe(true);
    expect(ModelProfileError.isInstance(error)).toBe(false);
    expect(CrossrankError.isInstance(new Error("no"))).toBe(false);
    expect(CrossrankError.isInstance(undefined)).toBe(false);
    expect(error).toMatchObject({ name: "InvalidInputError", code: "invalid-input", path: "query" });
  });
});

describe("crossrank.json and overrides", () => {
  const config = { ...bert, num_labels: 1 };

  it("leave the padding id to tokenizer.json where config.json has none", async () => {
    const { pad_token_id: _, ...rest } = config;
    const padded = { ...wordPiece, padding: { pad_id: 7 } };
    const { profile, sources } = await read({ "tokenizer.json": padded, "config.json": rest });
    expect([profile.paddingId, sources.paddingId]).toEqual([7, "tokenizer.json padding"]);
    const bare = await read({ "config.json": rest });
    expect([bare.profile.paddingId, bare.sources.paddingId]).toEqual([0, "default"]);
  });

  it("take precedence field by field, and say so", async () => {
    const { profile, sources } = await read(
      {
        "config.json": config,
        "crossrank.json": { activation: "identity", maxLength: 100, defaultDtype: "int8" },
      },
      { maxLength: 64 },
    );
    expect(profile).toMatchObject({
      activation: "identity",
      maxLength: 64,
      defaultDtype: "int8",
      family: "cross-encoder",
    });
    expect(sources).toMatchObject({
      activation: "crossrank.json",
      maxLength: "given by the caller",
      family: "config.json architectures",
    });
  });

  it("make config.json unnecessary when they say it all", async () => {
    const { profile } = await read({
      "crossrank.json": {
        specificationVersion: "1",
        family: "bi-encoder",
        architecture: "bert",
        head: { kind: "cosine", pooling: "cls" },
        activation: "identity",
        maxLength: 512,
      },
    });
    expect(profile).toMatchObject({ family: "bi-encoder", paddingId: 0 });
  });

  it("let a classifier of three labels in when they give the head", async () => {
    const { profile } = await read(
      { "config.json": { ...bert, num_labels: 3 } },
      { head: { kind: "logit" }, activation: "identity" },
    );
    expect(profile.head).toEqual({ kind: "logit" });
  });

  it("are checked", async () => {
    await expect(read({ "config.json": config, "crossrank.json": { famly: "x" } })).rejects.toThrow(
      /crossrank\.json.*famly/,
    );
    await expect(read({ "config.json": config }, { maxLength: "long" })).rejects.toThrow(/maxLength/);
    await expect(read({ "config.json": config, "crossrank.json": { family: "bi-encoder" } })).rejects.toThrow(
      /do not go together/,
    );
  });
});

describe("docs/guides/model-families.md", () => {
  const guide = readFileSync(new URL("../../../docs/guides/model-families.md", import.meta.url), "utf8");
  const examples = [...guide.matchAll(/```json\n(.*?)```/gs)].map(([, json]) => JSON.parse(json as string));

  it("shows a crossrank.json that makes a language model a reranker", async () => {
    expect(examples).toHaveLength(1);
    const { profile } = await read({
      "tokenizer.json": { ...wordPiece, post_processor: null },
      "config.json": {
        architectures: ["Qwen3ForCausalLM"],
        model_type: "qwen3",
        max_position_embeddings: 40960,
      },
      "crossrank.json": examples[0],
    });
    expect(profile).toMatchObject({ family: "causal-lm", maxLength: 8192, activation: "sigmoid" });
    // The prompt without an instruction is the one with the default instruction.
    const wording = (pieces: typeof profile.pairTemplate): string =>
      pieces
        .map((piece) => {
          if ("literal" in piece) return piece.literal;
          if ("token" in piece) return piece.token;
          if (!("text" in piece)) return "";
          return piece.text === "instruction" ? profile.instruction : `{${piece.text}}`;
        })
        .join("");
    expect(wording(profile.instructedTemplate ?? [])).toBe(wording(profile.pairTemplate));
  });

  it("names every fixture", async () => {
    const { fixtures } = await import("./folder-files.js");
    for (const name of readdirSync(fixtures)) expect(guide).toContain(name);
  });
});
