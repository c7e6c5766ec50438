import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ModelProfileError, readProfile } from "../src/index.js";
import { memoryFiles } from "./memory-files.js";

const folder = new URL("../../conformance/fixtures/bert-two-class/", import.meta.url);
const at = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(new URL(path, folder), "utf8")) as Record<string, unknown>;

async function headOf(id2label: unknown, more: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
  const { profile } = await readProfile(
    memoryFiles({
      "config.json": { ...at("config.json"), id2label },
      "tokenizer.json": at("tokenizer.json"),
      ...more,
    }),
  );
  return profile.head;
}

describe("the class that means relevant", () => {
  test.each<[string, string, 0 | 1]>([
    ["LABEL_0", "LABEL_1", 1],
    ["0", "1", 1],
    ["entailment", "not_entailment", 0],
    ["not_entailment", "entailment", 1],
    ["ENTAILMENT", "NOT-ENTAILMENT", 0],
    ["entailment", "contradiction", 0],
    ["neutral", "entailment", 1],
    ["relevant", "irrelevant", 0],
    ["irrelevant", "relevant", 1],
    ["Relevant", "Not Relevant", 0],
    ["non-relevant", "relevant", 1],
    ["yes", "no", 0],
    ["no", "yes", 1],
    ["True", "False", 0],
    ["FALSE", "TRUE", 1],
    ["positive", "negative", 0],
    ["match", "no_match", 0],
    ["not_duplicate", "duplicate", 1],
    ["paraphrase", "not paraphrase", 0],
    ["notEntailment", "Entailment", 1],
    ["relevant", "other", 0],
    ["other", "irrelevant", 0],
    ["LABEL_0", "relevant", 1],
    ["unrelated", "LABEL_1", 1],
  ])("of %s and %s", async (first, second, positive) => {
    expect(await headOf({ 0: first, 1: second })).toEqual({ kind: "two-class", positive });
  });

  test("of no names", async () => {
    expect(await headOf(undefined, {})).toEqual({ kind: "two-class", positive: 1 });
  });

  test.each([
    ["cats", "dogs"],
    ["relevant", "yes"],
    ["irrelevant", "no"],
    ["constructor", "toString"],
    ["LABEL_0", "sarcasm"],
  ])("is not guessed of %s and %s, and can be said", async (first, second) => {
    const error = await headOf({ 0: first, 1: second }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ModelProfileError);
    expect((error as Error).message).toMatch(/head.*positive/);
    const head = { kind: "two-class", positive: 0 };
    expect(await headOf({ 0: first, 1: second }, { "crossrank.json": { head } })).toEqual(head);
  });

  test("is not guessed of names that are not those of class 0 and 1", async () => {
    await expect(headOf({ 1: "relevant", 2: "irrelevant" })).rejects.toThrow(ModelProfileError);
  });
});
