import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { isLong, placeOf } from "../../../test/sample.js";
import { createPairEncoder, createTextTokenizer } from "../src/entries/encoding.js";
import { createAddedTokenSplitter } from "../src/tokenizer/added-tokens.js";
import { createNormalizer } from "../src/tokenizer/normalizer.js";
import { createPreTokenizer } from "../src/tokenizer/pre-tokenizer.js";
import { finish } from "../src/tokenizer/turns.js";
import { normalForm, normalFormInTurns } from "../src/tokenizer/unicode.js";

const readFixture = (name: string): object =>
  JSON.parse(
    readFileSync(new URL(`../../conformance/fixtures/${name}/tokenizer.json`, import.meta.url), "utf8"),
  ) as object;

const bert = readFixture("bert-logit");
const unigram = readFixture("xlm-roberta-logit");
const oneSpace = { type: "Replace", pattern: { Regex: " {2,}" }, content: " " };

/** Every kind of model, normalizer and pre-tokenizer that a long text can be slow in. */
const tokenizers: Readonly<Record<string, object>> = {
  WordPiece: bert,
  Unigram: unigram,
  "Unigram after NFKC": {
    ...unigram,
    normalizer: { type: "Sequence", normalizers: [{ type: "NFKC" }, oneSpace] },
  },
  "byte-level BPE": readFixture("roberta-logit"),
  "byte-level BPE after NFC": readFixture("qwen3-yes-no"),
  "SentencePiece BPE": readFixture("gemma-yes"),
  "WordPiece after NFKD": {
    ...bert,
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "NFKD" }, { type: "StripAccents" }, { type: "Lowercase" }],
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "WhitespaceSplit" },
        { type: "Punctuation" },
        { type: "Digits", individual_digits: true },
      ],
    },
  },
  WordLevel: {
    added_tokens: [
      {
        id: 3,
        content: "<note>",
        special: false,
        single_word: true,
        normalized: false,
        lstrip: true,
        rstrip: true,
      },
    ],
    normalizer: { type: "Lowercase" },
    pre_tokenizer: { type: "Whitespace" },
    model: { type: "WordLevel", unk_token: "[UNK]", vocab: { "[UNK]": 0, the: 1, cat: 2, "<note>": 3 } },
  },
};

/** Of each kind of character that some step takes long for. */
const units: readonly string[] = [
  ..." \n\t\u00a0\u3000aZéд日ひ한ᄒ١1Ⅳ!-_.😀𝐀ﬁ\ufdfaßΣ\u0301\u20dd\u200b\u200d\ufe0f\u00ad\0\u0001\ud800\udc00\ue000\uffff\u0600▁Ġ①Ａ",
  ..."\r\n|e\u0301|👍🏽|👨\u200d👩\u200d👧\u200d👦|🇩🇪|1\ufe0f\u20e3|日本語。|\u1112\u1161\u11ab|\u0301\u0316|\u0301\u0316\u0345\u0327\u0f71|שלום|مرحبا|ภาษาไทย|\u0f40\u0fb2|क्षत्रि|ｱﾞ|<s>|[SE|<note>|<note |https://a.b/c?d=e&|QUJDREVG|0f3a9c|well-known-|'s|a         |👩\u200d|©\u200d|\u0915\u094d|\uff9e|\u0345\u0316".split(
    "|",
  ),
];

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function mixture(seed: number, length: number): string {
  const next = random(seed);
  const pieces: string[] = [];
  for (let done = 0; done < length; done += (pieces.at(-1) as string).length) {
    const unit = units[Math.floor(next() * units.length)] as string;
    const times = next() < 0.5 ? 1 : Math.ceil(next() ** 4 * 20_000);
    pieces.push(next() < 0.2 ? " the cat " : unit.repeat(times));
  }
  return pieces.join("");
}

const all = Object.entries(tokenizers).map(([name, json], index) => ({ name, json, index }));

describe.each(all)("$name", ({ name, json, index: tokenizerIndex }) => {
  const tokenizer = createTextTokenizer(json, name);
  const parts = json as { normalizer?: unknown; pre_tokenizer?: unknown };
  const normalize = createNormalizer(parts.normalizer);
  const preTokenize = createPreTokenizer(parts.pre_tokenizer);
  const flags = { single_word: true, lstrip: true, rstrip: true, special: false };
  const splitAdded = createAddedTokenSplitter(
    ["<note>", "ab", "<s>", "a"].map((content, id) => ({ id, content, ...flags, single_word: id < 2 })),
    ({ content }) => content,
  );

  it("does in turns what it does at once", () => {
    for (let seed = 1; seed <= (isLong ? 200 : 2); seed += 1) {
      const text = mixture(seed, 40_000).toWellFormed();
      const normal = normalize(text);
      // Of what differs, only whether it does is worth reading.
      expect(finish(normalize.inTurns(text)) === normal, `normalizer, seed ${seed}`).toBe(true);
      const pieces = preTokenize([normal], true);
      const inTurns = finish(preTokenize.inTurns([normal], true));
      expect(inTurns.length).toBe(pieces.length);
      expect(
        inTurns.findIndex((piece, index) => piece !== pieces[index]),
        `pre-tokenizer, seed ${seed}`,
      ).toBe(-1);
      expect(finish(splitAdded.inTurns(text))).toEqual(splitAdded(text));
    }
  });

  it("never holds the event loop for long, whatever a document repeats", () => {
    let most = { held: 0, unit: "", turns: 0 };
    const size = isLong ? 5_000_000 : 300_000;
    // Runs that are nearly as long as those that some step looks for.
    const nearly = [63, 99, 999, 4999].flatMap((times) =>
      ["\u0434", "\u{1f600}", "\u0301", "\t"].map((one) => `${one.repeat(times)} the `),
    );
    for (const [index, unit] of [...units, ...nearly].entries()) {
      // Every unit with one of the tokenizers, in another run with another; CROSSRANK_LONG tries each with all.
      if (!isLong && (index + tokenizerIndex + placeOf("held")) % all.length !== 0) continue;
      const text = Buffer.from(unit.repeat(Math.ceil(size / unit.length)), "utf16le").toString("utf16le");
      const work = tokenizer.encodeInTurns(text, 512);
      for (let turns = 1, isOver = false; !isOver; turns += 1) {
        const { user, system } = process.cpuUsage();
        isOver = work.next().done === true;
        const now = process.cpuUsage();
        const held = (now.user - user + now.system - system) / 1000;
        if (held > most.held) most = { held, unit, turns };
      }
    }
    // 50 ms on a quiet machine; what other threads of this process do is counted too.
    expect(most.held, `${JSON.stringify(most.unit)} at turn ${most.turns}`).toBeLessThan(250);
  }, 600_000);
});

it("cuts texts for a normal form only where no form joins or moves anything", () => {
  const letters = [
    "a",
    "e\u0301",
    "\u1100",
    "\uac00",
    "か",
    "\u09c7",
    "\u0b47",
    "\u1025",
    "\u{16d67}",
    "\u0301",
    "\u0345",
  ];
  for (const form of ["NFC", "NFD", "NFKC", "NFKD"] as const) {
    for (const letter of letters) {
      // A character is at every place of a part in turn, its end included.
      const next = random(letter.length + form.length);
      let text = "";
      for (let count = 0; count < (isLong ? 60_000 : 4000); count += 1) {
        const codePoint = Math.floor(next() * (next() < 0.8 ? 0x3400 : 0x20000));
        text += letter + String.fromCodePoint(codePoint);
      }
      text = text.toWellFormed();
      expect(
        finish(normalFormInTurns(text, form)) === normalForm(text, form),
        `${form} after ${letter}`,
      ).toBe(true);
    }
  }
});

it("white space inside of a document takes no square of its length to be trimmed", () => {
  const encoder = createPairEncoder(createTextTokenizer(bert, "bert"), {
    pairTemplate: [
      { text: "query", segment: 0 },
      { text: "document", segment: 0, trim: true },
    ],
    singleTemplate: [{ text: "query", segment: 0 }],
    maxLength: 64,
    truncation: "document-only",
  });
  const query = encoder.encodeQuery("the cat");
  const started = performance.now();
  const { ids } = encoder.encodePair(query, `\u2003the${" ".repeat(2_000_000)}cat\u001f\n`);
  expect([...ids]).toEqual([...encoder.encodePair(query, "the cat").ids]);
  expect(performance.now() - started).toBeLessThan(60_000);
});
