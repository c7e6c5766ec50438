import { describe, expect, it } from "vitest";
import {
  BackendRunError,
  CrossrankError,
  createReranker,
  InvalidInputError,
  NonFiniteScoreError,
} from "../src/index.js";
import { planBatches } from "../src/run/scheduler.js";
import { fixture, query, rejection } from "./fallback-scene.js";
import { hostileValues } from "./hostile-values.js";
import { toyBackend } from "./toy-backend.js";

const model = fixture("bert-logit");
const documents = ["the model", "a backend reads tokens", "every thread"];

describe("a session that declares what cannot be", () => {
  it("is tried with many values", () => {
    expect(hostileValues.length).toBeGreaterThan(130);
    expect(new Set(hostileValues.map(({ name }) => name)).size).toBe(hostileValues.length);
  });

  it.each(hostileValues)("$name is refused, and the model freed", async ({ options, at }) => {
    const backend = toyBackend(options);
    if (at === "load") {
      const error = await rejection(createReranker({ model, backend, probe: false }));
      expect(CrossrankError.isInstance(error) && error.code).toMatch(/^(model-load|incompatible-model)$/);
    } else {
      const reranker = await createReranker({ model, backend, probe: false });
      expect(BackendRunError.isInstance(await rejection(reranker.rerank({ query, documents })))).toBe(true);
      await reranker.dispose();
    }
    expect(backend.counts.open).toBe(0);
  });
});

describe("a session that declares much", () => {
  const most = Number.MAX_SAFE_INTEGER;
  it.each([
    { batchSize: { max: most } },
    { batchSize: { max: 1e9 }, batchPreference: { rows: most, tokens: most, padding: 1 } },
    { batchSize: { exactly: 1 } },
    { batchSize: { exactly: 64 }, sequenceLengths: [16, 64] },
    { maxSequenceLength: 1e9 },
    { maxSequenceLength: most },
    { concurrentRuns: 65_536 },
  ])("%j takes no more than the texts need", async (capabilities) => {
    const backend = toyBackend({ capabilities });
    const reranker = await createReranker({ model, backend });
    const { status } = await reranker.rerank({ query, documents });
    expect([status, backend.counts.rows <= 1024]).toEqual(["reranked", true]);
    await reranker.dispose();
    expect(backend.counts.open).toBe(0);
  });

  it("is read once: what it declares later is of no consequence", async () => {
    let reads = 0;
    const backend = toyBackend();
    const inner = await backend.load({
      files: model,
      profile: {} as never,
      output: { kinds: ["class-logits"] },
    });
    const batchSize = {
      get: () => {
        reads += 1;
        return { max: reads === 1 ? 8 : 0 };
      },
    };
    const capabilities = Object.defineProperty({ ...inner.capabilities }, "batchSize", batchSize);
    const reranker = await createReranker({
      model,
      backend: { ...backend, load: async () => ({ ...inner, capabilities }) },
    });
    expect((await reranker.rerank({ query, documents })).status).toBe("reranked");
    expect(reads).toBe(1);
    await reranker.dispose();
  });
});

it.each(["bert-logit", "bert-cosine-mean"])(
  "a number that is not finite is named by its pair, also beyond the first thousand: %s",
  async (name) => {
    const documents = Array.from({ length: 1500 }, (_, index) => (index === 1300 ? "tokenizer" : "model"));
    const files = fixture(name);
    const { vocab } = JSON.parse(await files.readText("tokenizer.json")).model;
    const backend = toyBackend({
      run: (batch, sound) => {
        for (let row = 0; row < batch.rows; row += 1) {
          const ids = batch.inputIds.subarray(row * batch.columns, (row + 1) * batch.columns);
          const width = sound.data.length / batch.rows;
          if (ids.includes(vocab.tokenizer)) sound.data.fill(Number.NaN, row * width, (row + 1) * width);
        }
        return sound;
      },
    });
    const reranker = await createReranker({ model: files, backend, probe: false });
    const error = await rejection(reranker.rerank({ query: "the", documents }));
    expect(NonFiniteScoreError.isInstance(error) && error.index).toBe(1300);
    await reranker.dispose();
  },
);

describe("the scheduler by itself", () => {
  const sound = {
    sequenceLengths: "any",
    batchSize: { max: 8 },
    batchPreference: { rows: 8, tokens: 512, padding: 0.5 },
  } as const;
  const numbers = [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1.5, 2 ** 62, 1e300];
  const limits: readonly object[] = numbers.flatMap((value) => [
    { ...sound, batchSize: { max: value } },
    { ...sound, batchSize: { exactly: value } },
    { ...sound, batchPreference: { ...sound.batchPreference, rows: value } },
    { ...sound, batchPreference: { ...sound.batchPreference, tokens: value } },
    { ...sound, sequenceLengths: [value] },
    { ...sound, batchPreference: { ...sound.batchPreference, padding: value === 0 ? -1 : value } },
  ]);

  it.each(limits)("refuses %j", (limit) => {
    expect(() => planBatches([5, 9, 300], limit as never)).toThrow(InvalidInputError);
  });

  it("keeps every batch within what one may have", () => {
    const lengths = Array.from({ length: 1000 }, () => 40_000);
    const most = Number.MAX_SAFE_INTEGER;
    const batches = planBatches(lengths, {
      sequenceLengths: "any",
      batchSize: { max: most },
      batchPreference: { rows: most, tokens: most, padding: 1 },
    });
    expect(batches.flatMap(({ members }) => members)).toHaveLength(1000);
    for (const { rows, columns } of batches) expect(rows * columns).toBeLessThanOrEqual(2 ** 24);
    const exact = { ...sound, batchSize: { exactly: 65_536 } };
    expect(() => planBatches([1, 300], exact)).toThrow(InvalidInputError);
  });
});
