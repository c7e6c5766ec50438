import { BaseCallbackHandler } from "@langchain/core/callbacks/base";
import { CallbackManager } from "@langchain/core/callbacks/manager";
import { Document } from "@langchain/core/documents";
import { BaseRetriever } from "@langchain/core/retrievers";
import { BaseDocumentCompressor } from "@langchain/core/retrievers/document_compressors";
import { RunnableLambda, RunnablePassthrough, RunnableSequence } from "@langchain/core/runnables";
import { InvalidInputError, openReranker, type Reranker } from "crossrank";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CrossrankRerank } from "../src/index.js";

const query = "how do vaccines work";
const texts = ["Lyon is a city in France.", "A vaccine trains the immune system.", "Bread is baked."];

const makeDocuments = (): Document[] =>
  texts.map(
    (pageContent, index) =>
      new Document({
        pageContent,
        metadata: { source: `note-${index}`, nested: { index } },
        id: `id-${index}`,
      }),
  );

let reranker: Reranker;
let expected: (number | null)[];
beforeAll(async () => {
  reranker = await openReranker("nano");
  const { results } = await reranker.rerank({ query, documents: texts });
  expected = results.map(({ score }) => score);
});
afterAll(() => reranker.dispose());

test("is a document compressor, with the library's scores in the metadata", async () => {
  await using compressor = new CrossrankRerank("nano");
  expect(BaseDocumentCompressor.isBaseDocumentCompressor(compressor)).toBe(true);
  const documents = makeDocuments();
  const ranked = await compressor.compressDocuments(documents, query);
  expect(ranked.map(({ metadata }) => metadata["relevanceScore"])).toEqual(expected);
  expect(ranked[0]).toBeInstanceOf(Document);
  expect(ranked[0]).toMatchObject({
    pageContent: texts[1],
    id: "id-1",
    metadata: { source: "note-1", nested: { index: 1 } },
  });
  // Copied, never changed.
  expect(documents).toEqual(makeDocuments());
  expect(documents).not.toContain(ranked[0]);
});

test("leaves frozen documents, and those without an id, as they are", async () => {
  const compressor = new CrossrankRerank(reranker, { topN: 1, scoreKey: "score" });
  const documents = texts.map((pageContent) =>
    Object.freeze(new Document({ pageContent, metadata: Object.freeze({ score: "of the first stage" }) })),
  );
  const ranked = await compressor.compressDocuments(documents, query);
  expect(ranked.map(({ metadata }) => metadata)).toEqual([{ score: expected[0] }]);
  expect(ranked[0]?.id).toBeUndefined();
  expect(documents[1]?.metadata["score"]).toBe("of the first stage");
  expect(await compressor.compressDocuments([], query)).toEqual([]);
});

test("is a step of a chain behind a retriever", async () => {
  class Notes extends BaseRetriever {
    lc_namespace = ["test"];
    override async _getRelevantDocuments(): Promise<Document[]> {
      return makeDocuments();
    }
  }
  const chain = RunnableSequence.from([
    { query: new RunnablePassthrough<string>(), documents: new Notes() },
    new CrossrankRerank(reranker, { topN: 2 }).asRunnable(),
    RunnableLambda.from((documents: Document[]) => documents.map(({ id }) => id)),
  ]);
  const { results } = await reranker.rerank({ query, documents: texts, topN: 2 });
  expect(await chain.invoke(query)).toEqual(results.map(({ index }) => `id-${index}`));
  const streamed: unknown[] = [];
  for await (const part of await chain.stream(query)) streamed.push(part);
  expect(streamed.length).toBe(1);
});

test("tells the callbacks of a run, and of its error", async () => {
  const told: string[] = [];
  class Listener extends BaseCallbackHandler {
    name = "listener";
    override awaitHandlers = true;
    override handleChainStart(
      ...[, inputs, , , , , , runName]: Parameters<NonNullable<BaseCallbackHandler["handleChainStart"]>>
    ): void {
      told.push(`start ${runName} ${(inputs as { query: string }).query}`);
    }
    override handleChainEnd(): void {
      told.push("end");
    }
    override handleChainError(error: unknown): void {
      told.push(`error ${(error as { code: string }).code}`);
    }
  }
  const compressor = new CrossrankRerank(reranker);
  await compressor.compressDocuments(makeDocuments(), query, [new Listener()]);
  const manager = CallbackManager.configure([new Listener()]);
  await compressor.compressDocuments(makeDocuments(), query, manager);
  await expect(compressor.compressDocuments(makeDocuments(), " ", [new Listener()])).rejects.toBeInstanceOf(
    InvalidInputError,
  );
  const start = `start CrossrankRerank ${query}`;
  expect(told).toEqual([start, "end", start, "end", "start CrossrankRerank  ", "error invalid-input"]);
});

test("stops when the signal of the chain says so", async () => {
  await using compressor = new CrossrankRerank("nano");
  const stop = new AbortController();
  const call = compressor.asRunnable().invoke({ query, documents: makeDocuments() }, { signal: stop.signal });
  stop.abort();
  await expect(call).rejects.toThrow(/abort/i);
});

test("has null for a document that could not be scored, and typed errors", async () => {
  const compressor = new CrossrankRerank(reranker);
  const ranked = await compressor.compressDocuments(makeDocuments(), "vaccine ".repeat(900));
  expect(ranked.map(({ metadata }) => metadata["relevanceScore"])).toEqual([null, null, null]);
  const none = new CrossrankRerank("nano", {
    variants: [{ dtype: "q4" }],
    whenExhausted: "passthrough",
  });
  const passed = await none.compressDocuments(makeDocuments(), query);
  expect(passed.map(({ id, metadata }) => [id, metadata["relevanceScore"]])).toEqual(
    texts.map((_, index) => [`id-${index}`, null]),
  );
  await none.dispose();
  const broken = [{ pageContent: undefined as unknown as string, metadata: {} }];
  await expect(compressor.compressDocuments(broken, query)).rejects.toThrow(/documents\[0\]/);
  expect(() => new CrossrankRerank(reranker, { dtype: "fp32" })).toThrow(InvalidInputError);
});

test("a pageContent that is no text is refused, also where the text stands in it", async () => {
  const compressor = new CrossrankRerank(reranker);
  const contents = [{ text: "hello" }, ["hello"], 5, null, undefined];
  for (const pageContent of contents) {
    const broken = [...makeDocuments(), { pageContent, metadata: {} } as unknown as Document];
    const call = compressor.compressDocuments(broken, query);
    await expect(call).rejects.toThrow(/^documents\[3\]\.pageContent must be a string/);
    await expect(call).rejects.toBeInstanceOf(InvalidInputError);
  }
  for (const documents of [[null], undefined, "text"]) {
    const input = { query, documents } as unknown as Parameters<
      ReturnType<CrossrankRerank["asRunnable"]>["invoke"]
    >[0];
    await expect(compressor.asRunnable().invoke(input)).rejects.toBeInstanceOf(InvalidInputError);
  }
});

test.each([
  [{ topK: 1 }, "write topN"],
  [{ scorekey: "score" }, "write scoreKey"],
  [{ bckend: "onnx" }, "write backend"],
  [{ topN: 0 }, "topN must be"],
  [{ topN: "1" }, "topN must be"],
  [{ scoreKey: "" }, "scoreKey must be"],
  [{ scoreKey: null }, "scoreKey must be"],
  [null, "must be an object"],
])("options %j are refused before a model is opened", (options, message) => {
  const construct = () => new CrossrankRerank("nano", options as object);
  expect(construct).toThrow(InvalidInputError);
  expect(construct).toThrow(message);
});
