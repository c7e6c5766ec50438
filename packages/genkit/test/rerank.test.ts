import { InvalidInputError, openReranker, type Reranker } from "crossrank";
import { Document, type Genkit, genkit } from "genkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { crossrank, defineCrossrankReranker } from "../src/index.js";

const query = "how do vaccines work";
const texts = ["Lyon is a city in France.", "A vaccine trains the immune system.", "Bread is baked."];
const documents = texts.map((text, index) => Document.fromText(text, { source: `note-${index}` }));

let reranker: Reranker;
let expected: { readonly text: string | undefined; readonly score: number | null }[];
const plugin = crossrank();
let ai: Genkit;
beforeAll(async () => {
  reranker = await openReranker("nano");
  const { results } = await reranker.rerank({ query, documents: texts });
  expected = results.map(({ index, score }) => ({ text: texts[index], score }));
  ai = genkit({ plugins: [plugin] });
});
afterAll(async () => {
  await Promise.all([plugin.dispose(), reranker.dispose()]);
});

const told = (ranked: readonly Document[]): unknown[] =>
  ranked.map(({ text, metadata }) => ({ text, score: metadata?.["score"] }));

test("a model that is named behind the slash ranks with the library's scores", async () => {
  const ranked = await ai.rerank({ reranker: "crossrank/nano", query, documents });
  expect(told(ranked)).toEqual(expected);
  expect(ranked[0]?.metadata).toEqual({ source: "note-1", score: expected[0]?.score });
  expect(documents[1]?.metadata).toEqual({ source: "note-1" });
  const asDocument = { reranker: "crossrank/nano", query: Document.fromText(query), documents };
  expect(told(await ai.rerank(asDocument))).toEqual(expected);
  expect(await ai.rerank({ reranker: "crossrank/nano", query, documents: [] })).toEqual([]);
});

test("the options of a call are k and instruction, and no others", async () => {
  const best = await ai.rerank({ reranker: "crossrank/nano", query, documents, options: { k: 2 } });
  expect(told(best)).toEqual(expected.slice(0, 2));
  for (const options of [{ k: 0 }, { k: 1.5 }, { topN: 2 }]) {
    await expect(ai.rerank({ reranker: "crossrank/nano", query, documents, options })).rejects.toThrow(
      /k|topN/,
    );
  }
});

test("rerankers that are given have an id, and stay the caller's", async () => {
  const own = crossrank({ rerankers: { mine: reranker, later: Promise.resolve(reranker) }, backend: "onnx" });
  const other = genkit({ plugins: [own] });
  for (const name of ["crossrank/mine", "crossrank/later", "crossrank/nano"]) {
    expect(told(await other.rerank({ reranker: name, query, documents })), name).toEqual(expected);
  }
  await own.dispose();
  await expect(other.rerank({ reranker: "crossrank/mine", query, documents })).rejects.toMatchObject({
    code: "disposed",
  });
  expect((await reranker.rerank({ query, documents: texts })).results.length).toBe(3);
});

test("a single reranker is defined without the plugin", async () => {
  await using defined = defineCrossrankReranker(ai, "mine", "nano");
  await defined.load();
  expect(told(await ai.rerank({ reranker: "mine", query, documents }))).toEqual(expected);
  expect(told(await ai.rerank({ reranker: defined.action, query, documents, options: { k: 1 } }))).toEqual(
    expected.slice(0, 1),
  );
  expect(() => defineCrossrankReranker(ai, "wrong", reranker, { backend: "onnx" })).toThrow(
    InvalidInputError,
  );
});

test.each([
  [{ bckend: "onnx" }, "write backend"],
  [{ k: 1 }, "it is an option of ai.rerank"],
  [null, "must be an object"],
  ["nano", "must be an object"],
])("options %j are refused before a model is opened", (options, message) => {
  for (const make of [
    () => crossrank(options as object),
    () => defineCrossrankReranker(ai, "wrong", "nano", options as object),
  ]) {
    expect(make).toThrow(InvalidInputError);
    expect(make).toThrow(message);
  }
  expect(() => crossrank({ rerankers: null } as object)).toThrow(InvalidInputError);
});

test("text parts are ranked, and media alone is refused", async () => {
  const media = { media: { url: "data:image/png;base64,AAAA", contentType: "image/png" } };
  const [first = "", second = ""] = texts;
  const parts = [
    { content: [{ text: first.slice(0, 5) }, media, { text: first.slice(5) }] },
    { content: [{ text: second }] },
  ];
  const ranked = await ai.rerank({ reranker: "crossrank/nano", query, documents: parts });
  expect(ranked.map(({ metadata }) => metadata.score)).toEqual(
    expected.flatMap(({ text, score }) => (text === first || text === second ? score : [])),
  );
  const alone = ai.rerank({ reranker: "crossrank/nano", query, documents: [{ content: [media] }] });
  await expect(alone).rejects.toMatchObject({ code: "invalid-input", path: "documents[0]" });
});

test("a document without a score is an error", async () => {
  const call = ai.rerank({ reranker: "crossrank/nano", query: "vaccine ".repeat(900), documents });
  await expect(call).rejects.toMatchObject({ code: "document-not-scored" });
  await expect(ai.rerank({ reranker: "crossrank/nano", query: " ", documents })).rejects.toMatchObject({
    code: "invalid-input",
  });
  await expect(ai.rerank({ reranker: "crossrank/./no-such-folder", query, documents })).rejects.toThrow(
    /no-such-folder/,
  );
});
