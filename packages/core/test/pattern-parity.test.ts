import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { createNormalizer } from "../src/tokenizer/normalizer.js";
import { createPattern, split } from "../src/tokenizer/pattern.js";
import { PatternError } from "../src/tokenizer/regex/pattern-error.js";

// Expectations by Rust's tokenizers: lab/tokenizers/build_pattern_table.py.

interface Row {
  readonly source: string;
  /** Where a published tokenizer has it. */
  readonly needed?: string;
  /** Why Rust refuses it. */
  readonly error?: string;
  readonly digests?: string;
}

const table = JSON.parse(readFileSync(new URL("parity/fixtures/patterns.json", import.meta.url), "utf8")) as {
  readonly texts: readonly string[];
  readonly patterns: readonly Row[];
};

const mark = "\u{10fffd}";

/** What an expression makes of every text; undefined when it is refused. */
function digestsOf(source: string): readonly string[] | undefined {
  let pattern: ReturnType<typeof createPattern>;
  try {
    pattern = createPattern({ Regex: source });
  } catch (error) {
    expect(error).toBeInstanceOf(PatternError);
    return undefined;
  }
  const replace = createNormalizer({ type: "Replace", pattern: { Regex: source }, content: mark });
  try {
    return table.texts.map((text) => {
      const parts = [...split(text, pattern(text), "Isolated"), replace(text)];
      const content = parts.map((part) => `${[...part].length}:${part}`).join("");
      return createHash("sha256").update(content).digest().subarray(0, 6).toString("hex");
    });
  } catch (error) {
    // Too many steps.
    expect(error).toBeInstanceOf(PatternError);
    return undefined;
  }
}

const outcomes = table.patterns.map((row) => {
  const expected = Buffer.from(row.digests ?? "", "base64")
    .toString("hex")
    .match(/.{12}/g);
  const found = digestsOf(row.source);
  const wrong = found?.flatMap((digest, index) => (digest === expected?.[index] ? [] : [table.texts[index]]));
  return { ...row, isRefused: found === undefined, wrong: wrong ?? [] };
});

it("understands an expression as Rust does, or refuses it", () => {
  expect(outcomes.length).toBeGreaterThan(500);
  const different = outcomes.filter(({ error, wrong }) => error === undefined && wrong.length > 0);
  expect(different.map(({ source, wrong }) => [source, wrong])).toEqual([]);
});

it("refuses what Rust refuses", () => {
  const refusedByRust = outcomes.filter(({ error }) => error !== undefined);
  expect(refusedByRust.length).toBeGreaterThan(50);
  expect(refusedByRust.filter(({ isRefused }) => !isRefused).map(({ source }) => source)).toEqual([]);
});

it("understands every expression that a published tokenizer has", () => {
  const needed = outcomes.filter(({ needed }) => needed !== undefined);
  expect(needed.length).toBeGreaterThan(30);
  expect(needed.filter(({ isRefused }) => isRefused).map(({ needed, source }) => [needed, source])).toEqual(
    [],
  );
});

it("refuses few of those that Rust takes", () => {
  const stricter = outcomes.filter(({ error, isRefused }) => error === undefined && isRefused);
  expect(stricter.length).toBeLessThan(outcomes.length / 4);
});
