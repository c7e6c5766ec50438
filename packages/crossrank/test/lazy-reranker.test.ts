import { DisposedError, InvalidInputError, type Reranker } from "@crossrank/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  DocumentNotScoredError,
  lazyReranker,
  openReranker,
  requireAdapterOptions,
  requireScore,
  toUnitScore,
} from "../src/index.js";

const query = "how do vaccines work";
const documents = ["Lyon is a city in France.", "A vaccine trains the immune system.", "Bread is baked."];

let own: Reranker;
beforeAll(async () => {
  own = await openReranker("nano");
});
afterAll(() => own.dispose());

describe("a model that is named", () => {
  test("is opened once, however many calls wait, and scores as the library does", async () => {
    let readings = 0;
    await using lazy = lazyReranker("nano", {
      get onProgress() {
        // Read when the model is opened.
        readings += 1;
        return undefined;
      },
    });
    await lazy.load();
    const ofOneOpening = readings;
    const results = await Promise.all(
      Array.from({ length: 5 }, () => lazy.rerank({ query, documents, topN: 2 })),
    );
    const { results: expected } = await own.rerank({ query, documents, topN: 2 });
    for (const result of results) expect(result.results).toEqual(expected);
    expect(ofOneOpening).toBeGreaterThan(0);
    expect(readings).toBe(ofOneOpening);
    const pairs = documents.map((document) => ({ query, document }));
    expect((await lazy.score(pairs)).scores).toEqual((await own.score(pairs)).scores);
  });

  test("ranks for many queries, by passages, with the defaults that it was given, and drains", async () => {
    const lazy = lazyReranker("nano", { longDocuments: "chunk", activation: "probability" });
    const queries = [query, "a city in France"];
    const many = await lazy.rerankMany({ queries, documents });
    const expected = await own.rerankMany({
      ...{ queries, documents, longDocuments: "chunk", activation: "probability" },
    });
    expect(many.rankings.map(({ results }) => results)).toEqual(
      expected.rankings.map(({ results }) => results),
    );
    expect(many).toMatchObject({ longDocuments: { aggregate: "max" }, calibration: { method: "sigmoid" } });
    const call = lazy.rerank({ query, documents });
    const draining = lazy.drain();
    await expect(lazy.score([])).rejects.toMatchObject({ code: "draining" });
    await draining;
    expect((await call).results).toHaveLength(3);
    await lazy.dispose();
  });

  test("is tried again after it could not be opened", async () => {
    const lazy = lazyReranker("./no-such-folder");
    await expect(lazy.load()).rejects.toThrow(/no-such-folder/);
    await expect(lazy.rerank({ query, documents })).rejects.toThrow(/no-such-folder/);
    await lazy.dispose();
    await expect(lazy.load()).rejects.toBeInstanceOf(DisposedError);
  });

  test("ends a wait with the signal's reason, and goes on for the others", async () => {
    await using lazy = lazyReranker("nano");
    const stop = new AbortController();
    const reason = new Error("enough");
    const aborted = lazy.rerank({ query, documents, signal: stop.signal });
    const other = lazy.rerank({ query, documents });
    stop.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    expect((await other).results[0]?.index).toBe(1);
    await expect(lazy.rerank({ query, documents, signal: stop.signal })).rejects.toBe(reason);
  });

  test("leaves to the call what is wrong with it, and takes null for no signal", async () => {
    await using lazy = lazyReranker("nano", { signal: null } as object);
    for (const wrong of [null, 5, { query, documents, signal: 5 }, { query, documents, topK: 1 }]) {
      const call = lazy.rerank(wrong as unknown as { query: string; documents: string[] });
      await expect(call).rejects.toBeInstanceOf(InvalidInputError);
    }
    const none = { query, documents, signal: null } as unknown as { query: string; documents: string[] };
    expect((await lazy.rerank(none)).results).toEqual((await own.rerank({ query, documents })).results);
    const pairs = [{ query, document: "Bread." }];
    await expect(lazy.score(pairs, null as unknown as object)).rejects.toBeInstanceOf(InvalidInputError);
  });

  test("is freed by dispose, also while it is opened", async () => {
    const lazy = lazyReranker("nano");
    const call = lazy.rerank({ query, documents });
    const ending = Promise.all([lazy.dispose(), lazy.dispose()]);
    await expect(call).rejects.toBeInstanceOf(DisposedError);
    await ending;
    await expect(lazy.score([])).rejects.toBeInstanceOf(DisposedError);
  });

  test("may be a chain of variants", async () => {
    await using lazy = lazyReranker("nano", { variants: [{ backend: "onnx" }] });
    await lazy.load();
    const { results } = await lazy.rerank({ query, documents });
    expect(results).toEqual((await own.rerank({ query, documents })).results);
  });
});

describe("a reranker that is given", () => {
  test.each([
    ["itself", () => own],
    ["as a promise", () => Promise.resolve(own)],
  ])("stays the caller's: %s", async (_, source) => {
    const lazy = lazyReranker(source());
    const { results } = await lazy.rerank({ query, documents });
    expect(results).toEqual((await own.rerank({ query, documents })).results);
    await lazy.dispose();
    await expect(lazy.rerank({ query, documents })).rejects.toBeInstanceOf(DisposedError);
    expect((await own.rerank({ query, documents })).results).toEqual(results);
  });

  test("may itself be opened by the first call, for several adapters", async () => {
    const shared = lazyReranker("nano");
    const lazies = [lazyReranker(shared), lazyReranker(shared)];
    await Promise.all(lazies.map((lazy) => lazy.load()));
    const expected = (await own.rerank({ query, documents })).results;
    for (const lazy of lazies) {
      expect((await lazy.rerank({ query, documents })).results).toEqual(expected);
      await lazy.dispose();
    }
    expect((await shared.rerank({ query, documents })).results).toEqual(expected);
    await shared.dispose();
    await expect(lazyReranker(shared).load()).rejects.toBeInstanceOf(DisposedError);
  });

  test("says in each call why its promise failed, and not before", async () => {
    const problem = new Error("no model today");
    const lazy = lazyReranker(Promise.reject(problem));
    await new Promise((resolve) => setTimeout(resolve, 10));
    await expect(lazy.load()).rejects.toBe(problem);
    await expect(lazy.rerank({ query, documents })).rejects.toBe(problem);
    const wrong = lazyReranker(Promise.resolve(5 as unknown as Reranker));
    await expect(wrong.load()).rejects.toThrow(/cannot rerank/);
  });

  test("takes no options of opening", () => {
    expect(() => lazyReranker(own, { backend: "onnx" })).toThrow(InvalidInputError);
    expect(() => lazyReranker(own, { backend: undefined })).not.toThrow();
  });

  test.each([null, undefined, 5, {}, { rerank: "no" }, []])("is refused when it is %s", (source) => {
    expect(() => lazyReranker(source as unknown as string)).toThrow(InvalidInputError);
  });
});

describe("options of adapters", () => {
  const names = {
    name: "makeSearch",
    own: { column: true, topN: true },
    ofCalls: { name: "search.rank", options: ["topK"] },
  } as const;

  test.each([
    [{ topn: 1 }, "topn is not an option of makeSearch: write topN"],
    [{ colum: "text" }, "colum is not an option of makeSearch: write column"],
    [{ bckend: "onnx" }, "bckend is not an option of makeSearch: write backend"],
    [{ topK: 1 }, "topK is not an option of makeSearch: it is an option of search.rank"],
    [{ nothing: 1 }, "nothing is not an option of makeSearch: there are column, topN, backend"],
    [null, "must be an object"],
    [undefined, "must be an object"],
    ["nano", "must be an object"],
    [["onnx"], "must be an object"],
  ])("%j is refused before anything is opened", (options, message) => {
    expect(() => requireAdapterOptions(options, names)).toThrow(InvalidInputError);
    expect(() => requireAdapterOptions(options, names)).toThrow(message);
  });

  test("their own and those of opening are taken, and what is undefined is none", () => {
    const signal = AbortSignal.timeout(60_000);
    const options = {
      column: "text",
      topN: 1,
      dtype: "int8",
      signal,
      whenExhausted: "throw",
      other: undefined,
    };
    expect(() => requireAdapterOptions(options, names)).not.toThrow();
    expect(() => lazyReranker("nano", { threads: 1, offline: true, signal })).not.toThrow();
    expect(() => lazyReranker("nano", { variants: [{ dtype: "int8" }], onFallback() {} })).not.toThrow();
    expect(() => lazyReranker("nano", { thread: 1 } as object)).toThrow("write threads");
  });
});

describe("scores of adapters", () => {
  test("a document without one is no number", async () => {
    const { results } = await own.rerank({
      query: "vaccine ".repeat(600),
      documents: ["A vaccine."],
    });
    const [result] = results;
    if (result === undefined) throw new Error("there is one document");
    expect(() => requireScore(0, result)).toThrow(DocumentNotScoredError);
    expect(() => requireScore(3, { score: null, logit: null, tokens: 0, truncatedTokens: 0 })).toThrow(
      /documents\[3\].*time budget/,
    );
    expect(requireScore(0, { score: 0, logit: -40, tokens: 3, truncatedTokens: 0 })).toBe(0);
  });

  test("lie between 0 and 1, in their order", () => {
    expect(toUnitScore(0.25, "probability")).toBe(0.25);
    expect([-1, 0, 1].map((cosine) => toUnitScore(cosine, "cosine"))).toEqual([0, 0.5, 1]);
    expect(toUnitScore(1.0000001, "cosine")).toBe(1);
    expect([-800, 0, 800].map((logit) => toUnitScore(logit, "logit"))).toEqual([0, 0.5, 1]);
  });
});
