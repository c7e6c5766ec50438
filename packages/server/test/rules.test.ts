import { afterAll, describe, expect, it } from "vitest";
import { kept, openNano, passages, question, startScene } from "./scene.js";

const reranker = await openNano();
afterAll(() => reranker.dispose());
const scene = await startScene({ models: [{ name: "nano", open: async () => kept(reranker) }] });
await scene.server.load();
const request = { query: question, documents: passages };

/** Paths of each dialect, and how they show a refusal. */
const forms = [
  ["superset", "/v1/rerank", {}],
  ["superset", "/v2/rerank", {}],
  ["superset", "/cohere/v2/rerank", {}],
  ["superset", "/vllm/rerank", {}],
  ["superset", "/infinity/rerank", {}],
  ["tei", "/tei/rerank", {}],
  ["voyage", "/voyage/v1/rerank", {}],
  ["voyage", "/v1/rerank", { "x-fern-sdk-name": "voyageai" }],
] as const;

const wrong: readonly (readonly [name: string, status: number, body: unknown])[] = [
  ["no JSON", 400, "{"],
  ["nothing", 400, ""],
  ["a list", 400, []],
  ["a number", 400, "4"],
  ["null", 400, "null"],
  ["no query", 400, { documents: passages }],
  ["a null query", 400, { query: null, documents: passages }],
  ["an empty query", 400, { query: "", documents: passages }],
  ["a query of spaces", 400, { query: " \n\t", documents: passages }],
  ["a query that is a number", 422, { query: 4, documents: passages }],
  ["a query that is a list", 422, { query: [question], documents: passages }],
  ["a query that is an object", 422, { query: { words: 1 }, documents: passages }],
  ["no documents", 400, { query: question }],
  ["null documents", 400, { query: question, documents: null }],
  ["an empty list", 400, { query: question, documents: [] }],
  ["documents that are a text", 422, { query: question, documents: "a" }],
  ["documents that are an object", 422, { query: question, documents: { 0: "a", length: 1 } }],
  ["a null document", 422, { query: question, documents: ["a", null] }],
  ["a document that is a number", 422, { query: question, documents: [1] }],
  ["a document that is a list", 422, { query: question, documents: [["a"]] }],
  ["an empty object", 422, { query: question, documents: [{}] }],
  ["a text that is a number", 422, { query: question, documents: [{ text: 1 }] }],
  ["a picture", 422, { query: question, documents: [{ content: [{ type: "image_url", image_url: "a" }] }] }],
  ["a null part", 422, { query: question, documents: [{ content: [null] }] }],
  ["an object without the fields", 422, { query: question, documents: [{ a: 1 }], rank_fields: ["b"] }],
  ["a field of the prototype", 422, { query: question, documents: [{ a: 1 }], rank_fields: ["constructor"] }],
  ["rank_fields that are a text", 422, { ...request, rank_fields: "text" }],
  ["top_n as a text", 422, { ...request, top_n: "2" }],
  ["a negative top_n", 422, { ...request, top_n: -1 }],
  ["half a top_n", 422, { ...request, top_n: 1.5 }],
  ["an endless top_n", 422, '{"query":"a","documents":["b"],"top_n":1e999}'],
  ["return_documents as a text", 422, { ...request, return_documents: "yes" }],
  ["raw_scores as a number", 422, { ...request, raw_scores: 1 }],
  ["a model that is a number", 422, { ...request, model: 7 }],
  ["an instruction that is a list", 422, { ...request, instruction: [] }],
  ["an instruction that the model has no place for", 422, { ...request, instruction: "be kind" }],
  ["the left cut", 422, { ...request, truncation_direction: "Left" }],
  ["a document that may not be cut", 422, { query: "a", documents: ["word ".repeat(2000)], truncate: false }],
  ["a query that leaves no room", 422, { query: "word ".repeat(2000), documents: ["a"] }],
  ["too many documents", 422, { query: "a", documents: Array(1001).fill("b") }],
  ["another dialect's unscored", 422, { ...request, when_exceeded: "never" }],
  ["a key twice", 400, '{"query":"a","documents":["b"],"query":"c"}'],
  ["a key twice, escaped", 400, '{"query":"a","documents":["b"],"qu\\u0065ry":"c"}'],
  ["a key twice, inside", 400, '{"query":"a","documents":[{"text":"b","text":"c"}]}'],
];

describe("a refusal", () => {
  describe.each(forms)("in the form of %s at %s", (form, path, headers) => {
    it.each(wrong)("for %s", async (_name, status, body) => {
      const answer = await scene.post(path, body, headers);
      expect(answer.status, answer.text).toBe(status);
      const text = form === "superset" ? answer.body.error.message : answer.body.detail;
      expect(text).toMatch(/^.{10,600}$/s);
      expect(answer.text).not.toMatch(/node_modules|\.js:\d|at .*\(|Error:/);
      expect(answer.headers.get("retry-after")).toBeNull();
      if (form === "superset") {
        expect(answer.body).toEqual({
          error: { message: text, type: expect.any(String), code: status },
          message: text,
          detail: text,
        });
      } else if (form === "tei") {
        expect(answer.body).toEqual({
          error: text,
          error_type: expect.stringMatching(/^(empty|validation)$/),
          message: text,
          detail: text,
        });
      } else expect(answer.body).toEqual({ detail: text });
    });
  });

  it("names the limit it is about", async () => {
    const small = await startScene({
      models: [{ name: "nano", open: async () => kept(reranker) }],
      limits: { bodyBytes: 2000, documents: 3, requestTokens: 100 },
    });
    await small.server.load();
    const body = await small.post("/rerank", { ...request, extra: "x".repeat(3000) });
    expect([body.status, body.body.detail]).toEqual([413, expect.stringContaining("2000 bytes")]);
    const documents = await small.post("/rerank", { query: "a", documents: ["a", "b", "c", "d"] });
    expect([documents.status, documents.body.detail]).toEqual([422, expect.stringContaining("may have 3")]);
    const tokens = await small.post("/rerank", { query: "a", documents: ["b".repeat(800)] });
    expect([tokens.status, tokens.body.detail]).toEqual([422, expect.stringContaining("may have 100")]);
  });

  it("has 404 and 405 for what is not there, and never 501", async () => {
    expect((await scene.post("/v3/rerank", request)).status).toBe(404);
    expect((await scene.post("/__proto__/rerank", request)).status).toBe(404);
    expect((await scene.get("/v1/rerank")).headers.get("allow")).toBe("POST");
    expect((await scene.get("/v1/rerank")).status).toBe(405);
    expect((await scene.post("/health", {})).status).toBe(405);
  });
});

describe("a null", () => {
  it("is as if the key were not there", async () => {
    const nulls = Object.fromEntries(
      [
        "model",
        "top_n",
        "return_documents",
        "rank_fields",
        "max_chunks_per_doc",
        "max_tokens_per_doc",
        "instruction",
        "raw_scores",
      ].map((name) => [name, null]),
    );
    const { body } = await scene.post("/v2/rerank", { ...request, ...nulls });
    expect(body.results).toHaveLength(3);
    expect(body.results[0]).toEqual({ index: 1, relevance_score: expect.any(Number) });
  });
});

describe("a score", () => {
  it("is a logit for raw_scores alone", async () => {
    const raw = await scene.post("/rerank", { ...request, raw_scores: true });
    expect(raw.body.scale).toBe("logit");
    const { results } = await reranker.rerank({ query: question, documents: [...passages] });
    expect(raw.body.results.map((one: { index: number }) => one.index)).toEqual(
      results.map(({ index }) => index),
    );
    for (const [place, one] of raw.body.results.entries()) {
      expect(one.relevance_score).toBeCloseTo(results[place]?.logit as number, 5);
    }
  });

  it("is there of every document when no limit is given, or 0", async () => {
    for (const extra of [{}, { top_n: 0 }, { top_n: null }, { top_n: 99 }]) {
      expect((await scene.post("/rerank", { ...request, ...extra })).body.results).toHaveLength(3);
    }
  });

  it("has ties in the order of the request", async () => {
    const { body } = await scene.post("/rerank", { query: question, documents: Array(5).fill(passages[1]) });
    expect(body.results.map((one: { index: number }) => one.index)).toEqual([0, 1, 2, 3, 4]);
  });

  it("comes with what the model read of each document, where that is asked for", async () => {
    const { body } = await scene.post("/rerank", {
      query: question,
      documents: ["word ".repeat(1000), passages[1]],
      return_details: true,
      max_tokens_per_doc: 100,
    });
    const [best, other] = body.results;
    expect(best).toMatchObject({ index: 1, logit: expect.any(Number), truncated_tokens: 0 });
    expect(other.tokens).toBe(256);
    expect(other.truncated_tokens).toBeGreaterThan(500);
    expect(body.warnings.map((one: { code: string }) => one.code).sort()).toEqual([
      "documents-truncated",
      "token-limit-ignored",
    ]);
  });

  it("that is missing is an error, or asked for", async () => {
    // The queue is free, so that the budget ends in the model.
    const many = { query: question, documents: Array(1000).fill("word ".repeat(200)), time_budget_ms: 150 };
    const refused = await scene.post("/rerank", many);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([
      503,
      expect.stringMatching(/^\d+$/),
    ]);
    const passthrough = await scene.post("/rerank", { ...many, when_exceeded: "passthrough" });
    expect(passthrough.status).toBe(200);
    expect(passthrough.body.status).toBe("passthrough");
    expect(passthrough.body.results[0]).toEqual({ index: 0, relevance_score: null });
    for (const path of ["/tei/rerank", "/voyage/rerank", "/infinity/rerank"]) {
      expect((await scene.post(path, { ...many, when_exceeded: "partial" })).status).toBe(422);
    }
  });
});

describe("the server says of itself", () => {
  it("/health, /v1/models, /info and /metrics", async () => {
    expect((await scene.get("/health")).body).toEqual({ status: "ok", models: { nano: "ready" } });
    expect((await scene.get("/v1/models")).body.data[0]).toMatchObject({
      id: "nano",
      object: "model",
      backend: "onnx",
      max_length: 256,
    });
    expect((await scene.get("/info")).body).toMatchObject({
      model_id: "nano",
      model_type: { reranker: {} },
      max_input_length: 256,
      max_client_batch_size: 1000,
      auto_truncate: true,
    });
    const { text } = await scene.get("/metrics");
    for (const line of [
      /^crossrank_requests_total\{dialect="superset",model="nano",status="200"\} \d+$/m,
      /^crossrank_tokens_total\{model="nano"\} \d+$/m,
      /^crossrank_queue_tokens\{model="nano"\} 0$/m,
      /^crossrank_model_loaded\{model="nano"\} 1$/m,
      /^process_resident_memory_bytes \d+$/m,
    ]) {
      expect(text).toMatch(line);
    }
  });

  it("/openapi.json, of the schemas that requests are checked by", async () => {
    const { body } = await scene.get("/openapi.json");
    expect(body.openapi).toBe("3.1.0");
    expect(Object.keys(body.paths)).toEqual(
      expect.arrayContaining([
        "/rerank",
        "/v1/rerank",
        "/v2/rerank",
        "/reranking",
        "/score",
        "/health",
        "/info",
      ]),
    );
    const { properties } = body.components.schemas.RerankRequest;
    for (const name of [
      "query",
      "documents",
      "texts",
      "top_n",
      "top_k",
      "instruction",
      "raw_scores",
      "rank_fields",
    ]) {
      expect(properties).toHaveProperty(name);
    }
    expect(properties.top_n).toMatchObject({ type: "integer", minimum: 0 });
  });

  it("in its log who asked what, without a text", () => {
    const lines = scene.log.filter(({ event }) => event === "request");
    expect(lines.length).toBeGreaterThan(100);
    const text = JSON.stringify(scene.log);
    for (const secret of ["deep", "Apples", "word", "be kind"]) expect(text).not.toContain(secret);
    expect(lines.find(({ status }) => status === 200)).toMatchObject({
      level: "info",
      dialect: "superset",
      model: "nano",
      documents: expect.any(Number),
      tokens: expect.any(Number),
    });
  });
});
