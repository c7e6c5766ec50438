import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ModelProfileError, readProfile } from "../src/index.js";
import { memoryFiles } from "./memory-files.js";

const folder = new URL("../../conformance/fixtures/bert-logit/", import.meta.url);
const at = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(new URL(path, folder), "utf8")) as Record<string, unknown>;

/** A tokenizer that puts special tokens around a pair, as Llama's and Gemma's do. */
const read = (config: Readonly<Record<string, unknown>>, more: Readonly<Record<string, unknown>> = {}) =>
  readProfile(
    memoryFiles({
      "config.json": { ...at("config.json"), ...config },
      "tokenizer.json": at("tokenizer.json"),
      ...more,
    }),
  );

describe("a language model with a classifier", () => {
  test.each([
    ["LlamaForSequenceClassification", { model_type: "llama" }],
    ["GemmaForSequenceClassification", { model_type: "gemma" }],
    ["Qwen2ForSequenceClassification", { model_type: "qwen2" }],
    ["MistralForSequenceClassification", { model_type: "mistral" }],
    ["LlamaBidirectionalForSequenceClassification", { model_type: "llama_bidirec", num_key_value_heads: 8 }],
    ["MiniCPMForSequenceClassification", { model_type: "minicpm", auto_map: { AutoModel: "modeling.X" } }],
    ["SomethingNewForSequenceClassification", { model_type: "something_new", rms_norm_eps: 1e-6 }],
  ])("is refused for want of its prompt, and taken with one: %s", async (architecture, config) => {
    const settings = { architectures: [architecture], ...config };
    const error = await read(settings).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ModelProfileError);
    expect((error as Error).message).toMatch(/pairTemplate/);
    const pairTemplate = [
      { literal: "question:", segment: 0 },
      { text: "query", segment: 0 },
      { literal: " passage:", segment: 0 },
      { text: "document", segment: 0 },
    ];
    const { profile } = await read(settings, { "crossrank.json": { pairTemplate } });
    expect(profile).toMatchObject({ family: "cross-encoder", pairTemplate });
  });
});

describe("an encoder keeps the template of its tokenizer", () => {
  test.each([
    ["BertForSequenceClassification", { model_type: "bert" }],
    ["JinaBertForSequenceClassification", { model_type: "bert", auto_map: { AutoModel: "modeling_bert.X" } }],
    ["XLMRobertaForSequenceClassification", { model_type: "xlm-roberta-flash", auto_map: {} }],
    ["NewForSequenceClassification", { model_type: "new", auto_map: {}, rope_theta: 160000 }],
    ["ModernBertForSequenceClassification", { model_type: "modernbert" }],
    [
      "EuroBertForSequenceClassification",
      { model_type: "eurobert", num_key_value_heads: 12, rms_norm_eps: 1e-5 },
    ],
  ])("%s", async (architecture, config) => {
    const { profile } = await read({ architectures: [architecture], ...config });
    expect(profile.family).toBe("cross-encoder");
    expect(profile.pairTemplate.length).toBeGreaterThan(2);
  });
});
