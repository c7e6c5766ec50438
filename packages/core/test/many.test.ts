import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import {
  createFallbackReranker,
  createReranker,
  InvalidInputError,
  type Reranker,
  type RerankOptions,
} from "../src/index.js";
import { fixture, query, rejection } from "./fallback-scene.js";
import { type ToyOptions, toyBackend } from "./toy-backend.js";

const documents = ["the model", "a backend reads tokens", "", "every thread", "the weights of the model"];
const queries = ["the model", "tokens of a thread", "the model", "weights"];

async function open(model = "bert-logit", options: ToyOptions = {}, maxLength?: number): Promise<Reranker> {
  return createReranker({ model: fixture(model), backend: toyBackend(options), probe: false, maxLength });
}

describe("rerankMany", () => {
  it.each(["bert-logit", "bert-cosine-mean", "qwen3-yes-no", "qwen3-listwise"])(
    "ranks as one by one on %s",
    async (model) => {
      const reranker = await open(model);
      const many = await reranker.rerankMany({ queries, documents, topN: 3, returnDocuments: true });
      expect(many.status).toBe("reranked");
      expect(many.rankings).toHaveLength(queries.length);
      let tokens = 0;
      for (const [index, one] of queries.entries()) {
        const alone = await reranker.rerank({ query: one, documents, topN: 3, returnDocuments: true });
        expect(many.rankings[index]).toMatchObject({ status: "reranked", results: alone.results });
        expect(many.rankings[index]?.warnings).toEqual(
          alone.warnings.filter(({ code }) => code === "empty-documents"),
        );
        tokens += many.rankings[index]?.usage.tokens ?? 0;
        // A query that was there before costs nothing.
        expect(many.rankings[index]?.usage.documents).toBe(index === 2 ? 0 : documents.length);
      }
      if (model === "bert-logit") expect(tokens).toBe(many.usage.tokens);
      await reranker.dispose();
    },
  );

  it("fills batches across queries", async () => {
    const reranker = await open("bert-logit", {
      capabilities: { batchPreference: { rows: 8, tokens: 4096, padding: 1 } },
    });
    const many = await reranker.rerankMany({ queries, documents });
    expect(many.usage).toMatchObject({ sequences: 15, batches: 2 });
    await reranker.dispose();
  });

  it("keeps the warnings of a query to itself", async () => {
    const reranker = await open("bert-logit", {}, 16);
    const long = "the model reads the tokens of every thread ".repeat(4);
    const half = "the \ud83d model";
    const { rankings, warnings } = await reranker.rerankMany({
      queries: ["model", half, "தமிழ்"],
      documents: ["model", long],
    });
    const codes = rankings.map((one) => one.warnings.map(({ code }) => code));
    expect(codes[0]).toEqual(["documents-truncated"]);
    expect(codes[1]).toEqual(["documents-truncated", "ill-formed-unicode"]);
    expect(codes[2]).toEqual(["documents-truncated", "unknown-text"]);
    expect(warnings.map(({ code }) => code)).toEqual(
      expect.arrayContaining(["documents-truncated", "ill-formed-unicode", "unknown-text"]),
    );
    await reranker.dispose();
  });

  it("says of each query how far an aborted call came, and answers a budget as a whole", async () => {
    const stop = new AbortController();
    let runs = 0;
    const run = async (_: unknown, sound: unknown): Promise<unknown> => {
      runs += 1;
      if (runs === 2) stop.abort();
      if (runs > 10) await sleep(400);
      return sound;
    };
    const capabilities = { batchPreference: { rows: 1, tokens: 4096, padding: 1 } };
    const reranker = await open("bert-logit", { run, capabilities });
    const partial = await reranker.rerankMany({
      ...{ queries: ["a", "b", "c"], documents: ["one"] },
      ...{ signal: stop.signal, whenAborted: "partial" },
    });
    expect(partial.status).toBe("partial");
    const statuses = partial.rankings.map(({ status }) => status);
    expect(statuses.filter((status) => status === "reranked").length).toBe(2);
    for (const { status, results, usage } of partial.rankings) {
      expect(results[0]?.logit === null).toBe(status === "partial");
      expect(usage.documents).toBe(status === "partial" ? 0 : 1);
    }
    runs = 10;
    const timeBudget = { milliseconds: 100, whenExceeded: "passthrough" } as const;
    const late = await reranker.rerankMany({ queries: ["a", "b"], documents: ["one", "two"], timeBudget });
    expect(late.status).toBe("passthrough");
    for (const { status, results } of late.rankings) {
      expect(status).toBe("passthrough");
      expect(results.map(({ index, logit }) => [index, logit])).toEqual([
        [0, null],
        [1, null],
      ]);
    }
    await reranker.dispose();
  });

  it("takes no queries and no documents, and nothing that is neither", async () => {
    const reranker = await open();
    expect((await reranker.rerankMany({ queries: [], documents })).rankings).toEqual([]);
    const none = await reranker.rerankMany({ queries, documents: [] });
    expect(none.rankings.map(({ results, status }) => [results, status])).toEqual(
      queries.map(() => [[], "reranked"]),
    );
    for (const wrong of [
      { documents },
      { queries: "model", documents },
      { queries: ["model", " "], documents },
      { queries: ["model", 1], documents },
      { query, documents },
      { queries, documents: ["a", 1] },
      { queries, documents, topN: 0 },
    ]) {
      const error = await rejection(reranker.rerankMany(wrong as never));
      expect(error, JSON.stringify(wrong)).toBeInstanceOf(InvalidInputError);
    }
    await reranker.dispose();
  });

  it("is a chain's too", async () => {
    const variant = { name: "toy", model: fixture("bert-logit"), backend: toyBackend(), probe: false };
    await using chain = createFallbackReranker({ variants: [variant] });
    const many = await chain.rerankMany({ queries, documents });
    expect(many).toMatchObject({ variant: "toy", fallbacks: [] });
    const reranker = await open();
    expect(many.rankings).toEqual((await reranker.rerankMany({ queries, documents })).rankings);
    await reranker.dispose();
    await using empty = createFallbackReranker({
      variants: [{ ...variant, model: fixture("none") }],
      whenExhausted: "passthrough",
    });
    const passed = await empty.rerankMany({ queries, documents });
    expect(passed.rankings.map(({ status }) => status)).toEqual(queries.map(() => "passthrough"));
    expect(passed.rankings[1]?.results.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
  });
});

describe("text", () => {
  const items = [
    { title: "Title", body: "the body", id: 1 },
    { title: "", body: " of tokens " },
    { title: "only", body: null },
    { title: " ", body: "thread", extra: "x" },
  ];
  const joined = ["Title the body", "of tokens", "only", "thread"];

  it("is made of fields, or by a function, and the result says so", async () => {
    const reranker = await open();
    const plain = await reranker.rerank({ query, documents: joined });
    const fields = await reranker.rerank({
      query,
      documents: items,
      text: ["title", "body"],
      returnDocuments: true,
    });
    expect(fields.results.map(({ document: _, ...rest }) => rest)).toEqual(plain.results);
    for (const { index, document } of fields.results) expect(document).toBe(items[index]);
    expect(fields.text).toEqual({ kind: "fields", fields: ["title", "body"], separator: " " });
    expect(plain).not.toHaveProperty("text");
    const made = await reranker.rerank({
      query,
      documents: items,
      text: ({ title, body }) => `${title} ${body ?? ""}`.trim(),
    });
    expect(made.results).toEqual(plain.results);
    expect(made.text).toEqual({ kind: "function" });
    const many = await reranker.rerankMany({ queries: [query], documents: items, text: ["title", "body"] });
    expect(many.rankings[0]?.results).toEqual(plain.results);
    expect(many.text).toEqual(fields.text);
    await reranker.dispose();
  });

  it("leaves the documents that are returned as they are", async () => {
    const reranker = await open();
    const documents = [
      { title: "the model", text: "reads tokens" },
      { title: "a backend", text: "" },
      { title: "every thread", text: "the weights", body: "x" },
    ] as const;
    const texts: readonly RerankOptions<(typeof documents)[number]>["text"][] = [
      ["title", "text"],
      ["text", "title"],
      ["title"],
      ({ title, text }) => `${title}: ${text}`,
    ];
    for (const text of texts) {
      const options = { documents, text, returnDocuments: true };
      const one = await reranker.rerank({ query, ...options });
      const many = await reranker.rerankMany({ queries: [query, query], ...options });
      for (const { results } of [one, ...many.rankings]) {
        expect(results).toHaveLength(3);
        for (const { index, document } of results) expect(document).toBe(documents[index]);
      }
    }
    await reranker.dispose();
  });

  it("refuses fields that are no text, typed", async () => {
    const reranker = await open();
    const wrong: readonly [unknown, unknown, string][] = [
      [["title"], [{ title: 1 }], "documents[0].title"],
      [["title"], [{ title: "a" }, {}], "documents[1]"],
      [["title"], ["text"], "documents[0]"],
      [["title"], [["a"]], "documents[0]"],
      [["toString"], [{}], "documents[0]"],
      [["__proto__"], [{}], "documents[0]"],
      [[], items, "text"],
      ["title", items, "text"],
      [[""], items, "text[0]"],
      [["title", 1], items, "text[1]"],
      [["title", "title"], items, "text[1]"],
      [() => 1, items, "documents[0]"],
      [{ fields: [] }, items, "text"],
      [undefined, items, "documents[0].text"],
    ];
    for (const [text, list, path] of wrong) {
      const error = await rejection(reranker.rerank({ query, documents: list, text } as never));
      expect(error, path).toBeInstanceOf(InvalidInputError);
      expect((error as InvalidInputError).path).toBe(path);
    }
    await reranker.dispose();
  });
});

describe("drain", () => {
  it("waits for the calls under way and refuses new ones, typed", async () => {
    let go = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const run = async (_: unknown, sound: unknown): Promise<unknown> => {
      await gate;
      return sound;
    };
    for (const reranker of [
      await open("bert-logit", { run }),
      createFallbackReranker({
        variants: [{ name: "toy", model: fixture("bert-logit"), backend: toyBackend({ run }), probe: false }],
      }),
    ]) {
      const call = reranker.rerank({ query, documents });
      let drained = false;
      const draining = reranker.drain().then(() => {
        drained = true;
      });
      for (const refused of [
        reranker.rerank({ query, documents }),
        reranker.score([{ query, document: "a" }]),
        reranker.rerankMany({ queries, documents }),
      ]) {
        expect(await rejection(refused)).toMatchObject({ code: "draining" });
      }
      const stop = new AbortController();
      const impatient = reranker.drain({ signal: stop.signal });
      stop.abort(new Error("enough"));
      expect((await rejection(impatient)).message).toBe("enough");
      expect(drained).toBe(false);
      go();
      expect((await call).results).toHaveLength(documents.length);
      await draining;
      await reranker.drain();
      expect(await rejection(reranker.drain({ timeout: 3 } as never))).toBeInstanceOf(InvalidInputError);
      await reranker.dispose();
    }
  });
});

describe("text that a tokenizer does not know", () => {
  const tamil = "எத்தனை பேர் பெர்லினில் வாழ்கிறார்கள்";
  it("is told by its letters", async () => {
    const reranker = await open("bert-logit");
    const codes = async (query: string, document: string): Promise<unknown> =>
      (await reranker.rerank({ query, documents: [document] })).warnings.find(
        ({ code }) => code === "unknown-text",
      );
    expect(await codes(tamil, "the model")).toMatchObject({ queries: 1, documents: 0 });
    expect(await codes("the model", `${tamil} ${tamil}`)).toMatchObject({ queries: 0, documents: 1 });
    for (const known of ["the model", "12,5 %", "…", "", "model தமிழ் tokens of every thread"]) {
      expect(await codes("the model", known), known).toBeUndefined();
    }
    await reranker.dispose();
  });

  it("is none where every byte has a token", async () => {
    for (const model of ["roberta-logit", "qwen3-yes-no"]) {
      const reranker = await open(model);
      const { warnings } = await reranker.rerank({ query: tamil, documents: ["𓀀𓀁", "🎉"] });
      expect(warnings.map(({ code }) => code)).not.toContain("unknown-text");
      await reranker.dispose();
    }
  });
});
