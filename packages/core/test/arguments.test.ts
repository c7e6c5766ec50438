import { describe, expect, it } from "vitest";
import { type Goldens, verify } from "../src/entries/verify.js";
import {
  createFallbackReranker,
  createReranker,
  type DocumentInput,
  InvalidInputError,
  type RankedDocument,
  type Reranker,
} from "../src/index.js";
import { fixture, query, rejection } from "./fallback-scene.js";
import { type ToyBackend, toyBackend } from "./toy-backend.js";

const texts = ["the model", "a backend reads tokens", "every thread", "the weights of the model", "nothing"];
const others = texts.map((text) => `something else than ${text}`);

/** The scores of the texts as they are, by text. */
async function logitsOf(reranker: Reranker): Promise<ReadonlyMap<string, number>> {
  const { scores } = await reranker.score(texts.map((document) => ({ query, document })));
  return new Map(texts.map((text, index) => [text, scores[index]?.logit as number]));
}

async function open(backend: ToyBackend = toyBackend()): Promise<Reranker> {
  return createReranker({ model: fixture("bert-logit"), backend, probe: false });
}

/** Counts how often each property of an object is read; `change` tells from which reading on the answer is another. */
function watched<T extends object>(target: T, later: object = {}): { proxy: T; reads: Map<string, number> } {
  const reads = new Map<string, number>();
  const proxy = new Proxy(target, {
    get(object, property) {
      const name = String(property);
      const count = (reads.get(name) ?? 0) + 1;
      reads.set(name, count);
      if (count > 1 && Object.hasOwn(later, property)) return Reflect.get(later, property);
      return Reflect.get(object, property);
    },
  });
  return { proxy, reads };
}

function requireOnce(reads: ReadonlyMap<string, number>): void {
  expect([...reads].filter(([, count]) => count > 1)).toEqual([]);
}

const changes: readonly [string, (documents: DocumentInput[]) => void][] = [
  ["reversed", (documents) => documents.reverse()],
  ["sorted", (documents) => documents.sort()],
  ["emptied", (documents) => documents.splice(0)],
  ["cut by its length", (documents) => (documents.length = 1)],
  ["filled with others", (documents) => documents.splice(0, texts.length, ...others)],
  ["longer", (documents) => documents.push(...others)],
  ["shifted", (documents) => documents.shift()],
  ["one replaced", (documents) => (documents[2] = "something else")],
];

describe("an array of documents that changes during the call", () => {
  it.each(changes)("%s: scores stay with the texts that were scored", async (_, change) => {
    const reranker = await open();
    const logits = await logitsOf(reranker);
    const chain = createFallbackReranker({
      variants: [{ name: "toy", model: fixture("bert-logit"), backend: toyBackend(), probe: false }],
    });
    for (const rankable of [reranker, chain]) {
      const documents: DocumentInput[] = [...texts];
      const call = rankable.rerank({ query, documents, returnDocuments: true });
      change(documents);
      const { results } = await call;
      expect(results).toHaveLength(texts.length);
      for (const { index, document, logit } of results) {
        expect(document).toBe(texts[index]);
        expect(logit).toBe(logits.get(texts[index] as string));
      }
    }
    await Promise.all([reranker.dispose(), chain.dispose()]);
  });

  it.each(changes)("%s, from a callback between batches", async (_, change) => {
    const reranker = await open(toyBackend({ capabilities: { batchSize: { max: 1 } } }));
    const logits = await logitsOf(reranker);
    const documents: DocumentInput[] = texts.map((text) => ({ text }));
    const given = [...documents];
    let changed = false;
    const { results } = await reranker.rerank({
      query,
      documents,
      returnDocuments: true,
      onProgress: () => {
        if (!changed) change(documents);
        changed = true;
      },
    });
    for (const { index, document, logit } of results) {
      expect(document).toBe(given[index]);
      expect(logit).toBe(logits.get(texts[index] as string));
    }
    await reranker.dispose();
  });

  it.each(changes)("pairs to score, %s", async (_, change) => {
    const reranker = await open();
    const expected = [...(await logitsOf(reranker)).values()];
    const pairs = texts.map((document) => ({ query, document: document as DocumentInput }));
    const list = pairs as unknown as DocumentInput[];
    const call = reranker.score(pairs);
    change(list);
    for (const pair of pairs) if (typeof pair === "object") pair.document = "another";
    expect((await call).scores.map(({ logit }) => logit)).toEqual(expected);
    await reranker.dispose();
  });

  it.each(changes)("texts to embed, %s", async (_, change) => {
    const model = fixture("bert-cosine-mean");
    const reranker = await createReranker({ model, backend: toyBackend(), probe: false });
    const expected = await reranker.embed(texts, { as: "document" });
    const list = [...texts];
    const call = reranker.embed(list, { as: "document" });
    change(list as DocumentInput[]);
    expect((await call).vectors).toEqual(expected.vectors);
    await reranker.dispose();
  });
});

describe("a document that changes during the call", () => {
  it("is the caller's own where its text is what it was", async () => {
    const reranker = await open();
    const documents = texts.map((text, id) => ({ text, id, score: 0 }));
    const call = reranker.rerank({ query, documents, returnDocuments: true });
    for (const document of documents) document.score = 1;
    for (const { index, document } of (await call).results) expect(document).toBe(documents[index]);
    await reranker.dispose();
  });

  it("comes back with the text that was scored where it has another one", async () => {
    const reranker = await open();
    const logits = await logitsOf(reranker);
    const documents = texts.map((text, id) => ({ text, id }));
    const call = reranker.rerank({ query, documents, returnDocuments: true });
    for (const document of documents) document.text = "another text";
    for (const { index, document, logit } of (await call).results) {
      expect(document).toEqual({ text: texts[index], id: index });
      expect(logit).toBe(logits.get((document as { text: string }).text));
    }
    await reranker.dispose();
  });

  it("with a getter is asked once, and is the caller's own", async () => {
    class Row {
      reads = 0;
      readonly #text: string;
      constructor(text: string) {
        this.#text = text;
      }
      get text(): string {
        this.reads += 1;
        return this.reads === 1 ? this.#text : "another text";
      }
    }
    const reranker = await open();
    const logits = await logitsOf(reranker);
    const documents = texts.map((text) => new Row(text));
    const { results } = await reranker.rerank({ query, documents, returnDocuments: true });
    expect(documents.map(({ reads }) => reads)).toEqual(texts.map(() => 1));
    for (const { index, document, logit } of results as RankedDocument<Row>[]) {
      expect(document).toBe(documents[index]);
      expect(logit).toBe(logits.get(texts[index] as string));
    }
    await reranker.dispose();
  });

  it("behind a Proxy is read once, by its first answer", async () => {
    const reranker = await open();
    const logits = await logitsOf(reranker);
    const documents = texts.map((text) => watched({ text }, { text: "another text" }));
    const array = watched(documents.map(({ proxy }) => proxy));
    const { results } = await reranker.rerank({ query, documents: array.proxy, returnDocuments: true });
    for (const { reads } of documents) requireOnce(new Map([["text", reads.get("text") ?? 0]]));
    for (const [name, count] of array.reads)
      if (/^\d+$|^length$/.test(name)) expect([name, count]).toEqual([name, 1]);
    for (const { index, logit } of results) expect(logit).toBe(logits.get(texts[index] as string));
    await reranker.dispose();
  });
});

describe("options", () => {
  it("of rerank, score and embed are read once, and before anything else happens", async () => {
    const reranker = await open();
    const other = { query: "another query", topN: 1, instruction: "x", whenAborted: "partial" as const };
    const rerank = watched(
      {
        query,
        documents: texts,
        topN: 3,
        returnDocuments: true,
        instruction: "",
        timeBudget: watched({ milliseconds: 60_000, whenExceeded: "throw" as const }).proxy,
        signal: new AbortController().signal,
        whenAborted: "throw" as const,
        returnCacheKey: true,
        onProgress: () => undefined,
      },
      other,
    );
    const call = reranker.rerank(rerank.proxy);
    expect([...rerank.reads.keys()].sort()).toEqual(
      [
        "activation",
        "documents",
        "instruction",
        "longDocuments",
        "onProgress",
        "query",
        "returnCacheKey",
        "returnDocuments",
        "signal",
        "text",
        "threshold",
        "timeBudget",
        "topN",
        "whenAborted",
      ].sort(),
    );
    expect((await call).results).toHaveLength(3);
    requireOnce(rerank.reads);

    const options = watched({ instruction: "", returnCacheKey: true }, { instruction: "another" });
    const { cacheKey } = await reranker.score([{ query, document: "a" }], options.proxy);
    requireOnce(options.reads);
    expect(cacheKey).toBe(await reranker.cacheKey());
    await reranker.dispose();

    const model = fixture("bert-cosine-mean");
    const embedder = await createReranker({ model, backend: toyBackend(), probe: false });
    const embed = watched({ as: "query" as "query" | "document" }, { as: "document" });
    const { vectors } = await embedder.embed(texts, embed.proxy);
    requireOnce(embed.reads);
    expect(vectors).toEqual((await embedder.embed(texts, { as: "query" })).vectors);
    await embedder.dispose();
  });

  it("of createReranker are read once, and its profile is what it was", async () => {
    const profile = { queryPrefix: "first: " };
    const options = watched(
      { model: fixture("bert-logit"), backend: toyBackend(), probe: false, maxLength: 16, profile },
      { maxLength: 8 },
    );
    const loading = createReranker(options.proxy);
    profile.queryPrefix = "second: ";
    const reranker = await loading;
    requireOnce(options.reads);
    expect([reranker.profile.maxLength, reranker.profile.queryPrefix]).toEqual([16, "first: "]);
    await reranker.dispose();
  });

  it("of a chain are what they were when it was made, also of variants that are loaded later", async () => {
    const profile = { queryPrefix: "first: " };
    const variant = watched(
      { name: "toy", model: fixture("bert-logit"), backend: toyBackend(), probe: false, profile },
      { name: "other", model: fixture("none") },
    );
    const variants = [variant.proxy];
    const options = watched({ variants, whenExhausted: "throw" as const }, { whenExhausted: "passthrough" });
    const chain = createFallbackReranker(options.proxy as never);
    requireOnce(options.reads);
    profile.queryPrefix = "second: ";
    variants.length = 0;
    const plain = await open();
    const first = await createReranker({
      model: fixture("bert-logit"),
      backend: toyBackend(),
      probe: false,
      profile: { queryPrefix: "first: " },
    });
    const pairs = texts.map((document) => ({ query, document }));
    const [scores, expected, without] = [
      (await chain.score(pairs)).scores,
      (await first.score(pairs)).scores,
      (await plain.score(pairs)).scores,
    ];
    requireOnce(variant.reads);
    expect(scores).toEqual(expected);
    expect(scores).not.toEqual(without);
    expect(chain.variant).toBe("toy");
    await Promise.all([chain.dispose(), plain.dispose(), first.dispose()]);
  });

  it("of verify: goldens that change while it runs are what they were", async () => {
    const golden = {
      name: "one",
      query: "the model",
      document: "reads",
      expected: { "document-only": { logit: 1 } },
    };
    const goldens = {
      specificationVersion: "1",
      reference: { name: "by hand", dtype: "float64" },
      cases: [golden],
    };
    const watchedGoldens = watched(goldens);
    const options = watched({
      model: fixture("bert-logit"),
      backend: toyBackend(),
      goldens: watchedGoldens.proxy as Goldens,
    });
    const call = verify(options.proxy);
    golden.expected["document-only"].logit = 2;
    golden.name = "two";
    goldens.cases.push({ ...golden, name: "three" });
    const { cases } = await call;
    expect(cases.map(({ name, expected }) => [name, expected])).toEqual([["one", 1]]);
    requireOnce(new Map([...watchedGoldens.reads].filter(([name]) => name !== "constructor")));
    requireOnce(options.reads);
  });
});

const circular: Record<string, unknown> = { queryPrefix: "" };
circular["head"] = circular;

/** As a caller without types sees it. */
type Untyped = (...given: unknown[]) => Promise<unknown>;
interface Loose {
  readonly rerank: Untyped;
  readonly score: Untyped;
}
const create = createReranker as Untyped;
const chainOf = async (...given: unknown[]): Promise<unknown> =>
  (createFallbackReranker as (...given: unknown[]) => unknown)(...given);
const hold = verify as Untyped;

describe("what is no argument", () => {
  const sparse: unknown[] = ["a"];
  sparse[2] = "b";
  const calls: readonly [string, (reranker: Loose) => Promise<unknown>][] = [
    ["options", (r) => r.rerank()],
    ["options", (r) => r.rerank(null)],
    ["options", (r) => r.rerank("text")],
    ["options", (r) => r.score([], null)],
    ["query", (r) => r.rerank({ documents: [] })],
    ["query", (r) => r.rerank({ query: ["a"], documents: [] })],
    ["documents", (r) => r.rerank({ query, documents: "text" })],
    ["documents", (r) => r.rerank({ query, documents: new Set(["a"]) })],
    ["documents", (r) => r.rerank({ query, documents: { length: 1, 0: "a" } })],
    ["documents[1]", (r) => r.rerank({ query, documents: sparse })],
    ["documents", (r) => r.rerank({ query, documents: new Array(4_000_000_000) })],
    ["documents[0]", (r) => r.rerank({ query, documents: new Array(16_000_000) })],
    ["documents[0]", (r) => r.rerank({ query, documents: [null] })],
    ["documents[0].text", (r) => r.rerank({ query, documents: [new String("a")] })],
    ["documents[0].text", (r) => r.rerank({ query, documents: [{ text: ["a"] }] })],
    ["topN", (r) => r.rerank({ query, documents: [], topN: 0 })],
    ["topN", (r) => r.rerank({ query, documents: [], topN: 1.5 })],
    ["topN", (r) => r.rerank({ query, documents: [], topN: "3" })],
    ["whenAborted", (r) => r.rerank({ query, documents: [], whenAborted: "ignore" })],
    ["signal", (r) => r.rerank({ query, documents: [], signal: 7 })],
    ["signal", (r) => r.rerank({ query, documents: [], signal: new AbortController() })],
    ["onProgress", (r) => r.rerank({ query, documents: [], onProgress: "call me" })],
    ["timeBudget", (r) => r.rerank({ query, documents: [], timeBudget: 100 })],
    ["timeBudget.milliseconds", (r) => r.rerank({ query, documents: [], timeBudget: {} })],
    ["instruction", (r) => r.rerank({ query, documents: [], instruction: 7 })],
    ["pairs", (r) => r.score("a")],
    ["pairs[0]", (r) => r.score([null])],
    ["pairs[0].query", (r) => r.score([{ document: "a" }])],
    ["pairs[0].document", (r) => r.score([{ query: "a" }])],
    ["options", () => create()],
    ["model", () => create({ backend: toyBackend() })],
    ["model", () => create({ model: {}, backend: toyBackend() })],
    ["backend", () => create({ model: fixture("bert-logit") })],
    ["backend", () => create({ model: fixture("bert-logit"), backend: {} })],
    ["onProgress", () => create({ model: fixture("bert-logit"), backend: toyBackend(), onProgress: 1 })],
    ["options", async () => chainOf()],
    ["variants[0]", async () => chainOf({ variants: ["toy"] })],
    ["onFallback", async () => chainOf({ variants: [{ name: "a" }], onFallback: 1 })],
    ["variants[0].profile", async () => chainOf({ variants: [{ name: "a", profile: circular }] })],
    ["goldens", () => hold({ model: fixture("bert-logit"), backend: toyBackend() })],
    ["goldens", () => hold({ model: fixture("bert-logit"), backend: toyBackend(), goldens: { cases: 1 } })],
    ["tolerance", () => hold({ tolerance: "0.1" })],
  ] as readonly [string, (reranker: Loose) => Promise<unknown>][];

  it.each(calls.map(([path, call], index) => [index, path, call] as const))(
    "%i: %s",
    async (_, path, call) => {
      const reranker = await open();
      const error = await rejection(call(reranker as unknown as Loose));
      expect(InvalidInputError.isInstance(error) && error.path).toBe(path);
      await reranker.dispose();
    },
  );
});
