import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { createReranker, readProfile } from "../src/index.js";
import { folderFiles } from "./folder-files.js";
import { memoryFiles } from "./memory-files.js";
import { toyBackend } from "./toy-backend.js";

type Json = Record<string, unknown>;

const fixtures = new URL("../../conformance/fixtures/", import.meta.url);
const at = (path: string): Json => JSON.parse(readFileSync(new URL(path, fixtures), "utf8")) as Json;

function filesOf(
  fixture: string,
  settings: Json,
  { tokenizer = {}, more = {} }: { readonly tokenizer?: Json; readonly more?: Json } = {},
) {
  return memoryFiles({
    "config.json": at(`${fixture}/config.json`),
    "tokenizer.json": { ...at(`${fixture}/tokenizer.json`), ...tokenizer },
    "tokenizer_config.json": { ...at(`${fixture}/tokenizer_config.json`), ...settings },
    ...more,
  });
}

const disagreements = async (...given: Parameters<typeof filesOf>): Promise<readonly string[]> =>
  (await readProfile(filesOf(...given))).disagreements;

const bert = at("bert-logit/tokenizer.json");
const nested = { normalizer: { type: "Sequence", normalizers: [bert["normalizer"]] } };
const generic = { tokenizer_class: "PreTrainedTokenizerFast" };

describe("files of a tokenizer that contradict each other", () => {
  test.each<[name: string, RegExp[], ...Parameters<typeof filesOf>]>([
    [
      "a byte-level space of no class",
      [/^tokenizer_config\.json says add_prefix_space true, .*pre_tokenizer does not, which was followed$/],
      "roberta-logit",
      { ...generic, add_prefix_space: true },
    ],
    [
      "a Metaspace",
      [/add_prefix_space false, .*pre_tokenizer does it/],
      "xlm-roberta-logit",
      { add_prefix_space: false },
    ],
    [
      "a normalizer in a sequence",
      [/do_lower_case false, .*normalizer does it/],
      "bert-logit",
      { do_lower_case: false },
      { tokenizer: nested },
    ],
    [
      "a normalizer of no class",
      [/do_lower_case false/, /tokenize_chinese_chars false/],
      "bert-logit",
      { ...generic, do_lower_case: false, tokenize_chinese_chars: false },
    ],
    [
      "accents",
      [/strip_accents false, .*normalizer does it/],
      "bert-logit",
      { ...generic, strip_accents: false },
    ],
    ["another first token", [/cls_token "\[MASK\]", .*"\[CLS\]"/], "bert-logit", { cls_token: "[MASK]" }],
    [
      "both tokens, one as an object",
      [/cls_token "<mask>"/, /sep_token "<pad>"/],
      "roberta-logit",
      { cls_token: { content: "<mask>" }, sep_token: "<pad>" },
    ],
    [
      "the map of special tokens",
      [/^special_tokens_map\.json says cls_token "\[MASK\]"/],
      "bert-logit",
      {},
      { more: { "special_tokens_map.json": { cls_token: "[MASK]", sep_token: "[SEP]" } } },
    ],
  ])("are named: %s", async (_, expected, ...given) => {
    const found = await disagreements(...given);
    expect(found).toHaveLength(expected.length);
    for (const [index, pattern] of expected.entries()) expect(found[index]).toMatch(pattern);
  });

  test.each<[name: string, ...Parameters<typeof filesOf>]>([
    ["what the class sets", "bert-logit", { tokenizer_class: "BertTokenizer", do_lower_case: false }],
    ["a class's space", "roberta-logit", { tokenizer_class: "RobertaTokenizer", add_prefix_space: true }],
    ["settings without a step", "bert-logit", { add_prefix_space: true }],
    ["no boolean", "bert-logit", { ...generic, do_lower_case: "no", strip_accents: null, cls_token: 7 }],
    [
      "a template of the user's",
      "bert-logit",
      { cls_token: "[MASK]" },
      {
        more: {
          "crossrank.json": {
            pairTemplate: [
              { text: "query", segment: 0 },
              { text: "document", segment: 0 },
            ],
          },
        },
      },
    ],
    ["a map that is none", "bert-logit", {}, { more: { "special_tokens_map.json": ["[MASK]"] } }],
  ])("are not: %s", async (_, ...given) => {
    expect(await disagreements(...given)).toEqual([]);
  });

  test.each(readdirSync(fixtures))("are none as transformers writes them: %s", async (fixture) => {
    const { disagreements: found } = await readProfile(
      folderFiles(fileURLToPath(new URL(fixture, fixtures))),
    );
    expect(found).toEqual([]);
  });

  test("reach every result as one warning", async () => {
    const reranker = await createReranker({
      model: filesOf("bert-logit", { ...generic, do_lower_case: false, cls_token: "[MASK]" }),
      backend: toyBackend(),
      probe: false,
    });
    const { warnings } = await reranker.rerank({ query: "a", documents: ["b"] });
    const found = warnings.filter(({ code }) => code === "tokenizer-files-disagree");
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({
      notes: [/do_lower_case/, /cls_token/].map((note) => expect.stringMatching(note)),
    });
    expect(found[0]?.message).toMatch(/do_lower_case false.*; .*cls_token "\[MASK\]"/);
    await reranker.dispose();
  });
});
