import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { afterAll, describe, expect, it } from "vitest";
import { createServer, estimateTokens } from "../src/index.js";
import { type Answer, kept, openNano, startScene } from "./scene.js";

const nano = await openNano();
afterAll(() => nano.dispose());
const models = [{ name: "nano", open: async () => kept(nano) }];
const scene = await startScene({ models });
const chunking = await startScene({ models, longDocuments: { passageTokens: 100 } });
await scene.server.load();
await chunking.server.load();

const query = "how many people live in berlin";
const filler = [
  "The museum opened in 1897 🏛️ and keeps a collection of maps.",
  "Trains leave the station every hour on weekdays.",
  "The garden is planted with roses and old apple trees.",
];
const answer =
  "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.";
const long = `${Array.from({ length: 60 }, (_, index) => filler[index % 3]).join(" ")} ${answer}`;
const documents = [long, "The number of inhabitants of New York City."];

/** As Python cuts it. */
const cut = (text: string, { start, end }: { start: number; end: number }): string =>
  [...text].slice(start, end).join("");

describe("long documents", () => {
  it("are cut unless somebody asks for passages", async () => {
    const plain = await scene.post("/v2/rerank", { query, documents });
    expect(plain.body.results.map(({ index }: { index: number }) => index)).toEqual([1, 0]);
    expect(plain.body.results[0]).not.toHaveProperty("relevant_spans");
    const asked = await scene.post("/v2/rerank", { query, documents, long_documents: "chunk" });
    expect(asked.body.results.map(({ index }: { index: number }) => index)).toEqual([0, 1]);
    expect(asked.body.usage.total_tokens).toBeGreaterThan(plain.body.usage.total_tokens * 2);
    const all = await chunking.post("/v2/rerank", { query, documents });
    expect(all.body.results[0].index).toBe(0);
    const not = await chunking.post("/v2/rerank", { query, documents, long_documents: "truncate" });
    expect(not.body.results).toEqual(plain.body.results);
  });

  it("have the spans that Cohere's clients ask for", async () => {
    const { body } = await scene.post("/v2/rerank", {
      ...{ query, documents, relevant_spans: { mode: "enabled", threshold: 0 } },
    });
    const [first, second] = body.results;
    expect(first.index).toBe(0);
    expect(first.relevant_spans.length).toBeGreaterThan(2);
    expect(cut(long, first.relevant_spans[0])).toContain("3,520,031");
    expect(first.relevant_spans[0].score).toBe(first.relevance_score);
    for (const { score } of first.relevant_spans) expect(score >= 0 && score <= 1).toBe(true);
    expect(second.relevant_spans).toEqual([
      { start: 0, end: documents[1]?.length, score: second.relevance_score },
    ]);
    const few = await scene.post("/v2/rerank", {
      query,
      documents,
      long_documents: { passage_tokens: 100 },
      relevant_spans: { mode: "enabled", threshold: 0.05, max_spans: 1 },
    });
    expect(few.body.results[0].relevant_spans).toHaveLength(1);
    expect(few.body.results[1].relevant_spans).toEqual([]);
    const off = await scene.post("/v2/rerank", { query, documents, relevant_spans: { mode: "disabled" } });
    expect(off.body.results[0]).not.toHaveProperty("relevant_spans");
    const none = await scene.post("/v2/rerank", { query, documents, relevant_spans: null });
    expect(none.body.results[0]).not.toHaveProperty("relevant_spans");
  });

  it("are scored by passages in every dialect", async () => {
    for (const path of ["/tei/rerank", "/voyage/v1/rerank", "/infinity/rerank", "/vllm/v1/rerank"]) {
      const list = path.startsWith("/tei") ? { texts: documents } : { documents };
      const { body } = await scene.post(path, { query, ...list, long_documents: "chunk" });
      const [first] = Array.isArray(body) ? body : (body.results ?? body.data);
      expect(first.index, path).toBe(0);
    }
    const scores = await scene.post("/v1/score", {
      text_1: query,
      text_2: documents,
      long_documents: "chunk",
    });
    expect(scores.body.data[0].score).toBeGreaterThan(scores.body.data[1].score);
  });

  it("have at most as many passages as Cohere's field says, where there are passages", async () => {
    const { body } = await chunking.post("/v1/rerank", { query, documents, max_chunks_per_doc: 1 });
    expect(body.warnings.map(({ code }: { code: string }) => code)).toContain("documents-truncated");
    const { body: cut } = await scene.post("/v1/rerank", { query, documents, max_chunks_per_doc: 10 });
    expect(cut.results[0].index).toBe(1);
  });

  it("are refused with 422 where the request is wrong", async () => {
    const wrong: readonly [object, RegExp][] = [
      [{ long_documents: "cut" }, /long_documents/],
      [{ long_documents: { aggregate: "median" } }, /long_documents/],
      [{ long_documents: { passage_tokens: 3 } }, /long_documents\.passage_tokens must be/],
      [{ long_documents: { top: 3 } }, /long_documents\.top/],
      [{ long_documents: { size: 3 } }, /long_documents/],
      [{ relevant_spans: { threshold: 2 } }, /relevant_spans\.threshold/],
      [{ relevant_spans: "enabled" }, /relevant_spans/],
      [{ relevant_spans: { mode: "enabled" }, long_documents: "truncate" }, /relevant_spans/],
    ];
    for (const [fields, message] of wrong) {
      const { status, body } = await scene.post("/v2/rerank", { query, documents, ...fields });
      expect(status, JSON.stringify(fields)).toBe(422);
      expect(body.message).toMatch(message);
    }
    expect(() => createServer({ models, longDocuments: "whole" as never })).toThrow(/longDocuments/);
  });

  it("count in the limits with all of their passages", async () => {
    const small = await startScene({ models, limits: { requestTokens: 1000 } });
    await small.server.load();
    const { status } = await small.post("/v2/rerank", { query, documents });
    expect(status).toBe(200);
    const refused = await small.post("/v2/rerank", { query, documents, long_documents: "chunk" });
    expect(refused.status).toBe(422);
    expect(refused.body.message).toMatch(/tokens/);
  });

  it("count in the limits by passages as short as the request asks for", async () => {
    const text = long.repeat(2);
    const reranked = async (query: string, longDocuments: object) => {
      const pairs = [{ query, document: text }];
      const { tokens } = (await nano.score(pairs, { longDocuments })).usage;
      return { tokens, estimate: estimateTokens(pairs, nano.profile.maxLength, longDocuments) };
    };
    const questions = [query, `${query} and ${filler.join(" and ")}`];
    for (const [passageTokens, overlapTokens] of [
      [8, 0],
      [16, 1000],
      [100, 64],
    ] as const) {
      for (const one of questions) {
        const settings = { passageTokens, overlapTokens, maxPassages: 40 };
        const { tokens, estimate } = await reranked(one, settings);
        const name = `${passageTokens} ${overlapTokens} ${one.length}: ${tokens}, ${estimate}`;
        expect(estimate / tokens, name).toBeGreaterThan(0.6);
        expect(estimate / tokens, name).toBeLessThan(1.7);
      }
    }
    // The same text by long passages is within the limit.
    const small = await startScene({ models, limits: { requestTokens: 6000 } });
    await small.server.load();
    const asked = { query, documents: [text.repeat(2)] };
    const settings = { passage_tokens: 8, max_passages: 65_536 };
    const refused = await small.post("/v2/rerank", { ...asked, long_documents: settings });
    expect([refused.status, refused.body.message]).toEqual([422, expect.stringMatching(/tokens/)]);
  });

  it("are read as the model's reranker does where only spans or their number are asked for", async () => {
    const own = { aggregate: "mean-of-top", top: 2, passageTokens: 60, overlapTokens: 10 } as const;
    const reranker = await createReranker({
      model: await openModel(modelFolder),
      backend: onnx({ workers: 1, threads: 1 }),
      longDocuments: own,
      probe: false,
    });
    const its = await startScene({ models: [{ name: "own", open: async () => kept(reranker) }] });
    await its.server.load();
    const plain = await its.post("/v2/rerank", { query, documents });
    const spans = await its.post("/v2/rerank", {
      ...{ query, documents, relevant_spans: { threshold: 0, max_spans: 100_000 } },
    });
    const scores = ({ body }: Answer) =>
      body.results.map(({ relevance_score: score }: { relevance_score: number }) => score);
    expect(scores(spans)).toEqual(scores(plain));
    expect(spans.body.results[0].relevant_spans.length).toBeGreaterThan(5);
    const few = await its.post("/v2/rerank", { query, documents, max_chunks_per_doc: 2 });
    expect(few.body.warnings.map(({ code }: { code: string }) => code)).toContain("documents-truncated");
    await reranker.dispose();
  });
});
