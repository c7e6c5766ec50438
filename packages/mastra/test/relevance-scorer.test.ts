import { MastraVector, type QueryResult, type QueryVectorParams } from "@mastra/core/vector";
import { createVectorQueryTool, rerankWithScorer } from "@mastra/rag";
import { InvalidInputError, openReranker, type Reranker } from "crossrank";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CrossrankRelevanceScorer } from "../src/index.js";

const query = "how do vaccines work";
const texts = ["Lyon is a city in France.", "A vaccine trains the immune system.", "Bread is baked."];
const found: QueryResult[] = texts.map((text, index) => ({
  id: `note-${index}`,
  score: 0.9 - index / 10,
  metadata: { text },
}));

let reranker: Reranker;
let expected: number[];
beforeAll(async () => {
  reranker = await openReranker("nano");
  const pairs = texts.map((document) => ({ query, document }));
  expected = (await reranker.score(pairs)).scores.map(({ score }) => score as number);
});
afterAll(() => reranker.dispose());

/** The same model, and how often it was run. */
function counted(): { readonly reranker: Reranker; readonly calls: number[] } {
  const calls: number[] = [];
  const reranking = new Proxy(reranker, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property === "score") {
        return (...args: Parameters<Reranker["score"]>) => {
          calls.push(args[0].length);
          return target.score(...args);
        };
      }
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { reranker: reranking, calls };
}

describe("Mastra's rerankWithScorer", () => {
  test("has the library's scores, of one call of the model", async () => {
    const { reranker: model, calls } = counted();
    const options = { topK: 3, weights: { semantic: 1, vector: 0, position: 0 } };
    const scorer = new CrossrankRelevanceScorer(model);
    const ranked = await rerankWithScorer({ results: found, query, scorer, options });
    expect(calls).toEqual([3]);
    expect(ranked[0]?.result).toBe(found[1]);
    for (const { result, score, details } of ranked) {
      const index = found.indexOf(result);
      expect(details.semantic).toBe(expected[index]);
      expect(score).toBe(expected[index]);
    }
  });

  test("mixes them with the vector store's", async () => {
    await using scorer = new CrossrankRelevanceScorer("nano");
    const ranked = await rerankWithScorer({ results: found, query, scorer, options: {} });
    const vaccine = ranked.find(({ result }) => result === found[1]);
    expect(vaccine?.score).toBeCloseTo(0.4 * (expected[1] ?? 0) + 0.4 * 0.8 + 0.2 * (2 / 3), 10);
  });
});

test("the vector query tool reranks with it", async () => {
  class Notes extends MastraVector {
    constructor() {
      super({ id: "notes" });
    }
    override async query(_: QueryVectorParams): Promise<QueryResult[]> {
      return found;
    }
    override async upsert(): Promise<string[]> {
      return [];
    }
    override async createIndex(): Promise<void> {}
    override async listIndexes(): Promise<string[]> {
      return ["notes"];
    }
    override async describeIndex(): Promise<{ dimension: number; count: number }> {
      return { dimension: 2, count: found.length };
    }
    override async deleteIndex(): Promise<void> {}
    override async updateVector(): Promise<void> {}
    override async deleteVector(): Promise<void> {}
    override async deleteVectors(): Promise<void> {}
  }
  const tool = createVectorQueryTool({
    vectorStoreName: "notes",
    vectorStore: new Notes(),
    indexName: "notes",
    model: {
      specificationVersion: "v2",
      provider: "test",
      modelId: "constant",
      maxEmbeddingsPerCall: 8,
      supportsParallelCalls: true,
      doEmbed: async ({ values }: { values: string[] }) => ({ embeddings: values.map(() => [1, 0]) }),
    } as Parameters<typeof createVectorQueryTool>[0]["model"],
    reranker: {
      model: new CrossrankRelevanceScorer(reranker),
      options: { topK: 2, weights: { semantic: 1, vector: 0, position: 0 } },
    },
  });
  const answer: unknown = await (tool.execute as (input: unknown, context: unknown) => Promise<unknown>)(
    { queryText: query, topK: 3 },
    {},
  );
  expect(answer).toMatchObject({
    relevantContext: [{ text: texts[1] }, expect.anything()],
    sources: [{ id: "note-1", score: expected[1] }, expect.anything()],
  });
});

test("a chunk of spaces alone does not take a search's other results with it", async () => {
  const scorer = new CrossrankRelevanceScorer(reranker);
  const blank: QueryResult = { id: "blank", score: 0.1, metadata: { text: " \n" } };
  const options = { topK: 4, weights: { semantic: 1, vector: 0, position: 0 } };
  const ranked = await rerankWithScorer({ results: [...found, blank], query, scorer, options });
  expect(ranked.map(({ result }) => result)).toHaveLength(4);
  expect(ranked[0]?.result).toBe(found[1]);
  const alone = await scorer.rerank({ results: [...found, blank], query });
  expect(alone.map(({ score }) => score)).toEqual(ranked.map(({ score }) => score));
});

describe("getRelevanceScore", () => {
  test("puts calls of one turn together, whatever their queries, and those of the next into the next", async () => {
    const { reranker: model, calls } = counted();
    const scorer = new CrossrankRelevanceScorer(model);
    const queries = [query, "bread", "France"];
    const scores = await Promise.all(
      queries.flatMap((one) => texts.map((text) => scorer.getRelevanceScore(one, text))),
    );
    const pairs = queries.flatMap((one) => texts.map((document) => ({ query: one, document })));
    expect(scores).toEqual((await reranker.score(pairs)).scores.map(({ score }) => score));
    expect(calls).toEqual([9]);
    const [text = ""] = texts;
    expect(await scorer.getRelevanceScore(query, text)).toBe(expected[0]);
    expect(calls).toEqual([9, 1]);
  });

  test("fails alone where its own text is wrong", async () => {
    const scorer = new CrossrankRelevanceScorer(reranker);
    const outcomes = await Promise.allSettled([
      scorer.getRelevanceScore(query, texts[1] ?? ""),
      scorer.getRelevanceScore(query, ""),
      scorer.getRelevanceScore("  ", "text"),
      scorer.getRelevanceScore(query, undefined as unknown as string),
      scorer.getRelevanceScore("vaccine ".repeat(900), "text"),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", ...Array(4).fill("rejected")]);
    const [, ...reasons] = outcomes.map((one) => (one.status === "rejected" ? one.reason.code : ""));
    expect(reasons).toEqual(["invalid-input", "invalid-input", "invalid-input", "document-not-scored"]);
  });

  test("rejects every call when the model cannot be opened, or is disposed", async () => {
    const scorer = new CrossrankRelevanceScorer("./no-such-folder");
    const outcomes = await Promise.allSettled(texts.map((text) => scorer.getRelevanceScore(query, text)));
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    await scorer.dispose();
    await expect(scorer.getRelevanceScore(query, "text")).rejects.toMatchObject({ code: "disposed" });
  });

  test("gives numbers from 0 to 1 of a model whose scores are logits", async () => {
    await using logits = await openReranker("nano", {
      profile: { specificationVersion: "1", activation: "identity" },
    });
    const scorer = new CrossrankRelevanceScorer(logits);
    const scores = await Promise.all(texts.map((text) => scorer.getRelevanceScore(query, text)));
    for (const [index, score] of scores.entries())
      expect(score).toBeCloseTo(expected[index] ?? Number.NaN, 12);
  });
});

describe("rerank", () => {
  test("orders by the model alone", async () => {
    const scorer = new CrossrankRelevanceScorer(reranker);
    const ranked = await scorer.rerank({ results: found, query, topK: 2 });
    const { results } = await reranker.rerank({ query, documents: texts, topN: 2 });
    expect(ranked.map(({ score }) => score)).toEqual(results.map(({ score }) => score));
    expect(ranked[0]).toEqual({
      result: found[1],
      score: expected[1],
      details: { semantic: expected[1], vector: 0.8, position: 1 - 1 / 3 },
    });
    expect(await scorer.rerank({ results: [], query })).toEqual([]);
  });

  test("takes the text from where it is, and refuses a result without", async () => {
    const scorer = new CrossrankRelevanceScorer(reranker);
    const stored = texts.map((document, index) => ({ id: String(index), score: 1, document }));
    expect((await scorer.rerank({ results: stored, query }))[0]?.result).toBe(stored[1]);
    const bodies = texts.map((body, index) => ({ id: String(index), score: 1, metadata: { body } }));
    const text = (result: QueryResult): string => String(result.metadata?.["body"]);
    expect((await scorer.rerank({ results: bodies, query, text }))[0]?.result).toBe(bodies[1]);
    const refusal = await scorer.rerank({ results: bodies, query }).catch((error: unknown) => error);
    expect(InvalidInputError.isInstance(refusal)).toBe(true);
    expect(String(refusal)).toMatch(/results\[0\].*metadata\.text/);
    for (const other of ["", " ", 5, null, { text: "x" }]) {
      const both = stored.map((one) => ({ ...one, metadata: { text: other } }));
      expect((await scorer.rerank({ results: both, query }))[0]?.result).toBe(both[1]);
    }
  });

  test.each([
    [{ results: found, query, topN: 1 }, "write topK"],
    [{ results: found, query, topk: 1 }, "write topK"],
    [{ results: found, query, top_k: 1 }, "write topK"],
    [{ results: found, query, topK: 0 }, "topK must be"],
    [{ results: found, query, topK: "1" }, "topK must be"],
    [{ results: found, query, text: "body" }, "text must be a function"],
    [{ results: found, query, text: () => ({ text: "x" }) }, "results[0] has no text"],
    [{ results: [...found, null], query }, "results[3] must be"],
    [{ results: undefined, query }, "results must be an array"],
    [{ query }, "results must be an array"],
    [{ results: found }, "query"],
    [null, "must be an object"],
  ])("refuses the wrong call %#", async (options, message) => {
    const scorer = new CrossrankRelevanceScorer(reranker);
    const call = scorer.rerank(options as unknown as Parameters<typeof scorer.rerank>[0]);
    await expect(call).rejects.toBeInstanceOf(InvalidInputError);
    await expect(call).rejects.toThrow(message);
  });

  test("stops when the signal says so", async () => {
    const stop = AbortSignal.abort(new Error("enough"));
    const scorer = new CrossrankRelevanceScorer(reranker);
    await expect(scorer.rerank({ results: found, query, signal: stop })).rejects.toThrow("enough");
  });
});

test.each([
  [{ topK: 1 }, "it is an option of scorer.rerank"],
  [{ bckend: "onnx" }, "write backend"],
  [null, "must be an object"],
])("options %j are refused before a model is opened", (options, message) => {
  const construct = () => new CrossrankRelevanceScorer("nano", options as object);
  expect(construct).toThrow(InvalidInputError);
  expect(construct).toThrow(message);
});
