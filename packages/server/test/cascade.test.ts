import { onnx } from "@crossrank/backend-onnx";
import { cascade, createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { beforeAll, describe, expect, it } from "vitest";
import { afterFile } from "../../../test/after-file.js";
import { kept, openNano, type Scene, startScene } from "./scene.js";

const query = "what reads tokens";
const texts = Array.from(
  { length: 9 },
  (_, index) => `${["the model", "a cat", "every thread"][index % 3]} ${index}`,
);
const keep = 4;

let scene: Scene;
/** Relevance of the last stage alone, by index. */
let alone: Map<number, number>;

beforeAll(async () => {
  // Two lengths of one model: two stages that a cache tells apart, with one set of weights.
  const small = await createReranker({
    model: await openModel(modelFolder),
    backend: onnx({ workers: 1, threads: 1 }),
    maxLength: 64,
  });
  const large = await openNano();
  afterFile(async () => {
    await small.dispose();
    await large.dispose();
  });
  const both = kept(cascade([small, large], { keep }));
  scene = await startScene({ models: [{ name: "both", open: async () => both }] });
  await scene.server.load();
  const { results } = await large.rerank({ query, documents: texts });
  alone = new Map(results.map(({ index, logit }) => [index, 1 / (1 + Math.exp(-(logit as number)))]));
});

describe("a cascade behind the dialects", () => {
  it.each([
    ["/v1/rerank", { documents: texts }],
    ["/v2/rerank", { documents: texts, top_n: 9 }],
    ["/rerank", { texts }],
  ])("%s has numbers of one scale, which fall", async (path, body) => {
    const answer = await scene.post(path, { model: "both", query, ...body });
    expect(answer.status).toBe(200);
    const items: { index: number; score?: number; relevance_score?: number }[] =
      answer.body.results ?? answer.body;
    const scores = items.map(({ score, relevance_score: relevance }) => (score ?? relevance) as number);
    expect(items).toHaveLength(keep);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
    for (const [at, { index }] of items.entries())
      expect(scores[at]).toBeCloseTo(alone.get(index) as number, 5);
    expect(answer.headers.get("crossrank-warnings")).toContain("cascade-left-out");
  });

  it("says nothing of what nobody asked for", async () => {
    for (const body of [{ documents: texts, top_n: 2 }, { documents: texts.slice(0, keep) }]) {
      const answer = await scene.post("/v1/rerank", { model: "both", query, ...body });
      expect(answer.body.results).toHaveLength(Math.min(body.documents.length, body.top_n ?? keep));
      expect(answer.body.warnings.map(({ code }: { code: string }) => code)).not.toContain(
        "cascade-left-out",
      );
    }
  });

  it("puts the others behind, without a score, for who allows that", async () => {
    const body = { model: "both", query, documents: texts, when_exceeded: "partial", return_details: true };
    const { status, body: given } = await scene.post("/v1/rerank", body);
    expect(status).toBe(200);
    const results: { relevance_score: number | null; stage: number }[] = given.results;
    expect(results.map(({ stage }) => stage)).toEqual([1, 1, 1, 1, 0, 0, 0, 0, 0]);
    expect(results.every(({ relevance_score: score, stage }) => (score === null) === (stage === 0))).toBe(
      true,
    );
  });

  it("refuses pairs of which some would have no score, and takes those that all have one", async () => {
    const few = await scene.post("/score", { model: "both", text_1: query, text_2: texts.slice(0, keep) });
    expect(few.status).toBe(200);
    expect(few.body.data).toHaveLength(keep);
    const many = await scene.post("/score", { model: "both", text_1: query, text_2: texts });
    expect(many.status).toBe(422);
    expect(many.text).toContain("cascade");
  });
});
