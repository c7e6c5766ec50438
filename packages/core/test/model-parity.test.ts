import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { createTextTokenizer } from "../src/entries/encoding.js";
import { ModelProfileError } from "../src/index.js";

// Expectations by Rust's tokenizers: lab/tokenizers/build_model_table.py.

interface Variant {
  readonly name: string;
  /** tokenizer.json as text. */
  readonly file: string;
  /** Why Rust refuses the file. */
  readonly error?: string;
  /** For each text its ids, or why Rust refuses it. */
  readonly ids?: readonly (readonly number[] | string)[];
}

const table = JSON.parse(readFileSync(new URL("parity/fixtures/models.json", import.meta.url), "utf8")) as {
  readonly texts: readonly string[];
  readonly variants: readonly Variant[];
};

/** JSON of JavaScript does not tell 1.0 from 1; Rust refuses it as an id. */
const sameNumber =
  /: an? (?:added token's )?id (?:1\.0|'1e2')|(?:max_input_chars_per_word|unk_id) 1\.0|added token's id (?:1\.0|'1e2')/;
/** No text becomes a special token here: the documented difference. */
const special = "an added token's special True";

const ids = (variant: Variant): readonly (readonly number[] | string)[] | undefined => {
  let tokenizer: ReturnType<typeof createTextTokenizer>;
  try {
    tokenizer = createTextTokenizer(JSON.parse(variant.file), variant.name);
  } catch (error) {
    if (!(error instanceof SyntaxError)) expect(error, variant.name).toBeInstanceOf(ModelProfileError);
    return undefined;
  }
  return table.texts.map((text) => {
    try {
      return tokenizer.encode(text, 100).ids;
    } catch (error) {
      expect(error, variant.name).toBeInstanceOf(ModelProfileError);
      return "refused";
    }
  });
};
const outcomes = table.variants.map((variant) => ({ ...variant, found: ids(variant) }));

it("refuses every tokenizer.json that Rust refuses", () => {
  const refused = outcomes.filter(({ error }) => error !== undefined);
  expect(refused.length).toBeGreaterThan(250);
  const taken = refused.filter(({ found }) => found !== undefined).map(({ name }) => name);
  expect(taken.filter((name) => !sameNumber.test(name))).toEqual([]);
  expect(taken.length).toBeLessThan(10);
});

it("gives Rust's ids, or refuses the text where Rust does", () => {
  const taken = outcomes.filter(({ error, found }) => error === undefined && found !== undefined);
  expect(taken.length).toBeGreaterThan(100);
  const different = taken.filter(({ name, ids: expected, found }) => {
    const wanted = expected?.map((one) => (typeof one === "string" ? "refused" : one));
    return name !== special && JSON.stringify(found) !== JSON.stringify(wanted);
  });
  expect(different.map(({ name }) => name)).toEqual([]);
});

it("is stricter only about ids that cannot be right, and about random ones", () => {
  const stricter = outcomes.filter(({ error, found }) => error === undefined && found === undefined);
  const allowed =
    /: an id (?:2147483648|4294967295)$|^an added token's (?:id|content) |^added_tokens |dropout/;
  expect(stricter.map(({ name }) => name).filter((name) => !allowed.test(name))).toEqual([]);
});
