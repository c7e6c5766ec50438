import { createCohere } from "@ai-sdk/cohere";
import { createCohere as createCohere3 } from "@ai-sdk/cohere-3";
import { CohereRerank } from "@langchain/cohere";
import { Document } from "@langchain/core/documents";
import { rerank } from "ai";
import { rerank as rerank6 } from "ai-6";
import { CohereClient, CohereClientV2 } from "cohere-ai";
import { afterAll, describe, expect, it } from "vitest";
import { VoyageAIClient } from "voyageai";
import { kept, openNano, passages, question, startScene } from "./scene.js";

// The SDKs themselves, of npm, against a server that runs. Their captured requests are in dialects.test.ts.

const reranker = await openNano();
afterAll(() => reranker.dispose());
const scene = await startScene({ models: [{ name: "nano", open: async () => kept(reranker) }] });
await scene.server.load();
const base = scene.url;
const documents = [...passages];
const objects = documents.map((text, index) => ({ text, title: `t${index}` }));

async function expected(texts: readonly string[]): Promise<number[]> {
  const { scores } = await reranker.score(texts.map((document) => ({ query: question, document })));
  return scores.map(({ logit }) => 1 / (1 + Math.exp(-(logit as number))));
}
const plain = await expected(documents);

interface Ranked {
  readonly index: number;
  readonly score: number | undefined;
}

/** Best first, as many as were asked for, each score the library's. */
function expectRanking(ranked: readonly Ranked[], scores: readonly number[], count = scores.length): void {
  const order = scores.map((score, index) => ({ score, index })).sort((a, b) => b.score - a.score);
  expect(ranked.map(({ index }) => index)).toEqual(order.slice(0, count).map(({ index }) => index));
  for (const { index, score } of ranked) expect(score).toBeCloseTo(scores[index] as number, 6);
}

describe("cohere-ai", () => {
  it("2 gets the library's scores", async () => {
    for (const options of [{ environment: base }, { baseUrl: base }]) {
      const client = new CohereClientV2({ token: "k", ...options });
      const { results } = await client.rerank({
        model: "nano",
        query: question,
        documents,
        topN: 2,
        maxTokensPerDoc: 256,
      });
      expectRanking(
        results.map(({ index, relevanceScore }) => ({ index, score: relevanceScore })),
        plain,
        2,
      );
    }
  });

  it("1 gets the library's scores and its documents, of texts and of objects", async () => {
    const client = new CohereClient({ token: "k", environment: base });
    const texts = await client.rerank({ model: "nano", query: question, documents, returnDocuments: true });
    expectRanking(
      texts.results.map(({ index, relevanceScore }) => ({ index, score: relevanceScore })),
      plain,
    );
    expect(texts.results[0]?.document).toEqual({ text: documents[texts.results[0]?.index ?? -1] });
    const fields = await client.rerank({
      model: "nano",
      query: question,
      documents: objects,
      rankFields: ["title", "text"],
      returnDocuments: true,
      maxChunksPerDoc: 10,
    });
    expectRanking(
      fields.results.map(({ index, relevanceScore }) => ({ index, score: relevanceScore })),
      await expected(objects.map(({ title, text }) => `${title}\n${text}`)),
    );
  });

  it("throws what is wrong, with its text, at once", async () => {
    const client = new CohereClientV2({ token: "k", environment: base });
    const before = scene.log.length;
    await expect(client.rerank({ model: "nano", query: " ", documents })).rejects.toMatchObject({
      statusCode: 400,
      body: { message: expect.stringContaining("query") },
    });
    expect(scene.log.length - before).toBe(1);
  });
});

describe("@langchain/cohere", () => {
  it("gets the library's scores, although it sends nulls", async () => {
    const compressor = new CohereRerank({
      model: "nano",
      topN: 2,
      // Its cohere-ai is an older one than this package's.
      client: new CohereClient({ token: "k", environment: base }) as never,
    });
    const ranked = await compressor.compressDocuments(
      documents.map((pageContent, index) => new Document({ pageContent, metadata: { index } })),
      question,
    );
    expectRanking(
      ranked.map(({ metadata }) => ({ index: metadata["index"], score: metadata["relevanceScore"] })),
      plain,
      2,
    );
  });
});

describe("the AI SDK", () => {
  it.each(["6", "7"])("%s gets the library's scores, of texts and of objects", async (version) => {
    const options = { apiKey: "k", baseURL: `${base}/v2` };
    const call = async (texts: readonly (string | object)[]): Promise<Ranked[]> => {
      const request = { documents: [...texts] as string[], query: question };
      const { ranking } =
        version === "6"
          ? await rerank6({ model: createCohere3(options).reranking("nano"), ...request })
          : await rerank({ model: createCohere(options).reranking("nano"), ...request });
      return ranking.map(({ originalIndex, score }) => ({ index: originalIndex, score }));
    };
    expectRanking(await call(documents), plain);
    // The SDK sends objects as JSON in strings, and so they are scored.
    expectRanking(await call(objects), await expected(objects.map((one) => JSON.stringify(one))));
  });
});

describe("voyageai", () => {
  it("gets the library's scores and its documents", async () => {
    const client = new VoyageAIClient({ apiKey: "k", environment: `${base}/v1`, baseUrl: `${base}/v1` });
    const { data = [], usage } = await client.rerank({
      model: "nano",
      query: question,
      documents,
      topK: 2,
      returnDocuments: true,
      truncation: true,
    });
    expectRanking(
      data.map(({ index, relevanceScore }) => ({ index: index ?? -1, score: relevanceScore })),
      plain,
      2,
    );
    expect(data[0]?.document).toBe(documents[data[0]?.index ?? -1]);
    expect(usage?.totalTokens).toBeGreaterThan(0);
  });
});

describe("a client that retries", () => {
  it("comes again when the model has loaded, as Retry-After says", async () => {
    const lazy = await startScene({ models: [{ name: "nano", open: () => openNano() }] });
    const client = new CohereClientV2({ token: "k", environment: lazy.url });
    const { results } = await client.rerank(
      { model: "nano", query: question, documents },
      { maxRetries: 8, timeoutInSeconds: 60 },
    );
    expectRanking(
      results.map(({ index, relevanceScore }) => ({ index, score: relevanceScore })),
      plain,
    );
    expect(lazy.log.some(({ status }) => status === 503)).toBe(true);
    await lazy.listening.close();
  });
});
