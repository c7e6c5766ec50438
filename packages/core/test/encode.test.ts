import { describe, expect, it } from "vitest";
import { readTemplates } from "../src/encoding/template.js";
import { truncate } from "../src/encoding/truncation.js";
import { createPairEncoder, createTextTokenizer } from "../src/entries/encoding.js";
import { ModelProfileError, type TruncationStrategy } from "../src/index.js";
import { bertTemplate, bytePair, unigram, wordPiece } from "./tokenizers.js";

const tokenizer = createTextTokenizer(wordPiece, "test");
const templates = readTemplates(bertTemplate);
const encoder = (maxLength: number, truncation: TruncationStrategy = "document-only") =>
  createPairEncoder(tokenizer, {
    pairTemplate: templates?.pair ?? [],
    singleTemplate: templates?.single ?? [],
    maxLength,
    truncation,
  });

describe("text tokenizer", () => {
  it("gives the vocabulary's ids", () => {
    expect(tokenizer.encode("The cats sat", 10).ids).toEqual([4, 5, 13, 6]);
  });

  it.each([
    ["WordPiece", wordPiece, "[SEP] cat [CLS]", [9, 11, 10, 5, 9, 12, 10]],
    ["Unigram, whose vocabulary holds the special tokens", unigram, "</s> cat", [4, 6, 7, 8, 9, 5]],
    ["BPE with ignore_merges", bytePair, "<|end|>", [2, 3, 9, 3, 7]],
  ])("reads special tokens in a text as text: %s", (_, json, text, ids) => {
    expect(createTextTokenizer(json, "test").encode(text, 20).ids).toEqual(ids);
  });

  it("still matches added tokens that are not special", () => {
    expect(createTextTokenizer(bytePair, "test").encode("<note>", 5).ids).toEqual([1]);
  });

  it("still gives the unknown token for the unknown", () => {
    expect(tokenizer.encode("cat zebra", 5).ids).toEqual([5, 1]);
    expect(createTextTokenizer(unigram, "test").encode("é", 5).ids).toEqual([4, 3]);
  });

  it("counts exactly what is cut of a document of ordinary length", () => {
    const text = "the cat sat on the mat ".repeat(20);
    expect(tokenizer.encode(text, 50)).toMatchObject({
      truncatedTokens: 70,
      truncatedTokensIsMinimum: false,
    });
  });

  it("keeps of a huge document what it keeps of a long one, and says that the count is a minimum", () => {
    const long = "the cat sat on the mat ".repeat(400);
    const huge = tokenizer.encode("the cat sat on the mat ".repeat(450_000), 128);
    expect(huge.ids).toEqual(tokenizer.encode(long, 128).ids);
    expect(huge.ids).toHaveLength(128);
    expect(huge.truncatedTokensIsMinimum).toBe(true);
    expect(huge.truncatedTokens).toBeGreaterThan(0);
  });

  it("keeps no token that the cut itself made", () => {
    // About one token for every 16 characters, so that the cut falls right behind the tokens that are kept.
    const word = "abcdefghijklmnopqrstuvwxyzabcdef";
    const long = createTextTokenizer(
      {
        ...wordPiece,
        added_tokens: [],
        model: { ...(wordPiece as { model: object }).model, vocab: { "[UNK]": 1, ".": 5, [word]: 6 } },
      },
      "test",
    );
    for (let offset = 0; offset < 40; offset += 1) {
      const text = `${".".repeat(offset)}${`${word}.`.repeat(4000)}`;
      const kept = long.encode(text, 256);
      expect(kept.ids).toEqual(long.encode(text.slice(0, 16_000), 4096).ids.slice(0, 256));
    }
  });

  it("reads no more of a huge document than it keeps", () => {
    let read = 0;
    const text = new Proxy(new String("cat ".repeat(2_500_000)), {
      get(target, key) {
        const value = Reflect.get(target, key, target) as unknown;
        if (key !== "slice") return typeof value === "function" ? value.bind(target) : value;
        return (from: number, to: number) => {
          read += to - from;
          return target.slice(from, to);
        };
      },
    }) as unknown as string;
    expect(tokenizer.encode(text, 128).ids).toHaveLength(128);
    expect(read).toBeLessThan(10_000);
  });

  it.each([
    ["one word without end", "x".repeat(2_000_000), 1],
    ["white space without end", " \n".repeat(1_000_000), 0],
    ["ideographs without a space", "猫".repeat(500_000), 64],
  ])("ends on %s", (_, text, count) => {
    expect(tokenizer.encode(text, 64).ids).toHaveLength(count);
  });

  it("never cuts a surrogate pair in two", () => {
    const text = `x${"😀".repeat(100_000)}`;
    expect(tokenizer.encode(text, 16).illFormed).toBe(false);
  });

  it("reads lone surrogates as U+FFFD and says so", () => {
    const broken = tokenizer.encode("cat \ud800 sat", 10);
    expect(broken).toEqual({ ...tokenizer.encode("cat \ufffd sat", 10), illFormed: true });
  });

  it("gives no special token to a text that tries with a lone surrogate", () => {
    const ids = createTextTokenizer(unigram, "test").encode("\ud800</s>", 20).ids;
    expect(ids).toEqual(createTextTokenizer(unigram, "test").encode("\ufffd</s>", 20).ids);
    expect(ids).not.toContain(2);
  });

  it("refuses a tokenizer.json that it does not understand, and names the file", () => {
    const broken = { ...wordPiece, normalizer: { type: "Telepathy" } };
    expect(() => createTextTokenizer(broken, "some/model")).toThrow(ModelProfileError);
    expect(() => createTextTokenizer(broken, "some/model")).toThrow(/some\/model: tokenizer.json.*Telepathy/);
  });
});

describe("templates", () => {
  it("reads BERT's from BertProcessing as from TemplateProcessing", () => {
    expect(readTemplates({ type: "BertProcessing", cls: ["[CLS]", 2], sep: ["[SEP]", 3] })).toEqual(
      templates,
    );
  });

  it("reads RoBERTa's doubled separator, inside a Sequence too", () => {
    const processor = { type: "RobertaProcessing", sep: ["</s>", 2], cls: ["<s>", 0] };
    const pair = readTemplates({ type: "Sequence", processors: [{ type: "ByteLevel" }, processor] })?.pair;
    expect(pair?.map((piece) => ("id" in piece ? piece.id : "text" in piece && piece.text))).toEqual([
      0,
      "query",
      2,
      2,
      "document",
      2,
    ]);
    expect(pair?.every((piece) => "segment" in piece && piece.segment === 0)).toBe(true);
  });

  it("finds none where the tokenizer adds none", () => {
    expect(readTemplates({ type: "ByteLevel" })).toBeUndefined();
    expect(readTemplates(null)).toBeUndefined();
  });
});

describe("truncation", () => {
  // Made by the Rust library, tokenizers 0.23.3, enable_truncation(strategy="longest_first").
  const longestFirst: [number, number, number, number, number][] = [
    [3, 3, 10, 3, 3],
    [5, 5, 10, 5, 5],
    [6, 5, 10, 5, 5],
    [5, 6, 10, 5, 5],
    [6, 6, 10, 5, 5],
    [6, 6, 11, 5, 6],
    [2, 20, 10, 2, 8],
    [20, 2, 10, 8, 2],
    [20, 20, 10, 5, 5],
    [20, 20, 11, 5, 6],
    [4, 20, 11, 4, 7],
    [20, 4, 11, 7, 4],
    [5, 20, 11, 5, 6],
    [20, 5, 11, 6, 5],
    [6, 20, 11, 5, 6],
    [20, 6, 11, 6, 5],
    [0, 20, 10, 0, 10],
    [20, 0, 10, 10, 0],
    [1, 20, 2, 1, 1],
    [20, 1, 3, 2, 1],
    [7, 9, 15, 7, 8],
    [9, 7, 15, 8, 7],
    [8, 8, 15, 7, 8],
  ];
  it.each(longestFirst)(
    "longest-first: query %i, document %i, budget %i → %i + %i",
    (query, document, budget, a, b) => {
      expect(truncate("longest-first", { query, document }, budget)).toEqual({
        query: a,
        document: b,
        queryOverflow: false,
      });
    },
  );

  it("document-only cuts the document to what the query leaves", () => {
    expect(truncate("document-only", { query: 4, document: 20 }, 10)).toEqual({
      query: 4,
      document: 6,
      queryOverflow: false,
    });
    expect(truncate("document-only", { query: 4, document: 2 }, 10)).toEqual({
      query: 4,
      document: 2,
      queryOverflow: false,
    });
  });

  it("document-only calls a query that leaves nothing an overflow", () => {
    expect(truncate("document-only", { query: 9, document: 20 }, 10).queryOverflow).toBe(false);
    expect(truncate("document-only", { query: 10, document: 20 }, 10).queryOverflow).toBe(true);
    expect(truncate("document-only", { query: 30, document: 20 }, 10)).toEqual({
      query: 10,
      document: 0,
      queryOverflow: true,
    });
  });
});

describe("pair encoder", () => {
  it("lays a pair into the template with its segments", () => {
    const pairs = encoder(32);
    const pair = pairs.encodePair(pairs.encodeQuery("the cat"), "sat on the mat");
    expect([...pair.ids]).toEqual([2, 4, 5, 3, 6, 7, 4, 8, 3]);
    expect([...pair.segmentIds]).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 1]);
    expect(pair.truncatedTokens).toBe(0);
  });

  it("cuts the document from the right, keeps the last separator, and counts what it cut", () => {
    const pairs = encoder(8);
    const pair = pairs.encodePair(pairs.encodeQuery("the cat"), "sat on the mat the cat sat");
    expect([...pair.ids]).toEqual([2, 4, 5, 3, 6, 7, 4, 3]);
    expect(pair.truncatedTokens).toBe(4);
  });

  it("flags a query that leaves no room", () => {
    const pairs = encoder(8);
    expect(pairs.encodePair(pairs.encodeQuery("the cat sat on"), "the mat").queryOverflow).toBe(false);
    expect(pairs.encodePair(pairs.encodeQuery("the cat sat on the"), "the mat").queryOverflow).toBe(true);
    expect(pairs.encodePair(pairs.encodeQuery("the cat ".repeat(50)), "the mat").queryOverflow).toBe(true);
  });

  it("cuts the query too in longest-first, and says how much", () => {
    const pairs = encoder(8, "longest-first");
    const pair = pairs.encodePair(pairs.encodeQuery("the cat sat on the mat"), "sat on the mat");
    expect([...pair.ids]).toEqual([2, 4, 5, 6, 3, 6, 7, 3]);
    expect(pair).toMatchObject({ truncatedQueryTokens: 3, truncatedTokens: 2, queryOverflow: false });
  });

  it("encodes an empty document as the template alone", () => {
    const pairs = encoder(8);
    expect([...pairs.encodePair(pairs.encodeQuery("cat"), "").ids]).toEqual([2, 5, 3, 3]);
  });

  it("encodes one text by itself", () => {
    const single = encoder(6).encodeSingle("the cat sat on the mat");
    expect([...single.ids]).toEqual([2, 4, 5, 6, 7, 3]);
    expect(single.truncatedTokens).toBe(2);
  });
});
