import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { kept, openNano, passages, question, startScene } from "./scene.js";

/** Request bodies and headers of real clients, captured against an echo server on 2026-11-29. */
interface Capture {
  readonly client: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  // biome-ignore lint/suspicious/noExplicitAny: as captured
  readonly body: any;
}

const captures: readonly Capture[] = JSON.parse(
  readFileSync(new URL("fixtures/captures.json", import.meta.url), "utf8"),
);

const reranker = await openNano();
afterAll(() => reranker.dispose());
const scene = await startScene({ models: [{ name: "nano", open: async () => kept(reranker) }] });
await scene.server.load();

const outOfScope = (client: string): boolean => /deepinfra|nvidia_nim/.test(client);

/** What the library says of the same texts, by index, as a probability. */
async function library(query: string, documents: readonly string[]): Promise<Map<number, number>> {
  const { scores } = await reranker.score(documents.map((document) => ({ query, document })));
  return new Map(scores.map(({ logit }, index) => [index, 1 / (1 + Math.exp(-(logit as number)))]));
}

/** The texts that a captured request means. */
function textsOf({ body }: Capture): string[] {
  return (body.documents ?? body.texts).map((document: string | Record<string, string>) => {
    if (typeof document === "string") return document;
    return body.rank_fields.map((name: string) => document[name]).join("\n");
  });
}

describe("what a client sends", () => {
  it("is here as it was captured", () => {
    expect(captures.length).toBe(44);
  });

  it.each(captures.filter(({ client }) => outOfScope(client)))(
    "$client at $url has no address here",
    async ({ url, body, headers }) => {
      const answer = await scene.post(url, body, headers);
      expect(answer.status).toBe(404);
      expect(answer.body).toMatchObject({ error: { code: 404 }, message: expect.any(String) });
    },
  );

  it.each(captures.filter(({ client }) => !outOfScope(client)))(
    "$client at $url is answered",
    async (capture) => {
      const { client, url, body, headers } = capture;
      const { "accept-encoding": encoding = "", ...others } = headers;
      const prefix = client === "litellm infinity" ? "/infinity" : "";
      const answer = await scene.post(prefix + url, body, { ...others, "accept-encoding": encoding });
      expect(answer.status, answer.text).toBe(200);
      expect(answer.headers.get("content-encoding")).toBeNull();

      const texts = textsOf(capture);
      const expected = await library(body.query, texts);
      const isTei = body.texts !== undefined;
      const isVoyage = Object.hasOwn(body, "top_k") || Object.hasOwn(body, "truncation");
      const items = isTei ? answer.body : isVoyage ? answer.body.data : answer.body.results;
      const wanted = body.top_n ?? body.top_k ?? texts.length;
      expect(items).toHaveLength(Math.min(wanted, texts.length));
      let before = Number.POSITIVE_INFINITY;
      for (const item of items) {
        const score = isTei ? item.score : item.relevance_score;
        expect(score).toBeCloseTo(expected.get(item.index) as number, 6);
        expect(score).toBeGreaterThanOrEqual(0);
        expect(score).toBeLessThanOrEqual(1);
        expect(score).toBeLessThanOrEqual(before);
        before = score;
        const asked = body.return_documents ?? body.return_text ?? false;
        const text = texts[item.index];
        const shown = isTei ? item.text : item.document;
        if (!asked) expect(shown).toBeUndefined();
        else expect(shown).toEqual(isTei || isVoyage || prefix !== "" ? text : { text });
      }
      if (isTei) return;
      expect(answer.body.model).toBe("nano");
      expect(answer.body.usage.total_tokens).toBeGreaterThan(0);
      if (isVoyage) return;
      if (prefix === "") {
        expect(answer.body).toMatchObject({
          id: expect.any(String),
          object: "list",
          meta: {
            api_version: { version: url.startsWith("/v2") ? "2" : "1" },
            billed_units: { search_units: 1 },
          },
          scale: "probability",
          status: "reranked",
          warnings: [],
        });
      }
    },
  );

  it("AIKit asks of the seed is answered with its three best", async () => {
    const answer = await scene.post("/v1/rerank", {
      model: "default",
      top_n: 3,
      query: question,
      documents: [...passages, "Neural networks learn in layers."],
    });
    expect(answer.body.results).toHaveLength(3);
    expect(answer.body.results[0].index).toBe(1);
    const asTei = await scene.post("/v1/rerank", { query: question, texts: passages });
    expect(asTei.body[0]).toEqual({ index: 1, score: expect.any(Number) });
  });
});

describe("the dialect", () => {
  const request = { query: question, documents: passages, return_documents: true, top_n: 1 };

  it.each([
    ["/cohere/v2/rerank", "results"],
    ["/cohere/rerank", "results"],
    ["/jina/v1/rerank", "results"],
    ["/voyage/v1/rerank", "data"],
    ["/infinity/rerank", "results"],
    ["/vllm/v1/rerank", "results"],
    ["/tei/rerank", undefined],
    ["/reranking", "results"],
    ["/v1/reranking", "results"],
    ["/v1/rerank/", "results"],
  ])("of %s is the path's", async (path, list) => {
    const { status, body } = await scene.post(path.replace(/\/$/, ""), request);
    expect(status).toBe(200);
    const [first] = list === undefined ? body : body[list];
    expect(first.index).toBe(1);
    const text = passages[1];
    if (path.startsWith("/tei")) expect(first).toEqual({ index: 1, score: expect.any(Number), text });
    else if (/voyage|infinity/.test(path)) expect(first.document).toBe(text);
    else if (path.startsWith("/vllm")) expect(first.document).toEqual({ text, multi_modal: null });
    else expect(first.document).toEqual({ text });
  });

  it("of vLLM has every document, also where none is asked for", async () => {
    const { body } = await scene.post("/vllm/rerank", { query: question, documents: passages });
    expect(body.results.map((one: { document: { text: string } }) => one.document.text).sort()).toEqual(
      [...passages].sort(),
    );
  });

  it.each([
    [{ top_k: null }, "data"],
    [{ top_k: 2 }, "data"],
    [{ truncation: null }, "data"],
    [{ truncation: true }, "data"],
    [{ top_n: 2 }, "results"],
    [{ texts: null }, "results"],
    [{ texts: passages }, "results"],
  ])("of a body with %j is told by its keys", async (extra, list) => {
    const { body } = await scene.post("/v1/rerank", { query: question, documents: passages, ...extra });
    expect(body[list][0].index).toBe(1);
  });

  it("of voyageai is told by its header, also where the body is broken", async () => {
    const headers = { "x-fern-sdk-name": "voyageai" };
    expect(
      (await scene.post("/v1/rerank", { query: question, documents: passages }, headers)).body.data[0].index,
    ).toBe(1);
    expect((await scene.post("/v1/rerank", "{", headers)).body).toEqual({
      detail: expect.stringContaining("not JSON"),
    });
  });

  it("of TEI has its headers", async () => {
    const { headers } = await scene.post("/rerank", { query: question, texts: passages });
    for (const name of [
      "compute-time",
      "compute-characters",
      "compute-tokens",
      "total-time",
      "tokenization-time",
      "queue-time",
      "inference-time",
    ]) {
      expect(headers.get(`x-${name}`), name).toMatch(/^\d+$/);
    }
    expect(headers.get("x-compute-type")).toBe("cpu");
  });
});

describe("documents", () => {
  const [apples = "", learning = ""] = passages;
  const same = [apples, learning];
  it.each([
    ["{text}", same.map((text) => ({ text, id: 7, metadata: { deep: [1] } }))],
    ["{content}", same.map((content) => ({ content }))],
    ["{content: [{type, text}]}", same.map((text) => ({ content: [{ type: "text", text }] }))],
    ["strings and objects together", [apples, { text: learning }]],
    ["{text} beside a null content", same.map((text) => ({ text, content: null }))],
  ])("as %s score as their text", async (_name, documents) => {
    const { body } = await scene.post("/v1/rerank", { query: question, documents });
    const expected = await library(question, same);
    for (const { index, relevance_score } of body.results) {
      expect(relevance_score).toBeCloseTo(expected.get(index) as number, 6);
    }
  });

  it("are read by rank_fields in their order, and JSON in a string is text", async () => {
    const document = { title: "Deep learning", text: "is a subset of machine learning.", year: 2012 };
    const { body } = await scene.post("/v1/rerank", {
      query: question,
      documents: [document, JSON.stringify(document)],
      rank_fields: ["title", "year", "missing"],
    });
    const expected = await library(question, ["Deep learning\n2012", JSON.stringify(document)]);
    for (const { index, relevance_score } of body.results) {
      expect(relevance_score).toBeCloseTo(expected.get(index) as number, 6);
    }
  });

  it("may be empty texts", async () => {
    const { status, body } = await scene.post("/v1/rerank", { query: question, documents: ["", learning] });
    expect(status).toBe(200);
    expect(body.warnings).toEqual([{ code: "empty-documents", message: expect.any(String) }]);
  });
});

const expectedScores = await library(question, passages);

describe("/score", () => {
  const expected = expectedScores;
  it.each([
    ["/score", { text_1: question, text_2: passages }],
    ["/v1/score", { text_1: [question], text_2: passages }],
    ["/score", { data_1: question, data_2: passages }],
    ["/score", { queries: question, documents: passages }],
    ["/score", { queries: passages.map(() => question), items: passages }],
    ["/vllm/score", { queries: question, items: passages.map((text) => ({ text })), model: "any" }],
  ])("%s %j gives one score a pair, in their order", async (path, body) => {
    const { status, body: answer } = await scene.post(path, body);
    expect(status).toBe(200);
    expect(answer).toMatchObject({ object: "list", model: "nano" });
    expect(answer.data).toHaveLength(passages.length);
    for (const [place, { index, object, score }] of answer.data.entries()) {
      expect([index, object]).toEqual([place, "score"]);
      expect(score).toBeCloseTo(expected.get(index) as number, 6);
    }
  });

  it.each([
    [400, {}],
    [400, { text_1: "a" }],
    [400, { text_1: "a", text_2: [] }],
    [422, { text_1: ["a", "b"], text_2: ["c", "d", "e"] }],
    [422, { text_1: ["a", "b"], text_2: "c" }],
    [422, { text_1: " ", text_2: "c" }],
    [422, { text_1: 4, text_2: "c" }],
    [422, { text_1: "a", text_2: [null] }],
  ])("is refused with %i for %j", async (status, body) => {
    const answer = await scene.post("/score", body);
    expect(answer.status).toBe(status);
    expect(answer.body.error).toMatchObject({ code: status, message: expect.any(String) });
  });

  it("gives logits for raw_scores, and for use_activation false", async () => {
    const { scores } = await reranker.score(passages.map((document) => ({ query: question, document })));
    for (const extra of [{ raw_scores: true }, { use_activation: false }]) {
      const { body } = await scene.post("/score", { text_1: question, text_2: passages, ...extra });
      for (const { index, score } of body.data) expect(score).toBeCloseTo(scores[index]?.logit as number, 5);
      expect(body.scale).toBe("logit");
    }
  });
});
