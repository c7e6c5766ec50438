import { describe, expect, it } from "vitest";
import { InvalidInputError } from "../src/contract/errors.js";
import type { ListTemplate, TemplatePiece } from "../src/contract/model-profile.js";
import { createListEncoder } from "../src/encoding/list-encoder.js";
import { createPairEncoder, type PairEncoder } from "../src/encoding/pair-encoder.js";
import { ModelProfileError, readProfile } from "../src/index.js";
import { type ChatTemplateSettings, readChatTemplate } from "../src/profile/chat-template.js";
import { piecesOfPrompt, standInFor } from "../src/profile/prompt-template.js";
import { createTextTokenizer } from "../src/tokenizer/tokenizer.js";
import { memoryFiles } from "./memory-files.js";
import { wordPiece } from "./tokenizers.js";

// wordPiece: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, the 4, cat 5, sat 6, on 7, mat 8, [ 9, ] 10, a 14.
const tokenizer = createTextTokenizer(wordPiece, "word-piece");
const added = (wordPiece as { added_tokens: { id: number; content: string; special: boolean }[] })
  .added_tokens;
const settings: ChatTemplateSettings = { format: "flat", arguments: { add_generation_prompt: true } };

const cls: TemplatePiece = { token: "[CLS]", id: 2, segment: 0 };
const sep: TemplatePiece = { token: "[SEP]", id: 3, segment: 0 };
const text = (slot: "query" | "document" | "instruction"): TemplatePiece => ({ text: slot, segment: 0 });
const literal = (wording: string): TemplatePiece => ({ literal: wording, segment: 0 });

function encoder(
  pairTemplate: TemplatePiece[],
  maxLength: number,
  truncation: "document-only" | "longest-first" = "document-only",
): PairEncoder {
  return createPairEncoder(tokenizer, { pairTemplate, singleTemplate: [], maxLength, truncation });
}

const encode = (pairs: PairEncoder, query: string, document: string) =>
  pairs.encodePair(pairs.encodeQuery(query), document);

describe("a prompt", () => {
  // "the cat" + query, "on" + document, "mat" behind it, all in one string.
  const oneString = [
    cls,
    literal("the "),
    text("query"),
    literal(" on "),
    text("document"),
    literal(" mat"),
    sep,
  ];

  it("is tokenised as one string where wording and texts touch, and apart at a split", () => {
    const touching = [cls, literal("c"), text("document"), text("query"), sep];
    expect([...encode(encoder(touching, 9), "sat", "at ").ids]).toEqual([2, 5, 6, 3]);
    const split = [cls, literal("c"), { split: true } as const, text("document"), text("query"), sep];
    expect([...encode(encoder(split, 9), "sat", "at ").ids]).not.toEqual([2, 5, 6, 3]);
  });

  it("keeps its wording, its query and its end when the document is cut", () => {
    const cut = encode(encoder(oneString, 9), "cat", "sat on the mat");
    expect([...cut.ids]).toEqual([2, 4, 5, 7, 6, 7, 4, 8, 3]);
    expect(cut).toMatchObject({ truncatedTokens: 1, queryOverflow: false });
    const whole = encode(encoder(oneString, 10), "cat", "sat on the mat");
    expect([...whole.ids]).toEqual([2, 4, 5, 7, 6, 7, 4, 8, 8, 3]);
    expect(whole.truncatedTokens).toBe(0);
  });

  it("has an overflow when wording and query leave nothing for the document", () => {
    expect(encode(encoder(oneString, 7), "cat", "sat").queryOverflow).toBe(false);
    expect(encode(encoder(oneString, 7), "cat cat", "sat").queryOverflow).toBe(true);
    expect(encode(encoder(oneString, 7), "cat cat", "").queryOverflow).toBe(true);
  });

  it("cuts the document and then the query in longest-first, and never its end", () => {
    const pairs = encoder(oneString, 7, "longest-first");
    expect([...encode(pairs, "cat", "sat on the mat").ids]).toEqual([2, 4, 5, 7, 6, 8, 3]);
    const long = encode(pairs, "cat cat cat cat cat", "sat");
    expect([...long.ids]).toEqual([2, 4, 5, 5, 5, 8, 3]);
    expect(long).toMatchObject({ queryOverflow: false, truncatedTokens: 1, truncatedQueryTokens: 3 });
  });

  it("keeps a query that stands behind the document", () => {
    const behind = [cls, literal("the "), text("document"), literal(" on "), text("query"), sep];
    const cut = encode(encoder(behind, 7), "cat mat", "sat sat sat");
    expect([...cut.ids]).toEqual([2, 4, 6, 7, 5, 8, 3]);
    expect(cut.truncatedTokens).toBe(2);
    expect(encode(encoder(behind, 7), "cat mat sat", "sat").queryOverflow).toBe(true);
  });

  it("keeps its end behind a document of megabytes, too, and says that its count is a minimum", () => {
    for (const truncation of ["document-only", "longest-first"] as const) {
      const cut = encode(encoder(oneString, 9, truncation), "cat", "sat on the mat ".repeat(100_000));
      expect([...cut.ids]).toEqual([2, 4, 5, 7, 6, 7, 4, 8, 3]);
      expect(cut.truncatedTokensIsMinimum).toBe(true);
      expect(cut.truncatedTokens).toBeGreaterThan(0);
    }
  });

  it("spelling a special token in a text stays text", () => {
    const { ids } = encode(encoder(oneString, 32), "cat", "[SEP] sat [CLS]");
    expect([...ids].filter((id) => id === 2 || id === 3)).toEqual([2, 3]);
  });

  it("refuses a maximum length that its own wording fills", () => {
    const wordy = [cls, literal("the cat sat on"), sep, text("query"), sep, text("document"), sep];
    expect(encoder(wordy, 10).leastLength).toBe(10);
    expect(() => encoder(wordy, 9)).toThrow(InvalidInputError);
  });

  it("strips texts as Python does, where the template does", () => {
    const trimmed = [cls, { text: "query", segment: 0, trim: true } as const, sep, text("document"), sep];
    const kept = encode(encoder(trimmed, 16), "\u0085\u2003cat \u001f", "sat");
    expect([...kept.ids]).toEqual([2, 5, 3, 6, 3]);
  });
});

describe("an instruction", () => {
  const rules = {
    pairTemplate: [cls, text("query"), sep, text("document"), sep],
    instructedTemplate: [
      cls,
      literal("a "),
      text("instruction"),
      sep,
      text("query"),
      sep,
      text("document"),
      sep,
    ],
    singleTemplate: [],
    maxLength: 12,
    truncation: "document-only",
  } as const;

  it("has a template of its own, and counts against the document's room", () => {
    const pairs = createPairEncoder(tokenizer, rules);
    const plain = pairs.encodePair(pairs.encodeQuery("cat"), "sat");
    expect([...plain.ids]).toEqual([2, 5, 3, 6, 3]);
    const instructed = pairs.encodePair(pairs.encodeQuery("cat", "the mat"), "sat sat sat sat sat sat");
    expect([...instructed.ids]).toEqual([2, 14, 4, 8, 3, 5, 3, 6, 6, 6, 6, 3]);
    expect(instructed.truncatedTokens).toBe(2);
  });

  it("is refused where there is no place for it", () => {
    const { instructedTemplate: _, ...without } = rules;
    expect(() => createPairEncoder(tokenizer, without).encodeQuery("cat", "the mat")).toThrow(/instruction/);
  });
});

describe("a chat template", () => {
  const pick = (role: string): string =>
    `(messages | selectattr("role", "equalto", "${role}") | first).content`;
  const template = `[CLS]judge: {{ ${pick("query")} }}\n{{ ${pick("document")} }}[SEP]{% if add_generation_prompt %}answer{% endif %}`;

  it("becomes pieces, special tokens by their ids", async () => {
    const { pair, instructed } = await readChatTemplate(template, settings, added);
    expect(pair).toEqual([
      cls,
      literal("judge: "),
      text("query"),
      literal("\n"),
      text("document"),
      sep,
      literal("answer"),
    ]);
    expect(instructed).toBeUndefined();
  });

  it("has a second form where it takes a system message", async () => {
    const system = `{% if messages[0].role == "system" %}{{ messages[0].content }}; {% endif %}${template}`;
    const { pair, instructed } = await readChatTemplate(system, settings, added);
    expect(pair[0]).toEqual(cls);
    expect(instructed?.slice(0, 2)).toEqual([text("instruction"), literal("; ")]);
  });

  it("may trim its texts, which is noted, but not change them", async () => {
    const trimming = template.replaceAll(".content", ".content | trim");
    const { pair } = await readChatTemplate(trimming, settings, added);
    expect(pair.filter((piece) => "text" in piece).every((piece) => piece.trim)).toBe(true);
    const upper = template.replace(".content", ".content | upper");
    await expect(readChatTemplate(upper, settings, added)).rejects.toThrow(/0 places for the query/);
    const half = template.replace(".content", ".content | trim");
    await expect(readChatTemplate(half, settings, added)).rejects.toThrow(/changes the texts/);
  });

  it("reads structured messages", async () => {
    const structured = template.replaceAll(".content", ".content[0].text");
    expect((await readChatTemplate(structured, { ...settings, format: "structured" }, added)).pair).toEqual(
      (await readChatTemplate(template, settings, added)).pair,
    );
  });

  it.each([
    ["fails", "{{ raise_exception('no system message') }}", /no system message/],
    ["is broken", "{% if %}", /.+/],
    ["leaves the document out", `{{ ${pick("query")} }}`, /0 places for the document/],
    ["has the document twice", `${template}{{ ${pick("document")} }}`, /2 places for the document/],
  ])("that %s is refused", async (_, broken, message) => {
    await expect(readChatTemplate(broken, settings, added)).rejects.toThrow(message);
  });

  const files = {
    "tokenizer.json": { ...wordPiece, post_processor: null },
    "config.json": { architectures: ["Qwen3ForCausalLM"], model_type: "qwen3", max_position_embeddings: 64 },
    "modules.json": [
      { path: "", type: "sentence_transformers.base.modules.transformer.Transformer" },
      { path: "1_LogitScore", type: "sentence_transformers.cross_encoder.modules.logit_score.LogitScore" },
    ],
    "1_LogitScore/config.json": { true_token_id: 5, false_token_id: null },
    "sentence_bert_config.json": {
      modality_config: { text: {}, message: { format: "flat" } },
      processing_kwargs: { chat_template: { add_generation_prompt: true } },
    },
    "chat_template.jinja": template,
  };

  it("and a LogitScore are a causal reranker", async () => {
    const { profile, sources } = await readProfile(memoryFiles(files));
    expect(profile).toMatchObject({
      family: "causal-lm",
      head: { kind: "answer-tokens", positive: 5 },
      activation: "sigmoid",
      readsSegments: false,
    });
    expect(sources.pairTemplate).toBe("chat_template.jinja");
    const { "chat_template.jinja": _, ...rest } = files;
    const inConfig = { ...rest, "tokenizer_config.json": { chat_template: [{ name: "default", template }] } };
    const second = await readProfile(memoryFiles(inConfig));
    expect(second.profile.pairTemplate).toEqual(profile.pairTemplate);
    expect(second.sources.pairTemplate).toBe("tokenizer_config.json chat_template");
    await expect(readProfile(memoryFiles(rest))).rejects.toThrow(/chat_template\.jinja/);
  });

  it("without sentence-transformers' files is a language model, and refused with what is missing", async () => {
    const { "modules.json": _, ...rest } = files;
    const attempt = readProfile(memoryFiles(rest));
    await expect(attempt).rejects.toThrow(ModelProfileError);
    await expect(attempt).rejects.toThrow(/Qwen3ForCausalLM.*LogitScore.*crossrank\.json/s);
  });

  it("and an instruction by default: refused where the template leaves it out", async () => {
    const prompts = { prompts: { web: "the mat" }, default_prompt_name: "web" };
    const without = memoryFiles({ ...files, "config_sentence_transformers.json": prompts });
    await expect(readProfile(without)).rejects.toThrow(/no place for one/);
    const system = `{% if messages[0].role == "system" %}{{ messages[0].content }}{% endif %}${template}`;
    const { profile } = await readProfile(
      memoryFiles({
        ...files,
        "chat_template.jinja": system,
        "config_sentence_transformers.json": prompts,
      }),
    );
    expect(profile.instruction).toBe("the mat");
  });
});

it("the longest spelling of a special token wins, and characters of patterns are characters", () => {
  const tokens = [
    { id: 1, content: "<|a|>", special: true },
    { id: 2, content: "<|a|>b", special: true },
    { id: 3, content: "[x", special: false },
  ];
  expect(piecesOfPrompt(`<|a|>b${standInFor("query")}[x<|a|>`, tokens, false)).toEqual([
    { token: "<|a|>b", id: 2, segment: 0 },
    text("query"),
    literal("[x"),
    { token: "<|a|>", id: 1, segment: 0 },
  ]);
});

describe("a list", () => {
  const template: ListTemplate = {
    before: [cls, literal("the "), text("query"), literal(" a ")],
    item: [literal("on "), text("document"), sep],
    separator: [literal("[")],
    after: [literal("mat"), cls],
    maxDocuments: 3,
    maxDocumentTokens: 4,
    maxQueryTokens: 3,
  };
  const lists = createListEncoder(tokenizer, template, 64);
  const pack = (documents: string[], encoder = lists) =>
    [
      ...encoder.encodeList(
        "cat",
        documents.map((one) => encoder.cutDocument(one)),
      ),
    ].map((list) => ({
      ids: [...list.sequence.ids],
      documents: list.documents,
    }));

  it("holds its documents between what stands before, between and after them", () => {
    expect(pack(["sat", "cat"])).toEqual([
      { ids: [2, 4, 5, 14, 7, 6, 3, 9, 7, 5, 3, 8, 2], documents: [0, 1] },
    ]);
  });

  it("goes on in another sequence when one has the most documents, or no length left", () => {
    expect(pack(["sat", "cat", "mat", "on"]).map(({ documents }) => documents)).toEqual([[0, 1, 2], [3]]);
    const short = createListEncoder(tokenizer, template, 13);
    expect(pack(["sat", "cat", "mat", "on"], short).map(({ documents }) => documents)).toEqual([
      [0, 1],
      [2, 3],
    ]);
    for (const { ids } of pack(["sat sat sat", "cat", "mat mat", "on"], short))
      expect(ids.length).toBeLessThanOrEqual(13);
  });

  it("cuts a document by its own tokens, and says how much", () => {
    const document = lists.cutDocument("the cat sat on the mat");
    expect(document).toMatchObject({ tokens: 4, truncatedTokens: 2 });
    expect([...tokenizer.encode(document.text, 9).ids]).toEqual([4, 5, 6, 7]);
  });

  it("measures its query, and refuses one that is too long", () => {
    expect(lists.measureQuery("the cat sat")).toBe(3);
    expect(lists.measureQuery("the cat sat on")).toBeUndefined();
  });

  it("says so when not even one document fits", () => {
    const tiny = createListEncoder(tokenizer, template, 8);
    expect(() => pack(["sat sat sat sat"], tiny)).toThrow(InvalidInputError);
  });

  it("takes numbers into its wording and never into a text", () => {
    const numbered = createListEncoder(
      createTextTokenizer(
        {
          ...wordPiece,
          model: {
            ...(wordPiece as { model: object }).model,
            vocab: { "[UNK]": 0, "2": 1, "0": 2, "1": 3, "{": 4, index: 5, "}": 6, "[CLS]": 7, "[SEP]": 8 },
          },
          added_tokens: [],
        },
        "numbers",
      ),
      {
        ...template,
        before: [literal("{count} ")],
        item: [literal("{index} "), text("document"), literal(" ")],
        separator: [],
        after: [],
      },
      64,
    );
    const [list] = numbered.encodeList("x", [
      numbered.cutDocument("{index}"),
      numbered.cutDocument("{index}"),
    ]);
    expect([...(list?.sequence.ids ?? [])]).toEqual([1, 2, 4, 5, 6, 3, 4, 5, 6]);
  });
});
