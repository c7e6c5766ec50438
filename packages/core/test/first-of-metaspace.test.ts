import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { createTextTokenizer } from "../src/tokenizer/tokenizer.js";

const at = (path: string): unknown => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));

test("the start of a text is the original's, whatever a normalizer takes away before it", () => {
  const { texts, cases } = at("./parity/fixtures/first-of-metaspace.json") as {
    readonly texts: readonly string[];
    readonly cases: readonly (Readonly<Record<string, unknown>> & { readonly ids: readonly number[][] })[];
  };
  const source = at("../../conformance/fixtures/xlm-roberta-logit/tokenizer.json") as object;
  const wrong = cases.flatMap(({ ids, ...change }) => {
    const tokenizer = createTextTokenizer({ ...source, ...change }, "a model");
    return texts.flatMap((text, index) => {
      const found = tokenizer.encode(text, 1000).ids;
      return found.join() === ids[index]?.join() ? [] : [{ text, ...change, found, wanted: ids[index] }];
    });
  });
  expect(cases.length * texts.length).toBeGreaterThan(600);
  expect(wrong).toEqual([]);
});
