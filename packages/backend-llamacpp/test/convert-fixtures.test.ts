import { readFile } from "node:fs/promises";
import type { Head } from "@crossrank/core";
import { describe, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { openFixture } from "./convert-fixture.js";
import {
  convert,
  createLogits,
  createTokenLogits,
  createVectors,
  feed,
  loadModel,
  metadataOf,
} from "./convert-llama.js";

// Logits of the fixtures lie between −9 and 9, from random weights much larger than a trained model's, and so do their
// errors. Two bounds for F32: against the source, and, where the model has a GELU, against the source with llama.cpp's
// own GELU (lab/convert/gguf_gelu_goldens.py). That is a table over half-precision numbers: of the rest, float32's
// rounding, a last digit now and then leads to the next entry. So the typical logit is bound tightly there.
const bounds = { F32: 1e-2, F16: 4e-2, Q8_0: 0.75 };
const rounding = 5e-5;

describe.each(["bert-logit", "bert-two-class", "roberta-logit", "xlm-roberta-logit", "modernbert-mean"])(
  "%s",
  (name) => {
    test.each(sampleOf(Object.entries(bounds), { name, every: 3 }))(
      "%s: golden ids give golden logits by the rank head",
      async (dtype, bound) => {
        const { files, profile, longest, scored } = await openFixture(name);
        const model = await loadModel(await convert(files, profile, dtype));
        const logitOf = await createLogits(model, longest);
        const logits: number[] = [];
        for (const { ids, segmentIds } of scored) logits.push(await logitOf(feed(model, ids, segmentIds)));
        expect(
          farthest(
            logits,
            scored.map(({ logit }) => logit),
          ),
        ).toBeLessThan(bound);
        if (dtype === "F32") expect(typical(logits, await geluGoldens(name))).toBeLessThan(rounding);
      },
    );
  },
);

describe.each(["qwen3-yes-no", "qwen3-document-first", "qwen3-system-user", "qwen2-one-zero", "gemma-yes"])(
  "%s",
  (name) => {
    test.each(sampleOf(Object.entries(bounds), { name, every: 3 }))(
      "%s: golden ids give golden logits by the answer tokens",
      async (dtype, bound) => {
        const { files, profile, longest, scored } = await openFixture(name);
        const head = answerTokens(profile.head);
        const model = await loadModel(await convert(files, profile, dtype));
        const tokens = [head.positive, ...(head.negative === undefined ? [] : [head.negative])];
        const logitsOf = await createTokenLogits(model, longest, tokens);
        const logits: number[] = [];
        for (const { ids } of scored) {
          const [positive = Number.NaN, negative = 0] = await logitsOf(ids);
          logits.push((positive - negative) / (head.temperature ?? 1));
        }
        const hasGelu = name === "gemma-yes";
        const wanted = scored.map(({ logit }) => logit);
        expect(farthest(logits, wanted)).toBeLessThan(dtype === "F32" && !hasGelu ? rounding : bound);
        if (dtype === "F32" && hasGelu)
          expect(typical(logits, await geluGoldens(name))).toBeLessThan(rounding);
      },
    );
  },
);

test("a Qwen3 reranker also ranks by itself, with the template that the file names", async () => {
  const { files, profile, longest, scored } = await openFixture("qwen3-yes-no");
  const model = await loadModel(await convert(files, profile, "F32"));
  expect(metadataOf(model, "tokenizer", "chat_template.rerank")).toMatch(/\{query\}[\s\S]*\{document\}/);
  const logitOf = await createLogits(model, longest);
  const logits: number[] = [];
  for (const { ids } of scored) logits.push(await logitOf(ids));
  expect(
    farthest(
      logits,
      scored.map(({ logit }) => logit),
    ),
  ).toBeLessThan(rounding);
});

describe.each(["bert-cosine-cls", "bert-cosine-mean", "qwen3-cosine-last"])("%s", (name) => {
  const bounds = Object.entries({ F32: name.startsWith("bert") ? 2e-3 : 1e-5, F16: 5e-3, Q8_0: 0.15 });
  test.each(sampleOf(bounds, { name, every: 3 }))(
    "%s: golden ids give golden cosines by the pooled vectors",
    async (dtype, bound) => {
      const { files, profile, longest, scored } = await openFixture(name);
      const model = await loadModel(await convert(files, profile, dtype));
      const vectorOf = await createVectors(model, longest);
      const cosines: number[] = [];
      for (const { ids, queryIds } of scored)
        cosines.push(cosineOf(await vectorOf(queryIds), await vectorOf(ids)));
      expect(
        farthest(
          cosines,
          scored.map(({ logit }) => logit),
        ),
      ).toBeLessThan(bound);
    },
  );
});

test("modernbert-chain: the pooled vector is that of the first token, as its profile says", async () => {
  const { files, profile, longest, scored } = await openFixture("modernbert-chain");
  const model = await loadModel(await convert(files, profile, "F32"));
  const vectorOf = await createVectors(model, longest);
  const goldens: number[][] = await geluGoldens("modernbert-chain");
  expect(goldens.length).toBeGreaterThan(10);
  for (const [index, golden] of goldens.entries())
    expect(farthest(await vectorOf(scored[index]?.ids ?? []), golden)).toBeLessThan(rounding);
});

async function geluGoldens<Numbers>(name: string): Promise<Numbers> {
  const url = new URL("fixtures/convert-gelu-goldens.json", import.meta.url);
  return JSON.parse(await readFile(url, "utf8"))[name];
}

function differences(found: readonly number[], wanted: readonly number[]): number[] {
  expect(found).toHaveLength(wanted.length);
  return found.map((number, index) => Math.abs(number - (wanted[index] ?? Number.NaN)));
}

/** A NaN stays NaN, and is below no bound. */
function farthest(found: readonly number[], wanted: readonly number[]): number {
  return Math.max(...differences(found, wanted));
}

/** The median. */
function typical(found: readonly number[], wanted: readonly number[]): number {
  const sorted = differences(found, wanted).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function answerTokens(head: Head): Extract<Head, { kind: "answer-tokens" }> {
  if (head.kind !== "answer-tokens") throw new Error(`a head of kind ${head.kind}`);
  return head;
}

function cosineOf(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]): number =>
    x.reduce((sum, number, index) => sum + number * (y[index] ?? Number.NaN), 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
