import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { createReranker, ModelProfileError, readProfile } from "../src/index.js";
import { memoryFiles } from "./memory-files.js";
import { toyBackend } from "./toy-backend.js";

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

describe("label2id beside id2label", () => {
  /** As transformers fills in what nobody named. */
  const placeholders = { 0: "LABEL_0", 1: "LABEL_1" };
  const both = (id2label: unknown, label2id: unknown, more: Readonly<Record<string, unknown>> = {}) =>
    headOf(undefined, { "config.json": { ...at("config.json"), id2label, label2id }, ...more });

  test.each<[unknown, unknown, 0 | 1]>([
    [undefined, { relevant: 0, irrelevant: 1 }, 0],
    [undefined, { irrelevant: 0, relevant: 1 }, 1],
    [null, { entailment: "0", not_entailment: "1" }, 0],
    [placeholders, { relevant: 0, irrelevant: 1 }, 0],
    [{ 0: "0", 1: "1" }, { no: 0, yes: 1 }, 1],
    [placeholders, { LABEL_0: 0, LABEL_1: 1 }, 1],
    [placeholders, null, 1],
    [placeholders, ["relevant"], 1],
    [undefined, { LABEL_0: 0 }, 1],
    [{ 0: "yes", 1: "no" }, { LABEL_0: 0, LABEL_1: 1 }, 0],
    [{ 0: "yes", 1: "no" }, { yes: 0, no: 1 }, 0],
    [{ 0: "yes", 1: "no" }, { Yes: 0, No: 1 }, 0],
    [{ 0: "yes", 1: "no" }, { relevant: 0, irrelevant: 1 }, 0],
  ])("decides together: %j and %j", async (id2label, label2id, positive) => {
    expect(await both(id2label, label2id)).toEqual({ kind: "two-class", positive });
  });

  test.each<[unknown, unknown, RegExp]>([
    [{ 0: "1", 1: "0" }, undefined, /id2label calls class 0 "1"/],
    [{ 0: "LABEL_1", 1: "LABEL_0" }, undefined, /id2label calls class 0 "LABEL_1"/],
    [{ 0: "class 1", 1: "class 2" }, undefined, /id2label calls class 0 "class 1"/],
    [{ 0: "LABEL_1", 1: "relevant" }, undefined, /id2label calls class 0 "LABEL_1"/],
    [placeholders, { LABEL_1: 0, LABEL_0: 1 }, /label2id calls class 0 "LABEL_1"/],
    [undefined, { 1: 0, 0: 1 }, /label2id calls class 1 "0"|label2id calls class 0 "1"/],
    [{ 0: "yes", 1: "no" }, { no: 0, yes: 1 }, /id2label calls class 0 "yes", and label2id "no"/],
    [
      { 0: "irrelevant", 1: "relevant" },
      { relevant: 0, irrelevant: 1 },
      /calls class 0 "irrelevant", and label2id "relevant"/,
    ],
    [{ 0: "yes", 1: "no" }, { cats: 0, dogs: 1 }, /and label2id "cats"/],
    [undefined, { cats: 0, dogs: 1 }, /"cats", "dogs", which does not say/],
    [undefined, { relevant: 0 }, /"relevant", which does not say/],
    [undefined, { relevant: 0, irrelevant: 0 }, /does not say/],
    [undefined, { contradiction: 0, entailment: 1, neutral: 2 }, /does not say/],
  ])("is refused where it does not: %j and %j", async (id2label, label2id, message) => {
    const error = await both(id2label, label2id).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ModelProfileError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toMatch(/head\.positive/);
    const head = { kind: "two-class", positive: 0 };
    expect(await both(id2label, label2id, { "crossrank.json": { head } })).toEqual(head);
  });

  test("finds a class by the name that it alone has", async () => {
    const label2id = { contradiction: 0, entailment: 1, neutral: 2 };
    const stated = { "crossrank.json": { head: { kind: "class", positive: "entailment" } } };
    const unnamed = { 0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2" };
    const expected = { kind: "class", positive: 1, classes: 3 };
    expect(await both(unnamed, label2id, stated)).toEqual(expected);
    const swapped = { 0: "entailment", 1: "contradiction", 2: "neutral" };
    await expect(both(swapped, label2id, stated)).rejects.toThrow(/contradicts itself.*Give its number/);
    const byNumber = { "crossrank.json": { head: { kind: "class", positive: 1 } } };
    expect(await both(swapped, label2id, byNumber)).toEqual(expected);
  });
});

describe("a class of several, by name", () => {
  const inference = { 0: "contradiction", 1: "entailment", 2: "neutral" };
  const stated = (head: unknown): Readonly<Record<string, unknown>> => ({ "crossrank.json": { head } });

  test.each<[string, unknown, unknown]>([
    ["its name", { kind: "class", positive: "entailment" }, { kind: "class", positive: 1, classes: 3 }],
    [
      "its name in capitals",
      { kind: "class", positive: "NEUTRAL" },
      { kind: "class", positive: 2, classes: 3 },
    ],
    ["its number", { kind: "class", positive: 0 }, { kind: "class", positive: 0, classes: 3 }],
    [
      "its number and how many",
      { kind: "class", positive: 2, classes: 3 },
      { kind: "class", positive: 2, classes: 3 },
    ],
  ])("%s", async (_, head, expected) => {
    expect(await headOf(inference, stated(head))).toEqual(expected);
  });

  test.each<[unknown, unknown, unknown]>([
    [
      { 0: "cats", 1: "dogs" },
      { kind: "two-class", positive: "cats" },
      { kind: "two-class", positive: 0 },
    ],
    [
      { 0: "cats", 1: "dogs" },
      { kind: "class", positive: "Dogs" },
      { kind: "two-class", positive: 1 },
    ],
    [undefined, { kind: "class", positive: 1, classes: 5 }, { kind: "class", positive: 1, classes: 5 }],
  ])("of %j as %j", async (labels, head, expected) => {
    expect(await headOf(labels, stated(head))).toEqual(expected);
  });

  test.each<[unknown, unknown, RegExp]>([
    [
      inference,
      undefined,
      /3 labels \("contradiction", "entailment", "neutral"\).*head\.positive.*"class", "positive": "entailment"/,
    ],
    [{ 0: "a", 1: "b", 2: "c", 3: "d" }, undefined, /4 labels.*head\.positive/],
    [
      inference,
      { kind: "class", positive: "relevant" },
      /head\.positive is "relevant".*"contradiction", "entailment", "neutral"/,
    ],
    [inference, { kind: "class", positive: 3 }, /head\.positive is 3/],
    [inference, { kind: "two-class", positive: "entailment" }, /head\.positive is "entailment"/],
    [{ 0: "yes", 1: "Yes", 2: "no" }, { kind: "class", positive: "yes" }, /head\.positive is "yes"/],
    [{ 0: "yes", x: "entailment", 2: "no" }, { kind: "class", positive: "entailment" }, /head\.positive/],
    [undefined, { kind: "class", positive: "entailment" }, /names no labels.*number of classes/],
    [inference, { kind: "class", positive: -1 }, /crossrank\.json/],
    [inference, { kind: "class", positive: 0, classes: 1e9 }, /crossrank\.json/],
  ])("is refused of %j as %j", async (labels, head, message) => {
    const error = await headOf(labels, head === undefined ? {} : stated(head)).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(ModelProfileError);
    expect((error as Error).message).toMatch(message);
  });

  test("scores by the softmax of all its logits", async () => {
    const config = { ...at("config.json"), id2label: inference, sentence_transformers: undefined };
    const files = { "config.json": config, "tokenizer.json": at("tokenizer.json") };
    const logits = [
      [0.3, 1.25, -2],
      [4, 4, 4],
      [900, -900, 899],
    ];
    const backend = toyBackend({
      run: (batch) => ({
        kind: "class-logits",
        shape: [batch.rows, 3],
        data: Float32Array.from(
          Array.from(
            { length: batch.rows },
            (_, row) => logits[(batch.lengths[row] as number) % 3] as number[],
          ).flat(),
        ),
      }),
    });
    const reranker = await createReranker({
      model: memoryFiles(files),
      backend,
      profile: { head: { kind: "class", positive: "entailment" } },
      probe: false,
    });
    const { results } = await reranker.rerank({ query: "a", documents: ["a", "a a", "a a a"] });
    expect(new Set(results.map(({ tokens = 0 }) => tokens % 3)).size).toBe(3);
    for (const { tokens = 0, score, logit } of results) {
      const row = logits[tokens % 3] as number[];
      const most = Math.max(...row);
      const sum = row.reduce((total, value) => total + Math.exp(value - most), 0);
      expect(score).toBeCloseTo(Math.exp((row[1] as number) - most) / sum, 6);
      expect(Number.isFinite(logit)).toBe(true);
    }
    await reranker.dispose();
  });
});
