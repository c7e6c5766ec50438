import { readFileSync } from "node:fs";
import {
  CTranslate2FormatError,
  listVocabulary,
  readVocabulary,
  vocabularyProblem,
} from "@crossrank/formats/ctranslate2";
import { describe, expect, test } from "vitest";
import { randomOf } from "../../backend-kit/test/mutations.js";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const tokenizerOf = (fixture: string) =>
  JSON.parse(
    readFileSync(new URL(`../../conformance/fixtures/${fixture}/tokenizer.json`, import.meta.url), "utf8"),
  );
const wordPiece = tokenizerOf("bert-logit");

describe("a file of tokens is read by what it holds:", () => {
  const tokens = ["[PAD]", "##a", "é", '"', "\\", " \u0085", "𝛼", "", "["];
  test.each<[string, string]>([
    ["a list, as Python writes it", JSON.stringify(tokens, undefined, 2).replace("é", "\\u00e9")],
    ["a list in one line", JSON.stringify(tokens)],
    ["a token a line", `${tokens.join("\n")}\n`],
    ["a token a line, the last without its end", tokens.join("\n")],
    ["lines with carriage returns", `${tokens.join("\r\n")}\r\n`],
  ])("%s", (_, text) => {
    expect(readVocabulary(bytesOf(text))).toEqual(tokens);
  });

  test("a carriage return is a token's own where not every line ends with one", () => {
    expect(readVocabulary(bytesOf("a\nb\r\n"))).toEqual(["a", "b\r"]);
  });

  test.each<[string, Uint8Array | string, RegExp]>([
    ["a map", '{"a": 0, "b": 1}', /no list of tokens/],
    ["a list of lists", '["a", ["b"]]', /token 1 is no text/],
    ["a list with a number", '["a", 1]', /token 1 is no text/],
    ["a list with nothing", '["a", null]', /token 1 is no text/],
    ["a list that is cut", '["a", "b', /is no JSON/],
    ["a list with more behind it", '["a"] []', /is no JSON/],
    ["no UTF-8", Uint8Array.of(0x5b, 0x22, 0xff, 0x22, 0x5d), /no text in UTF-8/],
    ["too large", new Uint8Array(64 * 2 ** 20 + 1), /67108865 bytes/],
  ])("%s is refused", (_, content, message) => {
    const bytes = typeof content === "string" ? bytesOf(content) : content;
    expect(() => readVocabulary(bytes)).toThrow(CTranslate2FormatError);
    expect(() => readVocabulary(bytes)).toThrow(message);
  });

  test("whatever byte is another, and wherever it is cut: tokens, or its own error", () => {
    const whole = bytesOf(JSON.stringify(listVocabulary(wordPiece, 1400)));
    const random = randomOf(181);
    for (let attempt = 0; attempt < 200; attempt += 1) {
      const copy = whole.slice(0, attempt % 2 === 0 ? undefined : random.below(whole.length));
      copy[random.below(copy.length)] = random.below(256);
      try {
        expect(readVocabulary(copy).every((token) => typeof token === "string")).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(CTranslate2FormatError);
      }
    }
  });
});

describe("tokens are held against a tokenizer:", () => {
  const fixtures = ["bert-logit", "roberta-logit", "xlm-roberta-logit", "deberta-v2-logit", "bert-two-class"];
  test.each(fixtures)("its own are taken, also with rows that have no word: %s", (name) => {
    const tokenizer = tokenizerOf(name);
    for (const rows of [1200, 1400, 1403, 5000]) {
      expect(vocabularyProblem(listVocabulary(tokenizer, rows), rows, tokenizer)).toBeUndefined();
    }
  });

  test("another's of the same length are not, whichever two", () => {
    let tried = 0;
    for (const own of fixtures) {
      for (const other of fixtures) {
        const [one, two] = [tokenizerOf(own), tokenizerOf(other)];
        const [wanted, tokens] = [listVocabulary(one, 1200), listVocabulary(two, 1200)];
        if (tokens.every((token, id) => token === wanted[id])) continue;
        tried += 1;
        expect(vocabularyProblem(tokens, 1200, one)).toMatch(/^its token \d+ is ".*", and the model's/);
      }
    }
    expect(tried).toBeGreaterThan(10);
  });

  test("one token that is another, two that changed places, one that is missing or added", () => {
    const tokens = listVocabulary(wordPiece, 1400);
    const random = randomOf(182);
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const [one, two] = [random.below(1400), random.below(1400)];
      const spelled = tokens.with(one, `${tokens[one]}x`);
      expect(vocabularyProblem(spelled, 1400, wordPiece)).toMatch(new RegExp(`^its token ${one} is `));
      if (one === two) continue;
      const turned = tokens.with(one, tokens[two] as string).with(two, tokens[one] as string);
      expect(vocabularyProblem(turned, 1400, wordPiece)).toMatch(
        new RegExp(`^its token ${Math.min(one, two)} is `),
      );
    }
    expect(vocabularyProblem(tokens.slice(1), 1400, wordPiece)).toMatch(/lists 1399 tokens, .* 1400 rows/);
    expect(vocabularyProblem([...tokens, "x"], 1400, wordPiece)).toMatch(/lists 1401 tokens/);
    expect(vocabularyProblem([], 1400, wordPiece)).toMatch(/lists 0 tokens/);
    expect(vocabularyProblem(["x", ...tokens.slice(0, -1)], 1400, wordPiece)).toMatch(/^its token 0 is "x"/);
  });

  test("where ids have gaps: as crossrank lists them, and as CTranslate2's converter does", () => {
    const gaps = new Set([500, 900, 1200]);
    const entries = Object.entries<number>(wordPiece.model.vocab).filter(([, id]) => !gaps.has(id));
    const tokenizer = { ...wordPiece, model: { ...wordPiece.model, vocab: Object.fromEntries(entries) } };
    const byRow = listVocabulary(tokenizer, 1400);
    expect([byRow[500], byRow[900], byRow[1200]]).toEqual(["<extra_id_0>", "<extra_id_1>", "<extra_id_2>"]);
    expect(vocabularyProblem(byRow, 1400, tokenizer)).toBeUndefined();
    // ctranslate2 4.8.4 with transformers 4.57.6, of this tokenizer: its words in turn, then names for what is left.
    const inTurn = byRow.filter((_, id) => !gaps.has(id));
    inTurn.push("<extra_id_0>", "<extra_id_1>", "<extra_id_2>");
    expect(vocabularyProblem(inTurn, 1400, tokenizer)).toBeUndefined();
    expect(vocabularyProblem(inTurn.with(700, "x"), 1400, tokenizer)).toMatch(/^its token /);
  });

  test("of an id with two spellings either stands; of a word that is named twice each place has it", () => {
    const tokenizer = {
      model: {
        vocab: [
          ["<s>NOTUSED", 0],
          ["<pad>", 0],
          ["a", 0],
          ["a", 0],
        ],
      },
      added_tokens: [{ id: 0, content: "<s>" }],
    };
    for (const first of ["<s>", "<s>NOTUSED"]) {
      expect(vocabularyProblem([first, "<pad>", "a", "a"], 4, tokenizer)).toBeUndefined();
    }
    expect(vocabularyProblem(["<unk>", "<pad>", "a", "a"], 4, tokenizer)).toMatch(/token 0 is "<unk>"/);
  });

  test("a tokenizer that is none has no words, and none differ", () => {
    for (const odd of [
      {},
      { model: 1 },
      { model: { vocab: [1, [2]] } },
      { added_tokens: [null, { id: -1 }] },
    ]) {
      expect(vocabularyProblem(["a"], 1, odd)).toBeUndefined();
    }
  });
});
