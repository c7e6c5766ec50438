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

const pairTemplate = [
  { literal: "question:", segment: 0 },
  { text: "query", segment: 0 },
  { literal: " passage:", segment: 0 },
  { text: "document", segment: 0 },
];

/** What a user says of a model whose configuration calls it something else. */
const said = { family: "cross-encoder", head: { kind: "logit" }, activation: "identity" };

async function refusal(reading: Promise<unknown>): Promise<string> {
  const error = await reading.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ModelProfileError);
  return (error as Error).message;
}

describe("a model that is no known encoder", () => {
  test.each([
    ["LlamaForSequenceClassification", { model_type: "llama" }],
    ["GemmaForSequenceClassification", { model_type: "gemma" }],
    ["Qwen2ForSequenceClassification", { model_type: "qwen2" }],
    ["MistralForSequenceClassification", { model_type: "mistral" }],
    ["LlamaBidirectionalForSequenceClassification", { model_type: "llama_bidirec", num_key_value_heads: 8 }],
    ["MiniCPMForSequenceClassification", { model_type: "minicpm", auto_map: { AutoModel: "modeling.X" } }],
    ["SomethingNewForSequenceClassification", { model_type: "something_new", rms_norm_eps: 1e-6 }],
    ["PersimmonForSequenceClassification", { model_type: "persimmon" }],
    ["BioGptForSequenceClassification", { model_type: "biogpt" }],
    ["OpenAIGPTForSequenceClassification", { model_type: "openai-gpt" }],
    ["CTRLForSequenceClassification", { model_type: "ctrl" }],
    ["TransfoXLForSequenceClassification", { model_type: "transfo-xl" }],
    ["ModernBertDecoderForSequenceClassification", { model_type: "modernbert-decoder" }],
    ["QWenForSequenceClassification", { model_type: "qwen", auto_map: { AutoModel: "modeling_qwen.X" } }],
    ["KimiForSequenceClassification", { model_type: "kimi", auto_map: { AutoModel: "x.Y" } }],
    ["ConstructorForSequenceClassification", { model_type: "constructor" }],
  ])("is refused for want of its prompt, and taken with one: %s", async (architecture, config) => {
    const settings = { architectures: [architecture], ...config };
    expect(await refusal(read(settings))).toMatch(/Give pairTemplate/);
    expect(await refusal(read(settings, { "crossrank.json": said }))).toMatch(/Give pairTemplate/);
    const { profile } = await read(settings, { "crossrank.json": { pairTemplate } });
    expect(profile).toMatchObject({ family: "cross-encoder", pairTemplate });
  });

  test.each([
    { architectures: ["LlamaModel"], model_type: "llama" },
    { architectures: ["GPTNeoXForCausalLM"], model_type: "gpt_neox" },
    { architectures: ["KimiModel"], model_type: "kimi", auto_map: { AutoModel: "x.Y" } },
    { architectures: null, model_type: "qwen3" },
  ])("is no cross-encoder by word alone: %j", async (config) => {
    expect(await refusal(read(config))).toMatch(/pairTemplate/);
    expect(await refusal(read(config, { "crossrank.json": said }))).toMatch(/Give pairTemplate/);
    const stated = { ...said, pairTemplate };
    expect((await read(config, { "crossrank.json": stated })).profile).toMatchObject(stated);
  });

  test("is none without config.json either", async () => {
    const complete = { ...said, architecture: "qwen3", maxLength: 128 };
    const alone = (crossrank: Readonly<Record<string, unknown>>) =>
      readProfile(memoryFiles({ "tokenizer.json": at("tokenizer.json"), "crossrank.json": crossrank }));
    expect(await refusal(alone(complete))).toMatch(
      /crossrank\.json.*architecture says "qwen3".*Give pairTemplate/,
    );
    expect((await alone({ ...complete, architecture: "bert" })).profile.pairTemplate.length).toBeGreaterThan(
      2,
    );
    expect((await alone({ ...complete, pairTemplate })).profile).toMatchObject({ pairTemplate });
  });
});

describe("an encoder keeps the template of its tokenizer", () => {
  test.each([
    ["BertForSequenceClassification", { model_type: "bert" }],
    ["JinaBertForSequenceClassification", { model_type: "bert", auto_map: { AutoModel: "modeling_bert.X" } }],
    ["XLMRobertaForSequenceClassification", { model_type: "xlm-roberta-flash", auto_map: {} }],
    ["NewForSequenceClassification", { model_type: "new", auto_map: {}, rope_theta: 160000 }],
    ["NewForSequenceClassification", { model_type: "gte", auto_map: {} }],
    ["JinaBertForSequenceClassification", { model_type: "jina_bert", auto_map: {} }],
    ["ModernBertForSequenceClassification", { model_type: "modernbert" }],
    ["XLNetForSequenceClassification", { model_type: "xlnet" }],
    ["T5ForSequenceClassification", { model_type: "t5" }],
    ["DebertaV2ForSequenceClassification", { model_type: "deberta-v2" }],
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
