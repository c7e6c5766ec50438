import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { ModelProfileError } from "../src/index.js";
import { createTextTokenizer } from "../src/tokenizer/tokenizer.js";
import { normalForm } from "../src/tokenizer/unicode.js";
import { wordPiece } from "./tokenizers.js";

interface TokenizerJson {
  readonly added_tokens: readonly { readonly id: number }[];
}

const fixture = (name: string): TokenizerJson =>
  JSON.parse(
    readFileSync(new URL(`../../conformance/fixtures/${name}/tokenizer.json`, import.meta.url), "utf8"),
  ) as TokenizerJson;
const kinds = ["bert-logit", "bert-two-class", "xlm-roberta-logit", "deberta-v2-logit"];

/** The same random numbers everywhere. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Runs of what compaction looks at, and of what stands next to it. */
const units = [
  "\n",
  " ",
  "\t",
  "\r\n",
  " \n",
  "\u00a0",
  "\u200b",
  "\u0001",
  "\u0000",
  "\u0301",
  "\u0301\u0316",
  "\u0323\u0307",
  "a",
  "Z9",
  "é",
  "e\u0301",
  "ﬁ",
  "👩\u200d💻",
  "👍🏽",
  "\u200d",
  "\ufe0f",
  "日",
  "ひ",
  "한",
  "ไทย",
  "д",
  ".",
  "a.",
  "!",
  "\u037e",
  "\u1fef",
  "\u0600",
  "²",
  "Ⅳ",
  "🜀",
  "\u{20000}",
  "\ufdfa",
  "▁",
  "<",
  "ß",
  "\u0345",
  "क्",
  "\u212a",
];

function hardText(seed: number): string {
  const next = random(seed);
  const pick = (): string => units[Math.floor(next() * units.length)] as string;
  let text = "";
  while (text.length < 90_000) {
    const length = next() < 0.5 ? 1 : Math.floor(next() ** 4 * 30_000);
    text += pick().repeat(Math.max(1, length));
    if (next() < 0.3) text += "word ";
  }
  return text;
}

describe.each(kinds)("a long text of which little remains, for %s", (kind) => {
  const json = fixture(kind);
  const short = createTextTokenizer(json, kind);
  const id = Math.max(...json.added_tokens.map((token) => token.id), -1);
  // With a token of its own a tokenizer reads every text as it is.
  const model = (json as unknown as { model: { vocab: object } }).model;
  const size = Math.max(Object.keys(model.vocab).length, id + 1);
  const token = { id: size, content: "\u{10fffc}", special: false };
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const plain = createTextTokenizer(
    { ...json, added_tokens: [...json.added_tokens, { ...token, ...flags }] },
    kind,
  );

  it("has the ids that it has when it is read to its end", () => {
    for (const seed of sampleOf([1, 2, 3, 4, 5, 6], { name: kind, every: 6 })) {
      const text = hardText(seed);
      expect(short.encode(text, 4000).ids, `seed ${seed}`).toEqual(plain.encode(text, 4000).ids);
      const few = `${units[seed]?.repeat(80_000)}word ${units[seed + 12]?.repeat(70_000)}.`;
      expect(short.encode(few, 64).ids, `unit ${seed}`).toEqual(plain.encode(few, 64).ids);
    }
  });
});

describe("a megabyte", () => {
  const tokenizers = [...kinds, "roberta-logit", "modernbert-cls", "qwen3-yes-no", "gemma-yes"].map(
    (kind) => [kind, createTextTokenizer(fixture(kind), kind)] as const,
  );
  it.each([
    ["line ends", "\n"],
    ["spaces", " "],
    ["tabs and line ends", "\t\n"],
    ["zero-width spaces", "\u200b"],
    ["control characters", "\u0001"],
    ["one letter", "a"],
    ["Han and kana", "日本語のテキスト。"],
    ["Thai", "ภาษาไทย"],
    ["emoji with joiners", "👨\u200d👩\u200d👧\u200d👦"],
    ["marks in order", "\u0301"],
    ["marks out of order", "\u0301\u0316"],
    ["marks of many classes", "\u0345\u0360\u035c\u0315\u031b\u0327\u0300\u0323"],
    ["punctuation", "!?.,"],
  ])(
    "of %s end",
    (_, unit) => {
      const text = unit.repeat(Math.ceil(1_000_000 / unit.length));
      for (const [kind, tokenizer] of sampleOf(tokenizers, { name: unit, every: 4 })) {
        const start = performance.now();
        expect(tokenizer.encode(text, 512).ids.length).toBeLessThanOrEqual(512);
        // A normal form of marks out of order took hours.
        expect(performance.now() - start, kind).toBeLessThan(60_000);
      }
    },
    300_000,
  );
});

it("puts marks into canonical order as the engine does, however many there are", () => {
  const marks = [
    ..."\u0301\u0316\u0345\u0327\u0323\u031b\u0338\u20d2\u3099\u0f71\u0f72\u0f74\u0f73\u0344\u0340\u05b0\u064b\u0903\u20dd\u034f\u0e38\u0c55\u302a\u302e",
  ];
  const next = random(5);
  for (let round = 0; round < 60; round += 1) {
    const run = Array.from(
      { length: 90 + Math.floor(next() * 900) },
      () => marks[Math.floor(next() * marks.length)],
    ).join("");
    const text = `x${run}e\u0301${run.slice(0, 150)}か\u3099`;
    for (const form of ["NFC", "NFD", "NFKC", "NFKD"] as const)
      expect(normalForm(text, form)).toBe(text.normalize(form));
  }
});

/** Each needs more steps than the text is worth. */
const catastrophic = [
  "(?:a|a)*b",
  "(?:a|aa)+c",
  "(?:a*)*?c",
  "(?:(?:a|b)*)*c",
  "(?:a+a+)+c",
  "(?:a|a|a|a)*$c",
  "(?:.*)*x",
  "(.*)(.*)(.*)(.*)x",
  "(?:\\w+\\s?)+!",
  "(?:a?){500}a{500}c",
  "\\s+$",
  "(?<=a*)c",
  "(?:a*a*a*a*)c",
  "a*a*a*a*a*c",
  "(?=(?:a|a)*c)",
  "(?!(?:a|aa)*b)c?z",
  "(?:\\p{L}|\\p{Ll})*1",
  "(a+)\\1*c",
  "(?>(?:a|a)*c)",
  "(?:a(?=a*c)|a)*c",
];

it.each(catastrophic)("a pattern that would take years ends with an error, or soon: %s", (source) => {
  const start = performance.now();
  let tokenizer: ReturnType<typeof createTextTokenizer>;
  try {
    const normalizer = { type: "Replace", pattern: { Regex: source }, content: "" };
    tokenizer = createTextTokenizer({ ...wordPiece, normalizer }, "test");
    for (const text of [
      `${"a".repeat(5000)}!`,
      `${" ".repeat(5000)}a`,
      "a".repeat(200_000),
      `${" ".repeat(200_000)}a`,
    ])
      tokenizer.encode(text, 64);
  } catch (error) {
    expect(error).toBeInstanceOf(ModelProfileError);
  }
  expect(performance.now() - start).toBeLessThan(60_000);
});

it.each([40, 200])("a text that %i replacements double ends with an error", (count) => {
  const double = { type: "Replace", pattern: { String: "a" }, content: "aa" };
  const normalizer = { type: "Sequence", normalizers: Array.from({ length: count }, () => double) };
  const tokenizer = createTextTokenizer({ ...wordPiece, normalizer }, "test");
  expect(() => tokenizer.encode("a cat", 64)).toThrow(ModelProfileError);
  expect(tokenizer.encode("the", 64).ids).toHaveLength(1);
});
