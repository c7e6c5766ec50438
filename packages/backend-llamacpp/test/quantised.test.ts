import { llamacpp } from "@crossrank/backend-llamacpp";
import type { BackendSession, LoadRequest } from "@crossrank/core";
import { describe, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { load, makeBatch } from "./fixtures.js";
import { type PublishedModel, publishedFolder, publishedModel } from "./published.js";

const backend = llamacpp({ isolation: "thread", contexts: 1, threads: 1 });

/**
 * Farthest a score may be from transformers' in float32, as a share of the spread of the model's scores: about twice
 * what was measured on the worse of the two models, whose random weights show more of it than trained ones.
 */
const bounds: Readonly<Record<string, number>> = {
  F32: 0.003,
  F16: 0.01,
  BF16: 0.03,
  Q8_0: 0.1,
  Q6_K: 0.15,
  Q5_K_M: 0.5,
  Q5_0: 0.4,
  Q4_K_M: 0.6,
  Q4_0: 0.6,
  IQ4_NL: 0.6,
  IQ4_XS: 0.6,
  Q3_K_L: 0.8,
  Q3_K_M: 0.8,
  Q2_K: 1.3,
};

async function scores(session: BackendSession, model: PublishedModel): Promise<number[]> {
  const { data, shape } = await session.run(makeBatch(model.scored));
  expect(shape[0]).toBe(model.scored.length);
  return differences(model, (row, column) => data[row * (shape[1] as number) + column] as number);
}

/** A classifier's logit, and of two answers the difference. */
function differences(
  { scored, tokens }: PublishedModel,
  at: (row: number, column: number) => number,
): number[] {
  return scored.map((_, row) => at(row, 0) - (tokens.length > 1 ? at(row, 1) : 0));
}

describe.each(["xlm-roberta", "qwen3"])("%s by llama.cpp's own converter and quantiser", (name) => {
  test.each(sampleOf(Object.keys(bounds), { name, every: 2 }))(
    "%s loads under its own name and scores",
    { timeout: 120_000 },
    async (dtype) => {
      const model = await publishedModel(name);
      const bytes = model.files.get(dtype);
      if (bytes === undefined) throw new Error(`no file of ${dtype}`);
      // A name that says nothing: what it is shown as stands in the file.
      const folder = await publishedFolder(name, model, new Map([["model.gguf", bytes]]));
      const output: LoadRequest["output"] =
        model.tokens.length > 0
          ? { kinds: ["token-logits"], tokens: model.tokens }
          : { kinds: ["class-logits"] };
      const session = await load(backend, folder, { output });
      try {
        expect(session.artifact.dtype).toBe(dtype);
        const wanted = differences(model, (row, column) => model.scored[row]?.logits[column] as number);
        const found = await scores(session, model);
        const spread = Math.max(...wanted) - Math.min(...wanted);
        const farthest = Math.max(...found.map((score, row) => Math.abs(score - (wanted[row] as number))));
        expect(farthest / spread).toBeLessThan(bounds[dtype] as number);
      } finally {
        await session.dispose();
      }
    },
  );
});
