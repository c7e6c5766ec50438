import type { createProviderRegistry as createProviderRegistry6, rerank as rerank6 } from "ai-6";
import { InvalidInputError, openReranker, type Reranker } from "crossrank";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createCrossrank, crossrank, rerankingModel } from "../src/index.js";

const query = "how do vaccines work";
const texts = ["Lyon is a city in France.", "A vaccine trains the immune system.", "Bread is baked."];
const objects = texts.map((body, id) => ({ id, title: `Note ${id}`, body }));

interface Rerank {
  readonly rerank: typeof rerank6;
  readonly createProviderRegistry: typeof createProviderRegistry6;
}

const [major = 0] = process.versions.node.split(".").map(Number);
// The real frameworks. Version 7 is for Node 22 and later.
const frameworks: [string, () => Promise<Rerank>][] = [
  ["6", () => import("ai-6")],
  ...(major >= 22
    ? [["7", () => import("ai") as unknown as Promise<Rerank>] as [string, () => Promise<Rerank>]]
    : []),
];
if (major < 22) {
  process.stderr.write(`AI SDK 7 is NOT tested: it needs Node 22, and this is ${process.version}\n`);
}

let reranker: Reranker;
beforeAll(async () => {
  // What the SDK prints of a model's warnings is for its users' terminals.
  Reflect.set(globalThis, "AI_SDK_LOG_WARNINGS", false);
  reranker = await openReranker("nano");
});
afterAll(() => reranker.dispose());

describe.each(frameworks)("AI SDK %s", (_, load) => {
  let ai: Rerank;
  beforeAll(async () => {
    ai = await load();
  });

  test("ranks texts with the library's scores", async () => {
    const result = await ai.rerank({ model: crossrank.reranking("nano"), query, documents: texts, topN: 2 });
    const expected = await reranker.rerank({ query, documents: texts, topN: 2 });
    expect(result.ranking).toEqual(
      expected.results.map(({ index, score }) => ({
        originalIndex: index,
        score,
        document: texts[index],
      })),
    );
    expect(result.rerankedDocuments[0]).toBe(texts[1]);
    expect(result.response.modelId).toBe(expected.model.id);
    expect(result.providerMetadata?.["crossrank"]).toMatchObject({ scale: "probability", backend: "onnx" });
  });

  test("finds the model through a provider registry", async () => {
    const registry = ai.createProviderRegistry({
      crossrank: createCrossrank({ rerankers: { mine: reranker } }),
    });
    for (const id of ["crossrank:nano", "crossrank:mine"] as const) {
      const { ranking } = await ai.rerank({
        model: registry.rerankingModel(id) as ReturnType<typeof crossrank.reranking>,
        query,
        documents: texts,
      });
      expect(ranking.map(({ originalIndex }) => originalIndex)[0], id).toBe(1);
    }
    expect(() => crossrank.languageModel("nano")).toThrow(/nano/);
  });

  test("ranks objects by the fields that are named", async () => {
    const expected = await reranker.rerank({
      query,
      documents: objects.map(({ title, body }) => `${title}\n${body}`),
    });
    const scores = expected.results.map(({ score }) => score);
    const model = rerankingModel(reranker, { documentText: ["title", "body"] });
    const byModel = await ai.rerank({ model, query, documents: objects });
    expect(byModel.ranking.map(({ score }) => score)).toEqual(scores);
    expect(byModel.rerankedDocuments[0]).toBe(objects[1]);
    const byCall = await ai.rerank({
      model: crossrank.reranking("nano"),
      query,
      documents: objects,
      providerOptions: { crossrank: { documentText: ["title", "body"] } },
    });
    expect(byCall.ranking).toEqual(byModel.ranking);
    const byFunction = await ai.rerank({
      model: rerankingModel(reranker, { documentText: ({ title, body }) => `${title}\n${body}` }),
      query,
      documents: objects,
    });
    expect(byFunction.ranking).toEqual(byModel.ranking);
  });

  test("refuses objects whose text is not named, or is none", async () => {
    const model = rerankingModel(reranker);
    const refusal = await ai.rerank({ model, query, documents: objects }).catch((error: unknown) => error);
    expect(InvalidInputError.isInstance(refusal)).toBe(true);
    expect(String(refusal)).toMatch(/id, title, body.*documentText/);
    for (const documentText of ["id", "boddy", "toString", [], ["body", "id"]]) {
      const call = ai.rerank({
        model: rerankingModel(reranker, { documentText }),
        query,
        documents: objects,
      });
      await expect(call, String(documentText)).rejects.toBeInstanceOf(InvalidInputError);
    }
    const mixed = [...texts, { body: "text" }] as string[];
    await expect(ai.rerank({ model, query, documents: mixed })).rejects.toThrow(/documents\[3\]/);
    const bad = { model, query, documents: objects, providerOptions: { crossrank: { documentText: 5 } } };
    await expect(ai.rerank(bad)).rejects.toBeInstanceOf(InvalidInputError);
  });

  test("refuses documents of two kinds, and takes none of them for the other", async () => {
    const model = rerankingModel(reranker, { documentText: "body" });
    for (const documents of [
      ["Bread.", { text: "A vaccine." }],
      ["Bread.", null],
      [{ body: "Bread." }, "A vaccine."],
      [{ body: "Bread." }, null],
    ] as never[]) {
      await expect(ai.rerank({ model, query, documents, maxRetries: 0 })).rejects.toThrow(/documents\[1\]/);
    }
  });

  test("stops when the signal says so", async () => {
    const stop = new AbortController();
    stop.abort(new DOMException("enough", "AbortError"));
    const model = rerankingModel("nano");
    const call = ai.rerank({ model, query, documents: texts, abortSignal: stop.signal });
    await expect(call).rejects.toMatchObject({ name: "AbortError" });
    await model.dispose();
  });
});

describe("the model by itself", () => {
  const documents = { type: "text", values: texts } as const;

  test("warns of what it does not know", async () => {
    const { warnings } = await rerankingModel(reranker).doRerank({
      query,
      documents,
      headers: { authorization: "x", "user-agent": "ai" },
      providerOptions: { crossrank: { topK: 3, instruction: "" }, cohere: { priority: 1 } },
    });
    expect(warnings?.map((warning) => "feature" in warning && warning.feature)).toEqual([
      "providerOptions.crossrank.topK",
      "headers",
    ]);
  });

  test("tells the library's warnings", async () => {
    const { warnings } = await rerankingModel(reranker).doRerank({
      query,
      documents: { type: "text", values: ["vaccine ".repeat(900), ""] },
    });
    expect(warnings?.length).toBe(2);
  });

  test("has no number for a document that was not scored", async () => {
    const call = rerankingModel(reranker).doRerank({ query: "vaccine ".repeat(900), documents });
    await expect(call).rejects.toMatchObject({ code: "document-not-scored", reason: "query-overflow" });
  });

  test("takes a chain of variants, and has no number where none of them is left", async () => {
    await using chain = await openReranker("nano", { variants: [{ dtype: "q4" }, { dtype: "int8" }] });
    const { ranking, providerMetadata } = await rerankingModel(chain).doRerank({ query, documents });
    const { results } = await reranker.rerank({ query, documents: texts });
    expect(ranking.map(({ relevanceScore }) => relevanceScore)).toEqual(results.map(({ score }) => score));
    expect(providerMetadata?.["crossrank"]).toMatchObject({ dtype: "int8" });
    const none = rerankingModel("nano", { variants: [{ dtype: "q4" }], whenExhausted: "passthrough" });
    await expect(none.doRerank({ query, documents })).rejects.toMatchObject({
      code: "document-not-scored",
      reason: "not-scored",
    });
    await none.dispose();
  });

  test("shares what an id has opened, and frees it with its provider", async () => {
    const provider = createCrossrank({ rerankers: { mine: Promise.resolve(reranker) } });
    await Promise.all([provider.reranking("nano").load(), provider.reranking("nano").load()]);
    const model = provider.reranking("mine");
    await model.load();
    await provider.dispose();
    await expect(model.doRerank({ query, documents })).rejects.toMatchObject({ code: "disposed" });
    expect(() => provider.reranking("nano")).toThrow(/provider was disposed/);
    expect((await reranker.rerank({ query, documents: texts })).results[0]?.index).toBe(1);
  });

  test("takes no options of opening beside a reranker", () => {
    expect(() => rerankingModel(reranker, { backend: "onnx" })).toThrow(InvalidInputError);
    expect(rerankingModel(reranker).modelId).toBe("reranker");
    expect(rerankingModel(reranker, { modelId: "mine" }).modelId).toBe("mine");
  });

  test.each([
    [{ documenttext: "body" }, "write documentText"],
    [{ documentText: 5 }, "documentText must be"],
    [{ documentText: null }, "documentText must be"],
    [{ documentText: {} }, "documentText must be"],
    [{ documentText: ["body", 5] }, "documentText must be"],
    [{ bckend: "onnx" }, "write backend"],
    [null, "must be an object"],
  ])("refuses %j before a model is opened", (options, message) => {
    for (const make of [
      () => rerankingModel("nano", options as object),
      () => createCrossrank(options as object),
    ]) {
      expect(make).toThrow(InvalidInputError);
      expect(make).toThrow(message);
    }
  });

  test("knows the options of each of its two", () => {
    expect(() => rerankingModel("nano", { modelid: "mine" } as object)).toThrow("write modelId");
    expect(() => rerankingModel("nano", { modelId: 5 } as object)).toThrow(InvalidInputError);
    expect(() => createCrossrank({ reranker: {} } as object)).toThrow("write rerankers");
    expect(() => createCrossrank({ rerankers: null } as object)).toThrow(InvalidInputError);
    expect(() =>
      createCrossrank({ documentText: ["title", "body"], threads: 1, rerankers: {} }),
    ).not.toThrow();
  });
});
