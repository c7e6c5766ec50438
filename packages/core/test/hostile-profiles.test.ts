import { expect, it } from "vitest";
import { createPairEncoder } from "../src/encoding/pair-encoder.js";
import { CrossrankError, readProfile } from "../src/index.js";
import { createTextTokenizer } from "../src/tokenizer/tokenizer.js";
import { memoryFiles } from "./memory-files.js";
import { wordPiece } from "./tokenizers.js";

const config = {
  architectures: ["BertForSequenceClassification"],
  model_type: "bert",
  max_position_embeddings: 512,
  pad_token_id: 0,
  num_labels: 1,
  vocab_size: 15,
};
const pairOf = (special: object): object => ({ ...wordPiece, post_processor: special });
const bert = (cls: unknown, sep: unknown = ["[SEP]", 3]): object =>
  pairOf({ type: "BertProcessing", cls, sep });
const normalized = (normalizer: unknown): object => ({ ...wordPiece, normalizer });
const split = (pre_tokenizer: unknown): object => ({ ...wordPiece, pre_tokenizer });
const nested = (levels: number, inner: unknown, wrap: (value: unknown) => unknown): unknown => {
  let value = inner;
  for (let level = 0; level < levels; level += 1) value = wrap(value);
  return value;
};

const chain = { "modules.json": [{ type: "sentence_transformers.models.Transformer", path: "" }] };
const pooled = (pooling: unknown, ...rest: object[]): Record<string, unknown> => ({
  "modules.json": [
    { type: "models.Transformer", path: "" },
    { type: "models.Pooling", path: "1_Pooling" },
    ...rest,
  ],
  "1_Pooling/config.json": pooling,
});
const dense = (entries: object): Record<string, unknown> => ({
  ...pooled({ pooling_mode_mean_tokens: true }, { type: "models.Dense", path: "2_Dense" }),
  "2_Dense/config.json": entries,
});
const answers = (entries: object): Record<string, unknown> => ({
  "modules.json": [
    { type: "models.Transformer", path: "" },
    { type: "models.LogitScore", path: "1_LogitScore" },
  ],
  "1_LogitScore/config.json": entries,
  "sentence_bert_config.json": { modality_config: { message: { format: "flat" } } },
  "chat_template.jinja": "{{ messages[-2].content }} {{ messages[-1].content }}",
});

/** Raw text, for what JSON.stringify would not write. */
const raw = (field: string, value: string): string =>
  JSON.stringify(config).replace(/\}$/, `,"${field}":${value}}`);

const numbers = [
  "-2",
  "0.5",
  "1e9",
  "1e400",
  "9007199254740993",
  "-1e30",
  '"512"',
  "true",
  "[]",
  "{}",
  '"constructor"',
];
const refused: [what: string, contents: Record<string, unknown>][] = [
  ...["max_position_embeddings", "pad_token_id", "type_vocab_size", "num_labels", "vocab_size"].flatMap(
    (field) =>
      numbers.map((value): [string, Record<string, unknown>] => [
        `config.json ${field} ${value}`,
        { "config.json": raw(field, value) },
      ]),
  ),
  ["no position", { "config.json": { ...config, max_position_embeddings: 0 } }],
  [
    "no position behind the padding",
    { "config.json": { ...config, model_type: "roberta", max_position_embeddings: 1 } },
  ],
  [
    "a padding far behind the positions",
    { "config.json": { ...config, model_type: "roberta", pad_token_id: 9_000_000 } },
  ],
  ["no vocabulary", { "config.json": { ...config, vocab_size: 0 } }],
  ["a vocabulary smaller than the tokenizer's", { "config.json": { ...config, vocab_size: 14 } }],
  ["a padding beyond the vocabulary", { "config.json": { ...config, pad_token_id: 15 } }],
  ...["-1", "0", "512.5", "1e8", '"512"', "[]"].map((value): [string, Record<string, unknown>] => [
    `model_max_length ${value}`,
    { "config.json": config, "tokenizer_config.json": `{"model_max_length":${value}}` },
  ]),
  ...["-1", "0", "128.5", "1e8", '"128"', "{}"].map((value): [string, Record<string, unknown>] => [
    `max_seq_length ${value}`,
    { "config.json": config, ...chain, "sentence_bert_config.json": `{"max_seq_length":${value}}` },
  ]),
  ...["-1", "0.5", "2e9", "1e400", "null", '"2"'].map((value): [string, Record<string, unknown>] => [
    `the id ${value} in post_processor`,
    { "config.json": config, "tokenizer.json": JSON.stringify(bert(["[CLS]", "@"])).replace('"@"', value) },
  ]),
  [
    "an id beyond the vocabulary in post_processor",
    { "config.json": config, "tokenizer.json": bert(["[CLS]", 15]) },
  ],
  [
    "a third segment",
    {
      "config.json": config,
      "tokenizer.json": pairOf({
        type: "TemplateProcessing",
        single: [{ Sequence: { id: "A", type_id: 2 } }],
        pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 2 } }],
        special_tokens: {},
      }),
    },
  ],
  ...["constructor", "__proto__", "toString", "valueOf"].flatMap(
    (name): [string, Record<string, unknown>][] => [
      [
        `the special token ${name}`,
        {
          "config.json": config,
          "tokenizer.json": pairOf({
            type: "TemplateProcessing",
            single: [{ Sequence: { id: "A", type_id: 0 } }],
            pair: [
              { SpecialToken: { id: name, type_id: 0 } },
              { Sequence: { id: "A", type_id: 0 } },
              { Sequence: { id: "B", type_id: 0 } },
            ],
            special_tokens: {},
          }),
        },
      ],
      [`the activation ${name}`, { "config.json": config, ...dense({ activation_function: name }) }],
      [`the pooling ${name}`, { "config.json": config, ...pooled({ pooling_mode: name }) }],
      [
        `the module ${name}`,
        { "config.json": config, ...pooled({ pooling_mode: "mean" }, { type: name, path: "2" }) },
      ],
      [
        `the activation_fn ${name}`,
        { "config.json": { ...config, sentence_transformers: { activation_fn: name } } },
      ],
      [`the normalizer ${name}`, { "config.json": config, "tokenizer.json": normalized({ type: name }) }],
      [`the pre-tokenizer ${name}`, { "config.json": config, "tokenizer.json": split({ type: name }) }],
      [
        `the behaviour ${name}`,
        {
          "config.json": config,
          "tokenizer.json": split({ type: "Split", pattern: { String: "a" }, behavior: name, invert: false }),
        },
      ],
      [
        `the scheme ${name}`,
        {
          "config.json": config,
          "tokenizer.json": split({ type: "Metaspace", replacement: "_", prepend_scheme: name, split: true }),
        },
      ],
      [
        `the model ${name}`,
        { "config.json": config, "tokenizer.json": { ...wordPiece, model: { type: name, vocab: {} } } },
      ],
    ],
  ),
  ...[0, -1, 0.5, "5", null, Number.POSITIVE_INFINITY, {}].map(
    (length): [string, Record<string, unknown>] => [
      `FixedLength ${String(length)}`,
      {
        "config.json": config,
        "tokenizer.json": JSON.stringify(split({ type: "FixedLength", length: "@" })).replace(
          '"@"',
          length === Number.POSITIVE_INFINITY ? "1e400" : JSON.stringify(length),
        ),
      },
    ],
  ),
  [
    "a Prepend of nothing known",
    { "config.json": config, "tokenizer.json": normalized({ type: "Prepend", prepend: 1 }) },
  ],
  ["a Prepend without a text", { "config.json": config, "tokenizer.json": normalized({ type: "Prepend" }) }],
  [
    "a Replace without a pattern",
    { "config.json": config, "tokenizer.json": normalized({ type: "Replace", content: "a" }) },
  ],
  [
    "a Replace without content",
    { "config.json": config, "tokenizer.json": normalized({ type: "Replace", pattern: { String: "a" } }) },
  ],
  [
    "a Replace with a number",
    {
      "config.json": config,
      "tokenizer.json": normalized({ type: "Replace", pattern: { String: "a" }, content: 5 }),
    },
  ],
  [
    "a pattern of a number",
    {
      "config.json": config,
      "tokenizer.json": normalized({ type: "Replace", pattern: { Regex: 5 }, content: "" }),
    },
  ],
  [
    "a pattern of both kinds",
    {
      "config.json": config,
      "tokenizer.json": normalized({ type: "Replace", pattern: { Regex: "a", String: "a" }, content: "" }),
    },
  ],
  [
    "a regular expression of a megabyte",
    {
      "config.json": config,
      "tokenizer.json": normalized({
        type: "Replace",
        pattern: { Regex: "a".repeat(1_000_000) },
        content: "",
      }),
    },
  ],
  [
    "groups in groups",
    {
      "config.json": config,
      "tokenizer.json": normalized({
        type: "Replace",
        pattern: { Regex: "(?:".repeat(3000) + ")".repeat(3000) },
        content: "",
      }),
    },
  ],
  [
    "classes in classes",
    {
      "config.json": config,
      "tokenizer.json": normalized({
        type: "Replace",
        pattern: { Regex: `${"[a".repeat(3000)}${"]".repeat(3000)}` },
        content: "",
      }),
    },
  ],
  [
    "repetitions of repetitions",
    {
      "config.json": config,
      "tokenizer.json": normalized({
        type: "Replace",
        pattern: { Regex: "(?:(?:(?:(?:ab){900}){900}){900}){900}" },
        content: "",
      }),
    },
  ],
  [
    "a text of 100,001 characters in a Replace",
    {
      "config.json": config,
      "tokenizer.json": normalized({
        type: "Replace",
        pattern: { String: "a" },
        content: "b".repeat(100_001),
      }),
    },
  ],
  [
    "replacements that make much of two letters, and spaces of spaces",
    {
      "config.json": config,
      "tokenizer.json": normalized({
        type: "Sequence",
        normalizers: [
          { type: "Lowercase" },
          { type: "Replace", pattern: { Regex: "a" }, content: "b".repeat(90_000) },
          { type: "Replace", pattern: { Regex: "(?:a|a)*+c{99999}" }, content: "" },
          { type: "Replace", pattern: { Regex: "(?:ab){99999}" }, content: " " },
        ],
      }),
    },
  ],
  [
    "a Sequence of no list",
    { "config.json": config, "tokenizer.json": normalized({ type: "Sequence", normalizers: 5 }) },
  ],
  [
    "a Sequence of nulls",
    { "config.json": config, "tokenizer.json": normalized({ type: "Sequence", normalizers: [5] }) },
  ],
  [
    "a broken character map",
    {
      "config.json": config,
      "tokenizer.json": normalized({ type: "Precompiled", precompiled_charsmap: "AAAA" }),
    },
  ],
  [
    "a character map that claims much",
    {
      "config.json": config,
      "tokenizer.json": normalized({
        type: "Precompiled",
        precompiled_charsmap: btoa("\xff\xff\xff\x7f\0\0\0\0"),
      }),
    },
  ],
  [
    "a character map of no base64",
    {
      "config.json": config,
      "tokenizer.json": normalized({ type: "Precompiled", precompiled_charsmap: "§" }),
    },
  ],
  [
    "a replacement of two characters",
    {
      "config.json": config,
      "tokenizer.json": split({
        type: "Metaspace",
        replacement: "__",
        prepend_scheme: "always",
        split: true,
      }),
    },
  ],
  [
    "a delimiter of two characters",
    { "config.json": config, "tokenizer.json": split({ type: "CharDelimiterSplit", delimiter: "ab" }) },
  ],
  [
    "normalizers in normalizers",
    {
      "config.json": config,
      "tokenizer.json": normalized(
        nested(1000, { type: "NFC" }, (inner) => ({ type: "Sequence", normalizers: [inner] })),
      ),
    },
  ],
  [
    "pre-tokenizers in pre-tokenizers",
    {
      "config.json": config,
      "tokenizer.json": split(nested(1000, null, (inner) => ({ type: "Sequence", pretokenizers: [inner] }))),
    },
  ],
  [
    "processors in processors",
    {
      "config.json": config,
      "tokenizer.json": pairOf(
        nested(1000, bert(["a", 1]), (inner) => ({ type: "Sequence", processors: [inner] })) as object,
      ),
    },
  ],
  ["lists in lists", { "config.json": `${"[".repeat(100_000)}${"]".repeat(100_000)}` }],
  ["objects in objects", { "config.json": raw("x", `${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`) }],
  ["a config of 17 MB", { "config.json": raw("x", `"${"a".repeat(17 * 2 ** 20)}"`) }],
  ["no JSON", { "config.json": "{" }],
  ["an empty file", { "config.json": "" }],
  ["a list", { "config.json": "[]" }],
  ["null", { "config.json": "null" }],
  [
    "a hundred modules",
    {
      "config.json": config,
      "modules.json": Array.from({ length: 101 }, () => ({ type: "models.Normalize", path: "" })),
    },
  ],
  ...[
    { true_token_id: -1 },
    { true_token_id: 1e12 },
    { true_token_id: 0.5 },
    { true_token_id: 1, false_token_id: -5 },
    { true_token_id: 15 },
    { true_token_id: 1, false_token_id: 99 },
  ].map((ids): [string, Record<string, unknown>] => [
    `answers ${JSON.stringify(ids)}`,
    { "config.json": config, ...answers(ids) },
  ]),
  ...[
    { maxLength: 0 },
    { maxLength: 1e12 },
    { maxLength: 1.5 },
    { paddingId: -1 },
    { paddingId: 2 ** 40 },
    { paddingId: 15 },
    { head: { kind: "answer-tokens", positive: 2 ** 31 } },
    { head: { kind: "answer-tokens", positive: 1, temperature: 1e-320 } },
    { head: { kind: "answer-tokens", positive: 1, temperature: 0 } },
    { head: { kind: "constructor" } },
    { family: "constructor" },
    { family: "__proto__" },
    { truncation: "toString" },
    { activation: "constructor" },
    { pairTemplate: [{ text: "query", segment: 2 }] },
    { pairTemplate: [{ token: "x", id: -1, segment: 0 }] },
    {
      pairTemplate: [
        { token: "x", id: 15, segment: 0 },
        { text: "query", segment: 0 },
        { text: "document", segment: 0 },
      ],
    },
    { pairTemplate: [{ literal: "a".repeat(100_001), segment: 0 }] },
    { pairTemplate: Array.from({ length: 1001 }, () => ({ split: true })) },
    { queryPrefix: "a".repeat(100_001) },
    { head: { kind: "cosine", pooling: "constructor" } },
    {
      head: {
        kind: "cosine",
        pooling: "mean",
        modules: [{ kind: "layer-norm", file: "f", weight: "w", epsilon: -1 }],
      },
    },
    {
      head: {
        kind: "cosine",
        pooling: "mean",
        modules: [{ kind: "dense", file: "f", weight: "w", activation: "constructor" }],
      },
    },
    {
      head: {
        kind: "cosine",
        pooling: "mean",
        modules: Array.from({ length: 101 }, () => ({ kind: "normalize" })),
      },
    },
    { expectations: { tolerance: 0, pairs: [{ query: "a", document: "b", logit: 1 }] } },
    { expectations: { tolerance: 1e300, pairs: [{ query: "a", document: "b", logit: 1 }] } },
    { expectations: { tolerance: 1, pairs: [] } },
  ].map((own): [string, Record<string, unknown>] => [
    `crossrank.json ${JSON.stringify(own).slice(0, 70)}`,
    { "config.json": config, "crossrank.json": own },
  ]),
];

/** As far as a model comes before its runtime: the profile, its tokenizer and the encoder. */
async function load(contents: Record<string, unknown>): Promise<void> {
  const { profile, tokenizerJson } = await readProfile(
    memoryFiles({ "tokenizer.json": wordPiece, ...contents }),
  );
  createPairEncoder(createTextTokenizer(tokenizerJson, "test"), profile);
}

it("tries many values, and takes the model that they are made of", async () => {
  expect(refused.length).toBeGreaterThan(150);
  await load({ "config.json": config });
});

it.each(refused)("refuses %s with an error that names the file, and soon", async (_, contents) => {
  const start = performance.now();
  const error: unknown = await load(contents).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(CrossrankError.isInstance(error), String(error)).toBe(true);
  expect(performance.now() - start).toBeLessThan(10_000);
});
