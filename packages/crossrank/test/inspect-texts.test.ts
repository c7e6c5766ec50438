import { readdir } from "node:fs/promises";
import { type ProfileReading, readProfile, type TruncationStrategy } from "@crossrank/core";
import {
  createLateEncoder,
  createListEncoder,
  createPairEncoder,
  createTextTokenizer,
} from "@crossrank/core/encoding";
import { openModel } from "@crossrank/hub";
import { describe, expect, it } from "vitest";
import { encodeTexts, type ShownSequence } from "../src/commands/inspect/encode.js";
import { conformanceFixture, crossrankInTurn as crossrank, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();

const families = (await readdir(conformanceFixture(""), { withFileTypes: true }))
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

const query = "How do vaccines train the immune system, and why are some given twice?";
const documents = [
  "A vaccine trains the immune system: it shows the body a harmless part of a germ.",
  "Short.",
  `  ${"Łódź, naïve façade — 東京の天気は晴れです。 ".repeat(12)} end  `,
  "supercalifragilisticexpialidocious".repeat(9),
  "one [SEP] two </s> three <|im_end|> four",
  "",
];

const readings = new Map<string, Promise<ProfileReading>>();

async function readAt(name: string, truncation: TruncationStrategy): Promise<ProfileReading> {
  const known = readings.get(name) ?? openModel(conformanceFixture(name)).then((files) => readProfile(files));
  readings.set(name, known);
  const reading = await known;
  return { ...reading, profile: { ...reading.profile, truncation } };
}

/** Ids, segments and counts as a reranker gets them of core. */
function ofCore({ profile, tokenizerJson }: ProfileReading, instruction: string): object[] {
  const tokenizer = createTextTokenizer(tokenizerJson, "model");
  const { queryPrefix, documentPrefix, listTemplate, lateTemplate, maxLength } = profile;
  const asked = queryPrefix + query;
  const given = documents.map((document) => documentPrefix + document);
  if (listTemplate !== undefined) {
    const encoder = createListEncoder(tokenizer, listTemplate, maxLength);
    const cut = given.map((document) => encoder.cutDocument(document));
    return [...encoder.encodeList(asked, cut)].map(({ sequence, documents: members }) => ({
      ids: [...sequence.ids],
      segments: [...sequence.segmentIds],
      cut: members.reduce((sum, at) => sum + (cut[at]?.truncatedTokens ?? 0), 0),
    }));
  }
  const encoder = createPairEncoder(tokenizer, profile);
  const late = lateTemplate && createLateEncoder(tokenizer, lateTemplate, maxLength);
  const encoded =
    late !== undefined
      ? [late.encodeQuery(asked), ...given.map((text) => late.encodeDocument(text))]
      : profile.family === "bi-encoder"
        ? [asked, ...given].map((text) => encoder.encodeSingle(text))
        : given.map((document) => encoder.encodePair(encoder.encodeQuery(asked, instruction), document));
  return encoded.map(({ ids, segmentIds, truncatedTokens, truncatedQueryTokens }) => ({
    ids: [...ids],
    segments: [...segmentIds],
    cut: truncatedTokens + truncatedQueryTokens,
  }));
}

function shown({ tokens, cuts }: ShownSequence): object {
  return {
    ids: tokens.map(({ id }) => id),
    segments: tokens.map(({ segment }) => segment),
    cut: cuts.reduce((sum, cut) => sum + cut.tokens, 0),
  };
}

describe.each(families)("of %s", (name) => {
  it.each<[TruncationStrategy, number]>([
    ["document-only", 0],
    ["document-only", 5],
    ["document-only", 11],
    ["longest-first", 0],
    ["longest-first", 5],
    ["longest-first", 23],
  ])("texts come out as core encodes them, %s with room for %i tokens", async (truncation, room) => {
    const plain = await readAt(name, truncation);
    const { profile } = plain;
    const instruction = profile.instruction ?? "";
    const ownTokenizer = createTextTokenizer(plain.tokenizerJson, "model");
    const least =
      profile.family === "listwise"
        ? profile.maxLength
        : profile.lateTemplate === undefined
          ? createPairEncoder(ownTokenizer, profile).leastLength
          : createLateEncoder(ownTokenizer, profile.lateTemplate, profile.maxLength).leastLength;
    const maxLength = room === 0 ? profile.maxLength : Math.min(profile.maxLength, least + room);
    const reading = { ...plain, profile: { ...profile, maxLength } };
    const sequences = encodeTexts(reading, "model", { query, documents });
    expect(sequences.map(shown)).toEqual(ofCore(reading, instruction));
    const tokenizer = createTextTokenizer(reading.tokenizerJson, "model");
    for (const { tokens, cuts, queryOverflow } of sequences) {
      const positions = tokens.map(({ position }) => position);
      expect(positions).toEqual(positions.toSorted((a, b) => a - b));
      for (const { from, document, text, tokens: count } of cuts) {
        const given =
          from === "query"
            ? profile.queryPrefix + query
            : profile.documentPrefix + (documents[document ?? 0] as string);
        // Late interaction takes white space off both ends first.
        const whole = profile.lateTemplate === undefined ? given : given.trim();
        expect(whole.trim().endsWith(text.trim())).toBe(true);
        if (queryOverflow) continue;
        // What was cut and what was kept make the text again; where it stands alone, the tokens too.
        expect(text.trim()).not.toBe(count > 0 ? undefined : "");
        const isAlone = profile.family === "bi-encoder" || !tokens.some(({ kind }) => kind === "wording");
        if (!isAlone || from !== "document" || profile.family === "listwise") continue;
        const kept = tokens.filter(({ kind }) => kind === "document").map(({ id }) => id);
        const again = tokenizer.encode(whole.slice(0, whole.length - text.length), 10_000).ids;
        // A token may hold a part of a character, or of the space before a word that was cut.
        expect(again).toEqual(kept.slice(0, again.length));
        expect(kept.length - again.length).toBeLessThan(4);
      }
    }
  });
});

describe("inspect --query --document", () => {
  interface Output {
    readonly encoding: {
      readonly maxLength: number;
      readonly sequences: readonly {
        readonly ids: readonly number[];
        readonly tokens: readonly string[];
        readonly segmentIds: readonly number[];
        readonly attentionMask: readonly number[];
        readonly parts: readonly { kind: string; piece: string; start: number; end: number }[];
        readonly cuts: readonly { from: string; document?: number; tokens: number; text: string }[];
        readonly prompt: string | null;
      }[];
    };
  }
  const inspect = async (...args: readonly string[]): Promise<Output> => {
    const { code, stdout, stderr } = await crossrank(["inspect", ...args, "--format", "json"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return JSON.parse(stdout) as Output;
  };

  it("gives ids, tokens, segments, attention, parts and cuts as JSON", async () => {
    const { encoding } = await inspect(
      conformanceFixture("bert-logit"),
      ...["-q", "What is it?", "-d", "Paris is the capital", "-d", "x", "--max-length", "12"],
    );
    expect(encoding.maxLength).toBe(12);
    const [first, second] = encoding.sequences;
    expect(encoding.sequences).toHaveLength(2);
    expect(first?.ids).toHaveLength(12);
    expect(first?.attentionMask).toEqual(Array.from({ length: 12 }, () => 1));
    expect(first?.tokens.at(0)).toBe("[CLS]");
    expect(first?.parts.map(({ kind, piece }) => (kind === "special" ? piece : kind))).toEqual([
      ...["[CLS]", "query", "[SEP]", "document", "[SEP]"],
    ]);
    expect(first?.parts.at(-1)?.end).toBe(12);
    expect(first?.cuts).toMatchObject([{ from: "document", document: 0 }]);
    expect("Paris is the capital".endsWith(first?.cuts[0]?.text ?? "?")).toBe(true);
    expect(second?.cuts).toEqual([]);
    expect(first?.prompt).toBeNull();
  });

  it("gives a language model's prompt, and both sides of a bi-encoder with what is put before them", async () => {
    const prompt = await inspect(
      conformanceFixture("qwen3-yes-no"),
      "-q",
      "cats",
      "-d",
      "Cats purr.",
      "--instruction",
      "Be kind.",
    );
    expect(prompt.encoding.sequences[0]?.prompt).toMatch(
      /^<\|im_start\|>system\n[\s\S]*Be kind\.[\s\S]*cats[\s\S]*Cats purr\./,
    );
    expect(prompt.encoding.sequences[0]?.parts.map(({ kind }) => kind)).toContain("instruction");
    const profile = await folder.write(
      "prefix.json",
      '{ "queryPrefix": "query: ", "documentPrefix": "passage: " }',
    );
    const both = await inspect(
      conformanceFixture("bert-cosine-mean"),
      "-q",
      "cats",
      "-d",
      "purr",
      "--profile",
      profile,
    );
    expect(both.encoding.sequences).toHaveLength(2);
    const words = both.encoding.sequences.map(({ tokens }) =>
      tokens.join("").replaceAll("##", "").toLowerCase(),
    );
    expect(words[0]).toContain("query:cats");
    expect(words[1]).toContain("passage:purr");
  });

  it("needs no weights, and shows the same in its table", async () => {
    const { code, stdout, stderr } = await crossrank([
      ...["inspect", conformanceFixture("bert-logit"), "--query", "What is it?", "--max-length", "12"],
      ...["--document", "Paris is the capital of France", "--document", "It is."],
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^query and document 1 of 2: 12 tokens of at most 12$/m);
    expect(stdout).toMatch(/^ {2}ids +\d+( \d+){11}$/m);
    expect(stdout).toMatch(/^ {2}segments +0 × \d+, 1 × \d+$/m);
    expect(stdout).toMatch(/^ {2}attention +1 × 12$/m);
    expect(stdout).toMatch(/^ {2}cut +\d+ tokens of document 1: ".*of France"$/m);
    expect(stdout).toMatch(/^ {2}cut +nothing$/m);
  });

  it("takes truncation as rerank does, and says where the query leaves no room", async () => {
    const model = conformanceFixture("bert-logit");
    const texts = ["-q", query, "-d", "Paris is the capital of France", "--max-length", "10"];
    const overflow = await crossrank(["inspect", model, ...texts]);
    expect(overflow.stdout).toMatch(/^ {2}note +the query does not fit into 10 tokens .* ranks last$/m);
    expect(overflow.stdout).toMatch(
      /^ {2}cut +\d+ tokens of the document: "Paris is the capital of France"$/m,
    );
    const { encoding } = await inspect(model, ...texts, "--truncation", "longest-first");
    expect(encoding.sequences[0]?.cuts.map(({ from }) => from)).toEqual(["query", "document"]);
  });

  it.each([
    [["-q", "x"], 2, /--query needs --document/],
    [["-d", "x"], 2, /--document needs --query/],
    [["-q", " ", "-d", "x"], 2, /--query is empty/],
    [["-q", "x", "-d", "y", "--max-length", "100000"], 2, /--max-length must be .* at most 64/],
    [["-q", "x", "-d", "y", "--instruction", "z"], 2, /--instruction/],
    [["-q", "x", "-q", "y", "-d", "z"], 2, /given 2 times/],
  ])("refuses %j", async (args, expected, message) => {
    const { code, stderr } = await crossrank(["inspect", conformanceFixture("bert-logit"), ...args]);
    expect(stderr).toMatch(message);
    expect(code).toBe(expected);
  });
});
