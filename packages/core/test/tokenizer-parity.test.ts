import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { createTextTokenizer } from "../src/entries/encoding.js";
import { createNormalizer } from "../src/tokenizer/normalizer.js";
import { createPreTokenizer } from "../src/tokenizer/pre-tokenizer.js";

// Expectations by Rust's tokenizers: lab/fixtures/build_tokenizer_parity.py.

interface Table {
  readonly strings: readonly string[];
  readonly long: { readonly characters: number; readonly units: readonly (readonly [string, string])[] };
  readonly tokenizers: readonly {
    readonly path: string;
    readonly sha256: string;
    readonly ids: readonly (readonly number[])[];
    readonly long: string;
    readonly decoded: readonly (readonly [number[], string])[];
  }[];
  readonly addedStrings: readonly string[];
  readonly added: readonly { readonly path: string; readonly tokens: object[]; readonly ids: number[][] }[];
}

interface Components {
  readonly models: readonly { readonly name: string; readonly json: object; readonly digests: string }[];
  readonly block: number;
  readonly blocks: readonly number[];
  readonly components: readonly {
    readonly kind: "normalizer" | "pre_tokenizer";
    readonly json?: { readonly type: string };
    readonly from?: string;
    readonly digests: string;
  }[];
}

interface Corpora {
  readonly fields: readonly string[];
  readonly characters: number;
  readonly files: readonly { readonly path: string; readonly lines: number; readonly count: number }[];
  readonly tokenizers: readonly { readonly path: string; readonly digests: string }[];
}

const root = new URL("../../../", import.meta.url);
const data = new URL("../shared/data/", root);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");
const readParity = <T>(name: string): T =>
  JSON.parse(read(`packages/core/test/parity/fixtures/${name}`)) as T;
const readTokenizer = (path: string): TokenizerJson => JSON.parse(read(path)) as TokenizerJson;
interface TokenizerJson {
  readonly added_tokens: readonly object[];
  readonly normalizer: { readonly type: string; readonly normalizers?: readonly { type: string }[] } | null;
  readonly pre_tokenizer: object | null;
  readonly model: { readonly type: string; readonly byte_fallback?: boolean };
}

const everything = 10_000_000;
const digest = (content: string): string =>
  createHash("sha256").update(content).digest().subarray(0, 8).toString("hex");
const digestsOf = (packed: string): string[] =>
  Buffer.from(packed, "base64").toString("hex").match(/.{16}/g) ?? [];
const piecesText = (pieces: readonly string[]): string =>
  pieces.map((piece) => `${[...piece].length}:${piece}`).join("");

const table = readParity<Table>("table.json");
const components = readParity<Components>("components.json");
const corpora = readParity<Corpora>("corpora.json");

describe.each(table.tokenizers.map((row) => [row.path.split("/").slice(1, -1).join("/"), row] as const))(
  "ids of %s",
  (_, { path, sha256, ids, long, decoded }) => {
    const tokenizer = createTextTokenizer(readTokenizer(path), path);

    it("are expected for the tokenizer as it is now", () => {
      const now = createHash("sha256").update(read(path)).digest("hex");
      expect(now, `${path} has changed: run lab/fixtures/build_tokenizer_parity.py corpora`).toBe(sha256);
    });

    it(`are Rust's for ${table.strings.length} hard strings`, () => {
      const wrong = table.strings.flatMap((text, index) => {
        const got = tokenizer.encode(text, everything).ids;
        return got.join() === ids[index]?.join() ? [] : [{ text: visible(text), got, expected: ids[index] }];
      });
      expect(wrong).toEqual([]);
    });

    const units = table.long.units.map(([name, unit], index) => [name, unit, index] as const);
    it.each(sampleOf(units, { name: path, every: 6 }))(
      `are Rust's for ${table.long.characters} characters without a space, and come soon: %s`,
      (_name, unit, index) => {
        const text = [...unit.repeat(table.long.characters)].slice(0, table.long.characters).join("");
        const start = performance.now();
        const got = tokenizer.encode(text, everything).ids;
        // A quadratic algorithm takes minutes.
        expect(performance.now() - start).toBeLessThan(10_000);
        expect(digest(got.join())).toBe(digestsOf(long)[index]);
      },
    );

    it("do not depend on how much of a long text is read", () => {
      const text = table.strings.join("");
      const whole = tokenizer.encode(text, everything).ids;
      for (const limit of [1, 8, 33, 64, 128]) {
        const kept = tokenizer.encode(text, limit);
        expect(kept.truncatedTokensIsMinimum).toBe(true);
        expect(kept.ids).toEqual(whole.slice(0, limit));
      }
    });

    // Only byte-level tokenizers promise it.
    if (decoded.length > 0) {
      it("decode as in Rust", () => {
        for (const [some, text] of decoded) expect(tokenizer.decode(some)).toBe(text);
      });
    }
  },
);

it.each([
  ["marks on one letter", `a${"\u0301".repeat(2_000_000)}`],
  ["viramas", `क${"\u094d".repeat(500_000)}`],
  ["signs that join what follows", "\u0600".repeat(500_000)],
  ["joiners", `😀${"\u200d".repeat(500_000)}`],
])("a character map ends on millions of %s", (_, text) => {
  const path = "packages/conformance/fixtures/xlm-roberta-logit/tokenizer.json";
  expect(createTextTokenizer(readTokenizer(path), path).encode(text, 64).ids.length).toBeGreaterThan(0);
});

it("compares tokenizers of all four kinds, over enough strings", () => {
  const kinds = table.tokenizers.map(({ path }) => {
    const { model, normalizer } = readTokenizer(path);
    const normalizers = normalizer?.normalizers ?? [normalizer];
    const precompiled = normalizers.some((step) => step?.type === "Precompiled");
    return `${model.type}${precompiled ? " with a character map" : ""}${model.byte_fallback ? " with byte fallback" : ""}`;
  });
  expect(new Set(kinds)).toEqual(
    new Set(["WordPiece", "Unigram with a character map", "BPE", "BPE with byte fallback"]),
  );
  expect(table.strings.length).toBeGreaterThan(300);
  expect(corpora.files.reduce((sum, { count }) => sum + count, 0)).toBe(5000);
  expect(table.tokenizers.filter(({ decoded }) => decoded.length > 20).length).toBeGreaterThan(2);
});

describe.each(table.added.map((row) => [row.path.split("/").at(-2), row] as const))(
  "added tokens in %s",
  (_, { path, tokens, ids }) => {
    it("are found as in Rust, whatever their flags", () => {
      const json = readTokenizer(path);
      const tokenizer = createTextTokenizer(
        { ...json, added_tokens: [...json.added_tokens, ...tokens] },
        path,
      );
      const wrong = table.addedStrings.flatMap((text, index) => {
        const got = tokenizer.encode(text, everything).ids;
        return got.join() === ids[index]?.join() ? [] : [{ text: visible(text), got, expected: ids[index] }];
      });
      expect(wrong).toEqual([]);
    });
  },
);

describe("steps", () => {
  const blockText = (start: number): string =>
    Array.from({ length: components.block }, (_, offset) => start + offset)
      .filter((code) => code < 0xd800 || code > 0xdfff)
      .map((code) => String.fromCodePoint(code))
      .map((character) => `a${character}b ${character}\u0301²${character} `)
      .join("");
  const strings = table.strings.map((text) => text.toWellFormed());
  const blocks = components.blocks.map(blockText);
  // Rust's regular expressions have Unicode 16; an older engine cannot know the letters that are new in it.
  const engine = Number(process.versions["unicode"]);
  const title = "the steps' sweep over all characters";
  if (engine < 16) console.warn(`SKIPPED: ${title}: this Node has Unicode ${engine}, not 16`);

  it.each(
    components.components.map((row) => {
      const step = row.json ?? readTokenizer(row.from ?? "")[row.kind];
      return [row.kind, JSON.stringify(step).slice(0, 100), step, digestsOf(row.digests)] as const;
    }),
  )("%s %s", (kind, _, step, expected) => {
    const run: (text: string) => readonly string[] =
      kind === "normalizer"
        ? ((normalize) => (text: string) => [normalize(text)])(createNormalizer(step))
        : (
            (preTokenize) => (text: string) =>
              preTokenize([text], true)
          )(createPreTokenizer(step));
    // Steps that do not ask what a character is are not swept.
    const isSwept = expected.length > strings.length;
    expect(expected).toHaveLength(strings.length + (isSwept ? blocks.length : 0));
    const texts = isSwept && engine >= 16 ? [...strings, ...blocks] : strings;
    const tried = new Set(
      sampleOf([...blocks.keys()], { name: kind + JSON.stringify(step), every: 8 }).map(
        (block) => block + strings.length,
      ),
    );
    const wrong = texts.flatMap((text, index) => {
      if (index >= strings.length && !tried.has(index)) return [];
      const pieces = text === "" && kind === "pre_tokenizer" ? [] : run(text);
      if (digest(piecesText(pieces)) === expected[index]) return [];
      const block = components.blocks[index - strings.length];
      return [block === undefined ? { text: visible(text), pieces } : { block: block.toString(16) }];
    });
    expect(wrong).toEqual([]);
  });
});

it.each(components.models.map(({ name, json, digests }) => [name, json, digestsOf(digests)] as const))(
  "small model: %s",
  (name, json, expected) => {
    const tokenizer = createTextTokenizer(json, name);
    expect(expected).toHaveLength(table.strings.length);
    const wrong = table.strings.flatMap((text, index) => {
      const { ids } = tokenizer.encode(text, everything);
      return digest(ids.join()) === expected[index] ? [] : [{ text: visible(text), ids }];
    });
    expect(wrong).toEqual([]);
  },
);

/** All 5,000 lines with CROSSRANK_LONG, else every tenth. */
const every = process.env["CROSSRANK_LONG"] === undefined ? 10 : 1;
const lines = `ids of ${5000 / every} lines of the shared corpora`;
if (!existsSync(data))
  console.warn(`SKIPPED: ${lines}: ${data.pathname.split("/").slice(-4).join("/")} is absent`);
describe.skipIf(!existsSync(data))(lines, () => {
  const texts = corpora.files.flatMap(({ path, lines, count }) => {
    if (!existsSync(data)) return [];
    const all = readFileSync(new URL(path, data), "utf8").split("\n").slice(0, -1);
    expect(all, path).toHaveLength(lines);
    return Array.from({ length: count }, (_, index) => {
      const record = JSON.parse(all[Math.floor((index * all.length) / count)] ?? "") as Record<
        string,
        string
      >;
      const text = corpora.fields.flatMap((field) => record[field] || []).join(" ");
      return [...text].slice(0, corpora.characters).join("");
    });
  });

  it.each(corpora.tokenizers.map(({ path, digests }) => [path, digests] as const))("%s", (path, digests) => {
    const tokenizer = createTextTokenizer(readTokenizer(path), path);
    const expected = digestsOf(digests);
    expect(texts).toHaveLength(expected.length);
    const wrong = texts.flatMap((text, index) =>
      index % every > 0 || digest(tokenizer.encode(text, everything).ids.join()) === expected[index]
        ? []
        : [index],
    );
    expect(wrong).toEqual([]);
  });
});

/** Visible, whatever the text. */
function visible(text: string): string {
  return JSON.stringify(text).replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
