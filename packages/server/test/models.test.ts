import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { createFallbackReranker, type Reranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { afterAll, describe, expect, it } from "vitest";
import { kept, openNano, passages, question, startScene } from "./scene.js";

const nano = await openNano();
afterAll(() => nano.dispose());
const request = { query: question, documents: passages };
const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../conformance/fixtures/${name}`, import.meta.url));

/** Opens when it is told to, and counts. */
function gate(reranker: Reranker = nano) {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const calls = { count: 0 };
  return {
    calls,
    open: () => open(),
    model: async () => {
      calls.count += 1;
      await opened;
      return kept(reranker);
    },
  };
}

describe("a model", () => {
  it("is loaded once for all who ask, who get 503 and Retry-After meanwhile", async () => {
    const slow = gate();
    const scene = await startScene({ models: [{ name: "nano", open: slow.model }] });
    expect((await scene.get("/health")).body.models).toEqual({ nano: "unloaded" });
    expect(slow.calls.count).toBe(0);
    const answers = await Promise.all(Array.from({ length: 20 }, () => scene.post("/rerank", request)));
    for (const { status, headers, body } of answers) {
      expect([status, body.error.type]).toEqual([503, "model_loading"]);
      expect(Number(headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    }
    expect((await scene.get("/health")).status).toBe(503);
    slow.open();
    await scene.server.load();
    expect((await scene.post("/rerank", request)).status).toBe(200);
    expect((await scene.get("/health")).status).toBe(200);
    expect(slow.calls.count).toBe(1);
  });

  it("is waited for as long as the server is told", async () => {
    const slow = gate();
    const scene = await startScene({
      models: [{ name: "nano", open: slow.model }],
      loadWaitMilliseconds: 60_000,
    });
    const answer = scene.post("/rerank", request);
    setTimeout(slow.open, 50);
    expect((await answer).status).toBe(200);
  });

  it("that cannot be loaded is 503 without its reason, and is not tried with each request", async () => {
    let tries = 0;
    const open = async (): Promise<Reranker> => {
      tries += 1;
      throw new Error("the secret folder /home/somebody is not there");
    };
    const scene = await startScene({ models: [{ name: "nano", open }], loadWaitMilliseconds: 1000 });
    for (let times = 0; times < 5; times += 1) {
      const { status, headers, text } = await scene.post("/tei/rerank", { query: question, texts: passages });
      expect([status, headers.get("retry-after")]).toEqual([503, "5"]);
      expect(text).not.toContain("secret");
    }
    expect(tries).toBe(1);
    expect((await scene.get("/health")).status).toBe(503);
    expect(scene.log.find(({ event }) => event === "load-failed")?.["problem"]).toContain("secret folder");
    await expect(scene.server.load()).rejects.toThrow("secret folder");
  });

  it("is freed when nobody has asked for a while, and loaded again", async () => {
    let opened = 0;
    let disposed = 0;
    const open = async (): Promise<Reranker> => {
      opened += 1;
      const counted = kept(nano);
      return new Proxy(counted, {
        get: (target, property) =>
          property === "dispose"
            ? async () => {
                disposed += 1;
              }
            : Reflect.get(target, property),
      });
    };
    const scene = await startScene({
      models: [{ name: "nano", open }],
      idleMilliseconds: 40,
      loadWaitMilliseconds: 5000,
    });
    expect((await scene.post("/rerank", request)).status).toBe(200);
    await expect.poll(() => disposed, { timeout: 10_000 }).toBe(1);
    // Freed is well: it would be loaded.
    expect((await scene.get("/health")).body).toEqual({ status: "ok", models: { nano: "unloaded" } });
    expect((await scene.post("/rerank", request)).status).toBe(200);
    expect(opened).toBe(2);
    await scene.listening.close();
    expect(disposed).toBe(2);
  });

  it("is found by its name; without one, or as default, it is the first", async () => {
    const tiny = await (await import("@crossrank/core")).createReranker({
      model: await openModel(fixture("bert-logit")),
      backend: onnx({ workers: 1 }),
      probe: false,
    });
    const scene = await startScene({
      models: [
        { name: "nano", open: async () => kept(nano) },
        { name: "owner/tiny", open: async () => tiny, reference: "./tiny" },
      ],
    });
    await scene.server.load();
    for (const model of [undefined, null, "default", "nano"]) {
      expect((await scene.post("/rerank", { ...request, model })).body.model).toBe("nano");
    }
    const other = await scene.post("/rerank", { ...request, model: "owner/tiny" });
    expect(other.body.model).toBe("owner/tiny");
    // Its scores are logits; clients get the sigmoid.
    const { results } = await tiny.rerank({ query: question, documents: [...passages] });
    for (const [place, { index, relevance_score }] of other.body.results.entries()) {
      expect(index).toBe(results[place]?.index);
      expect(relevance_score).toBeCloseTo(1 / (1 + Math.exp(-(results[place]?.logit as number))), 6);
    }
    const unknown = await scene.post("/rerank", { ...request, model: "toString" });
    expect([unknown.status, unknown.body.error.type]).toEqual([404, "model_not_found"]);
    expect(unknown.body.detail).toContain("nano, owner/tiny");
    const models = await scene.get("/v1/models");
    expect(models.body.data.map((one: { id: string }) => one.id)).toEqual(["nano", "owner/tiny"]);
    expect(models.body.data[1]).toMatchObject({ reference: "./tiny", dtype: "fp32" });
    await scene.listening.close();
  });

  it("of cosines is mapped and says so, or refused, and raw where that is asked for", async () => {
    const { createReranker } = await import("@crossrank/core");
    const cosines = await createReranker({
      model: await openModel(fixture("bert-cosine-mean")),
      backend: onnx({ workers: 1 }),
      probe: false,
    });
    const open = async (): Promise<Reranker> => kept(cosines);
    const mapping = await startScene({ models: [{ name: "bi", open }] });
    const refusing = await startScene({ models: [{ name: "bi", open }], cosine: "refuse" });
    await Promise.all([mapping.server.load(), refusing.server.load()]);
    const { results } = await cosines.rerank({ query: question, documents: [...passages] });
    for (const [path, list, name] of [
      ["/rerank", "results", "relevance_score"],
      ["/voyage/rerank", "data", "relevance_score"],
      ["/tei/rerank", undefined, "score"],
    ] as const) {
      const { body, headers } = await mapping.post(path, request);
      expect(headers.get("crossrank-warnings")).toContain("cosine-mapped");
      for (const [place, one] of (list === undefined ? body : body[list]).entries()) {
        expect(one.index).toBe(results[place]?.index);
        expect(one[name]).toBeCloseTo((1 + (results[place]?.logit as number)) / 2, 6);
      }
      const refused = await refusing.post(path, request);
      expect([refused.status, refused.text]).toEqual([422, expect.stringContaining("raw_scores")]);
    }
    const { body } = await mapping.post("/rerank", request);
    expect([body.scale, body.warnings[0].code]).toEqual(["mapped-cosine", "cosine-mapped"]);
    const raw = await refusing.post("/rerank", { ...request, raw_scores: true });
    expect([raw.status, raw.body.scale]).toEqual([200, "cosine"]);
    await cosines.dispose();
  });

  it.each(["bert-late", "bert-late-original", "modernbert-late"])(
    "of late interaction, %s, is answered by its cosines, and not by their sum over the query",
    async (name) => {
      const { createReranker } = await import("@crossrank/core");
      const late = await createReranker({
        model: await openModel(fixture(name)),
        backend: onnx({ workers: 1, threads: 1 }),
        probe: false,
      });
      const scene = await startScene({ models: [{ name: "late", open: async () => kept(late) }] });
      await scene.server.load();
      const long = Array.from({ length: 30 }, (_, index) => `the weights of model ${index}.`).join(" ");
      const documents = ["the model reads tokens", "", "a backend", long];
      for (const longDocuments of ["truncate", "chunk", { aggregate: "mean-of-top" }] as const) {
        const { results } = await late.rerank({ query: question, documents, longDocuments });
        const asked = {
          query: question,
          documents,
          long_documents: longDocuments,
          ...(longDocuments === "truncate" ? {} : { relevant_spans: { threshold: 0 } }),
        };
        const mapped = await scene.post("/v2/rerank", asked);
        const raw = await scene.post("/v2/rerank", { ...asked, raw_scores: true });
        expect([mapped.body.scale, raw.body.scale]).toEqual(["mapped-cosine", "cosine"]);
        for (const [place, { index, score, logit }] of results.entries()) {
          const [map, own] = [mapped.body.results[place], raw.body.results[place]];
          expect([map.index, own.index]).toEqual([index, index]);
          expect(own.relevance_score).toBeCloseTo(score as number, 5);
          expect(map.relevance_score).toBeCloseTo((1 + (score as number)) / 2, 5);
          // The logit is the sum.
          expect(Math.abs(logit as number)).toBeGreaterThan(Math.abs(score as number));
          if (longDocuments === "chunk") expect(own.relevant_spans[0].score).toBe(own.relevance_score);
        }
      }
      await late.dispose();
    },
  );

  it("that is a chain of variants is answered by the first that works; without one it is 503", async () => {
    const { createReranker } = await import("@crossrank/core");
    expect(createReranker).toBeTypeOf("function");
    const chain = (whenExhausted: "throw" | "passthrough", good: boolean) =>
      createFallbackReranker({
        whenExhausted,
        variants: [
          { name: "missing", model: async () => openModel("/no/such/model"), backend: onnx() },
          ...(good
            ? [
                {
                  name: "int8",
                  model: () => openModel(modelFolder),
                  backend: onnx({ workers: 1 }),
                  dtype: "int8",
                },
              ]
            : []),
        ],
      });
    const scene = await startScene({ models: [{ name: "chain", open: async () => chain("throw", true) }] });
    await scene.server.load();
    const { status, body } = await scene.post("/rerank", request);
    expect([status, body.results[0].index]).toEqual([200, 1]);
    expect(body.warnings.map((one: { code: string }) => one.code)).toContain("variant-fallback");
    expect((await scene.get("/v1/models")).body.data[0].backend).toBe("int8");
    for (const way of ["throw", "passthrough"] as const) {
      const none = await startScene({
        models: [{ name: "chain", open: async () => chain(way, false) }],
        loadWaitMilliseconds: 5000,
      });
      const refused = await none.post("/rerank", request);
      expect([refused.status, refused.body.error.type]).toEqual([
        503,
        expect.stringMatching(/model_unavailable|overloaded/),
      ]);
    }
    await scene.listening.close();
  });
});
