import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { type Head, readProfile } from "@crossrank/core";
import { type GoldenScore, readGoldens } from "@crossrank/core/verify";
import { expect, onTestFinished, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { load, makeBatch } from "./fixtures.js";
import { folderFiles } from "./folder-files.js";

// Here the ids are the goldens' own, so that nothing but the graph and its reading is compared. Whole models, whose
// heads core computes, are in packages/conformance.
const root = fileURLToPath(new URL("../../conformance/fixtures/", import.meta.url));

/** Those whose logit is in the graph's output: name → family, and class logits or answer tokens. */
const models: Record<string, { family: string; width: number }> = {
  "bert-logit": { family: "cross-encoder", width: 1 },
  "bert-two-class": { family: "cross-encoder", width: 2 },
  "deberta-v2-logit": { family: "cross-encoder", width: 1 },
  "gemma-yes": { family: "causal-lm", width: 1 },
  "modernbert-cls": { family: "cross-encoder", width: 1 },
  "modernbert-mean": { family: "cross-encoder", width: 1 },
  "qwen2-one-zero": { family: "causal-lm", width: 2 },
  "qwen3-document-first": { family: "causal-lm", width: 1 },
  "qwen3-system-user": { family: "causal-lm", width: 1 },
  "qwen3-yes-no": { family: "causal-lm", width: 2 },
  "roberta-logit": { family: "cross-encoder", width: 1 },
  "xlm-roberta-logit": { family: "cross-encoder", width: 1 },
};

test("every fixture is here, or core computes its head", () => {
  const others = readdirSync(root).filter((name) => !(name in models));
  expect(others.filter((name) => !/cosine|chain|listwise|late/.test(name))).toEqual([]);
});

test.each(sampleOf(Object.entries(models), { name: "families", every: 2 }))(
  "%s: golden ids give golden logits, alone and in batches",
  async (name, model) => {
    const files = folderFiles(`${root}${name}`);
    const { profile } = await readProfile(files);
    expect(profile.family).toBe(model.family);
    const { head } = profile;
    const tokens =
      head.kind === "answer-tokens" ? [head.positive, head.negative].filter(isNumber) : undefined;
    const session = await load(onnx({ isolation: "thread", workers: 1, threads: 1 }), files.id, {
      files,
      profile,
      kinds: [tokens === undefined ? "class-logits" : "token-logits"],
      ...(tokens === undefined ? {} : { tokens }),
    });
    onTestFinished(() => session.dispose());
    const cases = ((await readGoldens(files))?.cases ?? []).flatMap(({ expected }) =>
      Object.values(expected),
    );
    const scored = cases.filter((score): score is Required<GoldenScore> => isNumber(score?.logit));
    expect(scored.length).toBeGreaterThan(40);
    const sequences = scored.map(({ ids, segmentIds }) => ({
      inputIds: ids ?? [],
      segmentIds: segmentIds ?? (ids ?? []).map(() => 0),
    }));
    for (const size of [1, 8]) {
      for (let start = 0; start < sequences.length; start += size) {
        const output = await session.run(makeBatch(sequences.slice(start, start + size)));
        expect(output.shape[1]).toBe(model.width);
        for (let row = 0; row < (output.shape[0] ?? 0); row += 1) {
          const numbers = output.data.subarray(row * model.width, (row + 1) * model.width);
          const difference = logitOf(head, numbers) - (scored[start + row]?.logit ?? Number.NaN);
          expect(Math.abs(difference), `pair ${start + row} in batches of ${size}`).toBeLessThan(1e-4);
        }
      }
    }
  },
);

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

function logitOf(head: Head, [first = Number.NaN, second = Number.NaN]: Float32Array): number {
  switch (head.kind) {
    case "two-class":
      return head.positive === 1 ? second - first : first - second;
    case "answer-tokens":
      return (head.negative === undefined ? first : first - second) / (head.temperature ?? 1);
    default:
      return first;
  }
}
