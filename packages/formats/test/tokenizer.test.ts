import { readFileSync } from "node:fs";
import { createTextTokenizer } from "@crossrank/core/encoding";
import { describe, expect, it } from "vitest";
import {
  buildTokenizer,
  readSentencePiece,
  type TokenizerFiles,
  TokenizerFormatError,
} from "../src/tokenizer/index.js";

const folder = new URL("./fixtures/slow-tokenizers/", import.meta.url);

interface Case {
  readonly name: string;
  readonly modelType: string;
  readonly files: Readonly<Record<string, string>>;
  readonly configuration?: Readonly<Record<string, unknown>>;
  readonly differing: number;
  readonly pairsDiffering: number;
  readonly ids?: readonly (readonly number[])[];
  readonly pairs?: readonly (readonly number[])[];
  readonly single?: readonly number[];
}

const { texts, cases } = JSON.parse(readFileSync(new URL("cases.json", folder), "utf8")) as {
  readonly texts: readonly string[];
  readonly cases: readonly Case[];
};

const source = (name: string): Buffer => readFileSync(new URL(`sources/${name}`, folder));

function filesOf({ files, configuration, modelType }: Case): TokenizerFiles {
  const text = (path: string): string | undefined =>
    files[path] === undefined ? undefined : source(files[path]).toString("utf8");
  const vocabulary = text("vocab.json");
  const pieces = Object.keys(files).find((path) => path.endsWith(".model"));
  return {
    wordPieces: text("vocab.txt"),
    vocabulary: vocabulary === undefined ? undefined : JSON.parse(vocabulary),
    merges: text("merges.txt"),
    sentencePiece: pieces === undefined ? undefined : source(files[pieces] as string),
    configuration,
    modelType,
  };
}

/** Where the two versions of transformers give other ids, or renumber what the configuration numbers. */
const refused = new Set([
  "qwen2, ids that do not follow",
  "deberta",
  "xlm-roberta, no character map",
  "albert",
  "deberta-v2",
  "llama",
  "llama, no beginning stated",
  "gemma",
]);

const decoders = new Set(["gpt2", "qwen2", "llama"]);

interface Template {
  readonly SpecialToken?: { readonly id: string };
  readonly Sequence?: { readonly id: "A" | "B" };
}

describe("a tokenizer.json made of older files", () => {
  it("is refused where transformers 4 and 5 do not agree on the ids of texts", () => {
    for (const { name, differing } of cases) if (differing > 0) expect(refused).toContain(name);
  });

  it.each(cases.filter(({ name }) => !refused.has(name)).map((entry) => [entry.name, entry] as const))(
    "gives the ids of transformers: %s",
    (_, entry) => {
      const json = buildTokenizer(filesOf(entry));
      const tokenizer = createTextTokenizer(json, "a tokenizer of older files");
      const encode = (text: string): number[] => [...tokenizer.encode(text, 10_000).ids];
      expect(texts.map(encode)).toEqual(entry.ids);

      const template = json.post_processor as unknown as {
        readonly single: readonly Template[];
        readonly pair: readonly Template[];
        readonly special_tokens: Readonly<Record<string, { readonly ids: readonly number[] }>>;
      } | null;
      const fill = (parts: readonly Template[], first: string, second: string): number[] =>
        parts.flatMap(({ SpecialToken: token, Sequence: sequence }) =>
          token === undefined
            ? encode(sequence?.id === "A" ? first : second)
            : [...(template?.special_tokens[token.id]?.ids ?? [])],
        );
      const hello = template === null ? encode("hello world") : fill(template.single, "hello world", "");
      expect(hello).toEqual(entry.single);
      if (entry.pairsDiffering > 0 || template === null) expect(decoders).toContain(entry.modelType);
      else
        expect(texts.slice(0, 30).map((text) => fill(template.pair, "hello world", text))).toEqual(
          entry.pairs,
        );
    },
  );

  it.each(cases.filter(({ name }) => refused.has(name)).map((entry) => [entry.name, entry] as const))(
    "is refused: %s",
    (_, entry) => {
      expect(() => buildTokenizer(filesOf(entry))).toThrow(TokenizerFormatError);
    },
  );

  const bert = filesOf(cases[0] as Case);
  const roberta = filesOf(cases.find(({ name }) => name === "roberta") as Case);
  const unigram = filesOf(cases.find(({ name }) => name === "xlm-roberta") as Case);
  it.each<[string, TokenizerFiles, RegExp]>([
    ["no class", { ...bert, configuration: {}, modelType: undefined }, /says its class/],
    ["a class of its own", { ...bert, configuration: { tokenizer_class: "JinaTokenizer" } }, /JinaTokenizer/],
    [
      "a class that is a property of all objects",
      { ...bert, configuration: { tokenizer_class: "constructor" } },
      /constructor/,
    ],
    ["no vocab.txt", { ...bert, wordPieces: undefined }, /vocab\.txt is missing/],
    ["an empty vocab.txt", { ...bert, wordPieces: "" }, /unknown token/],
    ["a piece twice", { ...bert, wordPieces: `${bert.wordPieces}the\n` }, /"the" twice/],
    ["no unknown token", { ...bert, wordPieces: "[PAD]\n[CLS]\n[SEP]\n" }, /unknown token "\[UNK\]"/],
    ["no merges", { ...roberta, merges: undefined }, /merges\.txt is missing/],
    ["no vocab.json", { ...roberta, vocabulary: undefined }, /vocab\.json is missing/],
    ["a list for vocab.json", { ...roberta, vocabulary: ["a"] }, /vocab\.json is no object/],
    ["an id that is none", { ...roberta, vocabulary: { a: -1 } }, /the id -1/],
    ["an id with a fraction", { ...roberta, vocabulary: { a: 0.5 } }, /the id 0\.5/],
    ["an id beyond 32 bits", { ...roberta, vocabulary: { a: 2 ** 40 } }, /the id 1099511627776/],
    ["a merge of three", { ...roberta, merges: "a b c" }, /no pair/],
    ["a merge of nothing known", { ...roberta, merges: "zz zz" }, /lacks/],
    [
      "a SentencePiece model of noise",
      { ...unigram, sentencePiece: Buffer.from("0123456789abcdef") },
      /SentencePiece/,
    ],
    ["an empty SentencePiece model", { ...unigram, sentencePiece: new Uint8Array() }, /no pieces/],
    [
      "a SentencePiece model of the other kind",
      { ...unigram, sentencePiece: source("llama.model") },
      /needs unigram/,
    ],
    ["no SentencePiece model", { ...unigram, sentencePiece: undefined }, /is missing/],
  ])("says what is wrong: %s", (_, files, reason) => {
    expect(() => buildTokenizer(files)).toThrow(TokenizerFormatError);
    expect(() => buildTokenizer(files)).toThrow(reason);
  });

  it("is read or refused with its own error, however a SentencePiece model is damaged", () => {
    const whole = source("deberta.model");
    let state = 12345;
    const random = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    let read = 0;
    for (let trial = 0; trial < 600; trial += 1) {
      const bytes = Uint8Array.from(trial % 3 === 0 ? whole.subarray(0, random(whole.length)) : whole);
      for (let flips = trial % 5; flips >= 0; flips -= 1)
        if (bytes.length > 0) bytes[random(bytes.length)] = random(256);
      try {
        expect(readSentencePiece(bytes).pieces.length).toBeGreaterThan(0);
        read += 1;
      } catch (error) {
        expect(error).toBeInstanceOf(TokenizerFormatError);
      }
    }
    expect(read).toBeGreaterThan(0);
  });
});
