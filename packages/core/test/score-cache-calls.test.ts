import { describe, expect, test } from "vitest";
import {
  type Backend,
  BackendRunError,
  type CreateRerankerOptions,
  createFallbackReranker,
  createMemoryScoreCache,
  createReranker,
  type MemoryScoreCache,
  type RerankResult,
} from "../src/index.js";
import { fixture } from "./fallback-scene.js";
import { type ToyOptions, toyBackend } from "./toy-backend.js";

const families: Backend["families"] = [
  "cross-encoder",
  "bi-encoder",
  "causal-lm",
  "listwise",
  "late-interaction",
];

const query = "what does the cat eat?";
const documents = Array.from({ length: 30 }, (_, index) =>
  index % 7 === 3
    ? `a very long text ${"of many words ".repeat(40 + index)}`
    : `the cat eats ${index} mice and \ud800${index % 5 === 0 ? "" : " more"}`,
);

const backendOf = (model: string, options: ToyOptions = {}): Backend => ({
  ...toyBackend({
    width: model === "bert-late" ? 16 : 32,
    ...options,
    capabilities: { unattendedStates: true, ...options.capabilities },
  }),
  families,
});

const open = (model: string, cache?: MemoryScoreCache, more: Partial<CreateRerankerOptions> = {}) =>
  createReranker({
    ...{ model: fixture(model), backend: backendOf(model), probe: false, scoreCache: cache },
    ...more,
  });

/** What a result says beside how much was computed. */
const said = ({ usage: _usage, ...result }: RerankResult<string>): object => result;

describe.each([
  "bert-logit",
  "bert-cosine-mean",
  "bert-late",
  "modernbert-chain",
  "xlm-roberta-logit",
  "qwen3-yes-no",
])("%s", (model) => {
  test("a call that finds its scores says what one says that computes them", async () => {
    const cache = createMemoryScoreCache();
    await using plain = await open(model);
    await using cached = await open(model, cache);
    const wanted = await plain.rerank({ query, documents });
    expect(wanted.usage.cached).toBeUndefined();
    const first = await cached.rerank({ query, documents });
    expect(first.usage).toMatchObject({ cached: 0, sequences: wanted.usage.sequences });
    const second = await cached.rerank({ query, documents });
    expect(second.usage).toMatchObject({ cached: documents.length, sequences: 0, tokens: 0 });
    expect(said(first)).toEqual(said(wanted));
    expect(said(second)).toEqual(said(wanted));
    // Half of them, in another order, with others between.
    const mixed = documents
      .flatMap((text, index) => (index % 2 === 0 ? [text, `${text} new`] : []))
      .reverse();
    const half = await cached.rerank({ query, documents: mixed });
    expect(half.usage.cached).toBe(mixed.length / 2);
    expect(said(half)).toEqual(said(await plain.rerank({ query, documents: mixed })));
  });

  test("a query that was cut is told of, also where every score is kept", async () => {
    const cache = createMemoryScoreCache();
    const long = "what does the cat eat on this day ".repeat(60);
    const options = { truncation: "longest-first" } as const;
    await using plain = await open(model, undefined, options);
    await using cached = await open(model, cache, options);
    const wanted = await plain.rerank({ query: long, documents: documents.slice(0, 4) });
    // None of the scores is kept at first, then one of them, then all.
    await cached.rerank({ query: long, documents: documents.slice(2, 3) });
    for (let time = 0; time < 3; time += 1) {
      const found = await cached.rerank({ query: long, documents: documents.slice(0, 4) });
      expect(said(found)).toEqual(said(wanted));
    }
  });
});

describe("one model's scores are not another's", () => {
  const count = async (
    model: string,
    cache: MemoryScoreCache,
    more: Partial<CreateRerankerOptions>,
    instruction?: string,
  ): Promise<number | undefined> => {
    await using reranker = await open(model, cache, more);
    const { usage } = await reranker.rerank({ query, documents: documents.slice(0, 3), instruction });
    return usage.cached;
  };
  const settings = { backend: backendOf("bert-logit", { session: { settings: { precision: "half" } } }) };
  const calibration = { method: "temperature", temperature: 3 } as const;
  const head = { kind: "answer-tokens", positive: 3, negative: 4, temperature: 2 } as const;

  test.each<[string, string, Partial<CreateRerankerOptions>, string | undefined, number]>([
    ["nothing", "bert-logit", {}, undefined, 3],
    ["the length", "bert-logit", { maxLength: 60 }, undefined, 0],
    ["the truncation", "bert-logit", { truncation: "longest-first" }, undefined, 0],
    ["the settings", "bert-logit", settings, undefined, 0],
    ["a calibration", "bert-logit", { profile: { calibration } }, undefined, 0],
    ["nothing", "qwen3-yes-no", {}, undefined, 3],
    ["the instruction of the call", "qwen3-yes-no", {}, "mice", 0],
    ["the instruction of the model", "qwen3-yes-no", { instruction: "mice" }, undefined, 0],
    ["the head", "qwen3-yes-no", { profile: { head } }, undefined, 0],
  ])("what differs: %s, of %s", async (_, model, more, instruction, hits) => {
    const cache = createMemoryScoreCache();
    expect(await count(model, cache, {})).toBe(0);
    expect(cache.size).toBe(3);
    expect(await count(model, cache, more, instruction)).toBe(hits);
  });

  test("a variant of a chain finds its own", async () => {
    const scoreCache = createMemoryScoreCache();
    const shared = { model: fixture("bert-logit"), probe: false, scoreCache };
    const failing = backendOf("bert-logit", {
      run: () => {
        throw new BackendRunError({ backend: "toy", problem: "no" });
      },
    });
    await using chain = createFallbackReranker({
      variants: [
        { ...shared, name: "first", backend: failing },
        { ...shared, name: "second", backend: backendOf("bert-logit") },
      ],
    });
    const first = await chain.rerank({ query, documents });
    expect(first).toMatchObject({ variant: "second", usage: { cached: 0 } });
    const second = await chain.rerank({ query, documents });
    expect(second.usage.cached).toBe(documents.length);
    expect(second.results).toEqual(first.results);
  });
});

describe("what is not kept by pair", () => {
  test("scores of a listwise model", async () => {
    const cache = createMemoryScoreCache();
    await using reranker = await open("qwen3-listwise", cache);
    for (let time = 0; time < 2; time += 1) {
      const { warnings, usage } = await reranker.rerank({ query, documents: ["a cat", "a dog"] });
      expect(usage.cached).toBe(0);
      expect(warnings).toContainEqual(
        expect.objectContaining({ code: "score-cache-unused", reason: "listwise" }),
      );
    }
    expect(cache.size).toBe(0);
  });

  test("scores that depend on their batch", async () => {
    const cache = createMemoryScoreCache();
    const backend = backendOf("bert-logit", { capabilities: { rowsAffectScores: true } });
    await using reranker = await open("bert-logit", cache, { backend });
    const { warnings } = await reranker.rerank({ query, documents });
    expect(warnings).toContainEqual(expect.objectContaining({ reason: "rows-affect-scores" }));
    expect(cache.size).toBe(0);
    const alone = backendOf("bert-logit", {
      capabilities: { rowsAffectScores: true, batchSize: { max: 1 } },
    });
    await using one = await open("bert-logit", cache, { backend: alone });
    await one.rerank({ query, documents });
    expect(cache.size).toBe(documents.length);
  });

  test("of a call that fails half way, only what was scored", async () => {
    const cache = createMemoryScoreCache();
    let runs = 0;
    const backend = backendOf("bert-logit", {
      run: (_, sound) => {
        runs += 1;
        if (runs > 3) throw new BackendRunError({ backend: "toy", problem: "is gone" });
        return sound;
      },
    });
    await using failing = await open("bert-logit", cache, { backend });
    await expect(failing.rerank({ query, documents })).rejects.toMatchObject({ code: "backend-run" });
    expect(cache.size).toBeGreaterThan(0);
    expect(cache.size).toBeLessThan(documents.length);
    const kept = cache.size;
    await using plain = await open("bert-logit");
    await using whole = await open("bert-logit", cache);
    const result = await whole.rerank({ query, documents });
    expect(result.usage.cached).toBe(kept);
    expect(said(result)).toEqual(said(await plain.rerank({ query, documents })));
  });
});

describe("long documents", () => {
  test("are kept by passage, whatever becomes of the passages", async () => {
    const cache = createMemoryScoreCache();
    await using plain = await open("bert-logit");
    await using cached = await open("bert-logit", cache);
    const longDocuments = { strategy: "chunk" } as never;
    for (const how of ["chunk", longDocuments, "chunk"]) {
      const call = { query, documents, longDocuments: how as "chunk" };
      const wanted = await plain.rerank(call).catch(() => undefined);
      if (wanted === undefined) continue;
      expect(said(await cached.rerank(call))).toEqual(said(wanted));
    }
    const again = await cached.rerank({ query, documents, longDocuments: "chunk" });
    expect(again.usage.sequences).toBe(0);
    expect(again.usage.cached).toBeGreaterThan(documents.length);
  });
});

describe("probabilities", () => {
  const calibration = { method: "platt", slope: 0.5, intercept: -1 } as const;

  test("of a calibration keep the order, and are named; a threshold counts on their scale", async () => {
    await using reranker = await open("bert-logit", createMemoryScoreCache(), { profile: { calibration } });
    const plain = await reranker.rerank({ query, documents });
    expect(plain.calibration).toBeUndefined();
    for (let time = 0; time < 2; time += 1) {
      const found = await reranker.rerank({ query, documents, activation: "probability" });
      expect(found.scale).toBe("probability");
      expect(found.calibration).toEqual({ ...calibration, source: "given by the caller" });
      expect(found.results.map(({ index, logit }) => [index, logit])).toEqual(
        plain.results.map(({ index, logit }) => [index, logit]),
      );
      for (const { logit, score } of found.results) {
        expect(score).toBeCloseTo(1 / (1 + Math.exp(1 - 0.5 * (logit as number))), 14);
      }
      const middle = found.results[10]?.score as number;
      const above = await reranker.rerank({ query, documents, activation: "probability", threshold: middle });
      expect(above.results).toEqual(found.results.filter(({ score }) => (score as number) >= middle));
      expect(above.belowThreshold).toBe(documents.length - above.results.length);
    }
    const { scores, scale } = await reranker.score([{ query, document: "a cat" }], {
      activation: "probability",
    });
    expect(scale).toBe("probability");
    expect(scores[0]?.score).toBeGreaterThan(0);
  });

  test.each(["bert-cosine-mean", "bert-late", "qwen3-listwise"])(
    "of cosines without a calibration are refused before anything is scored: %s",
    async (model) => {
      await using reranker = await open(model);
      await expect(reranker.rerank({ query, documents, activation: "probability" })).rejects.toMatchObject({
        code: "invalid-input",
        path: "activation",
      });
      await using calibrated = await open(model, undefined, { profile: { calibration } });
      const { scale, results } = await calibrated.rerank({ query, documents, activation: "probability" });
      expect(scale).toBe("probability");
      expect(results).toHaveLength(documents.length);
    },
  );

  test("a profile whose calibration is none is refused", async () => {
    const profile = { calibration: { method: "platt", slope: -1, intercept: 0 } } as const;
    await expect(open("bert-logit", undefined, { profile })).rejects.toMatchObject({ code: "invalid-input" });
  });
});
