import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readProfile } from "../src/index.js";
import { createTextTokenizer } from "../src/tokenizer/tokenizer.js";
import { memoryFiles } from "./memory-files.js";

const at = (path: string): unknown => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));

interface Case {
  readonly modelType: string;
  readonly source: string;
  readonly change: Readonly<Record<string, unknown>>;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly ids: readonly (readonly number[])[];
}

const { texts, cases } = at("./parity/fixtures/tokenizer-settings.json") as {
  readonly texts: readonly string[];
  readonly cases: readonly Case[];
};

function filesOf(
  { modelType, source, change, settings }: Case,
  more: Readonly<Record<string, unknown>> = {},
) {
  const folder = `../../conformance/fixtures/${source}`;
  return memoryFiles({
    "config.json": {
      ...(at(`${folder}/config.json`) as object),
      model_type: modelType,
      architectures: ["BertForSequenceClassification"],
      ...more,
    },
    "tokenizer.json": { ...(at(`${folder}/tokenizer.json`) as object), ...change },
    ...(settings && { "tokenizer_config.json": settings }),
  });
}

describe("what tokenizer_config.json says over tokenizer.json", () => {
  test("gives the ids on which transformers 4 and 5 agree", async () => {
    expect(cases.length).toBeGreaterThan(200);
    const wrong: unknown[] = [];
    for (const entry of cases) {
      // A language model among them has to have its prompt stated.
      const { tokenizerJson } = await readProfile(filesOf(entry), {
        pairTemplate: [
          { text: "query", segment: 0 },
          { text: "document", segment: 0 },
        ],
      });
      const tokenizer = createTextTokenizer(tokenizerJson, "a model");
      const ids = texts.map((text) => [...tokenizer.encode(text, 1000).ids]);
      if (JSON.stringify(ids) !== JSON.stringify(entry.ids)) wrong.push({ ...entry, ids });
    }
    expect(wrong).toEqual([]);
  });

  test("a tokenizer that returns no segments leaves all at 0", async () => {
    const entry = cases[0] as Case;
    const segments = async (inputs: readonly string[] | undefined): Promise<number[]> => {
      const settings = { ...entry.settings, ...(inputs && { model_input_names: inputs }) };
      const { profile } = await readProfile(filesOf({ ...entry, settings }, { type_vocab_size: 2 }));
      return profile.pairTemplate.flatMap((piece) => ("segment" in piece ? [piece.segment] : []));
    };
    expect(await segments(undefined)).toContain(1);
    expect(await segments(["input_ids", "token_type_ids", "attention_mask"])).toContain(1);
    expect(await segments(["input_ids", "attention_mask"])).not.toContain(1);
  });
});
