import { readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { onnx } from "@crossrank/backend-onnx";
import {
  type CreateRerankerOptions,
  CrossrankError,
  createReranker,
  DisposedError,
  IncompatibleModelError,
  InvalidInputError,
  NonFiniteScoreError,
  ProbeFailedError,
  type Reranker,
} from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const fixtures = fileURLToPath(new URL("./fixtures", import.meta.url));
const open: Reranker[] = [];

async function load(name: string, options: Partial<CreateRerankerOptions> = {}): Promise<Reranker> {
  const reranker = await createReranker({
    model: await openModel(path.join(fixtures, name)),
    backend: onnx({ isolation: "thread", workers: 1, threads: 1 }),
    ...options,
  });
  open.push(reranker);
  return reranker;
}

interface Golden {
  readonly query: string;
  readonly document: string;
  readonly inputIds: readonly number[];
  readonly logits: readonly number[];
}

function goldens(name: string): readonly Golden[] {
  return JSON.parse(readFileSync(path.join(fixtures, name, "goldens.json"), "utf8")).sequences;
}

afterAll(async () => {
  await Promise.all(open.map((reranker) => reranker.dispose()));
});

const query = "what is the capital of france";
const words =
  "the capital of france is a river bank and dogs grow fast in old engine coffee tea money paris".split(" ");
/** Documents of 1 to 40 words, all different in length or text, the same on every run. */
const documents = Array.from({ length: 60 }, (_, index) =>
  Array.from(
    { length: 1 + ((index * 7) % 40) },
    (_, word) => words[(index * 5 + word * 3) % words.length],
  ).join(" "),
);

describe("scores", () => {
  it.each([
    "cross-encoder",
    "cross-encoder-int32",
    "cross-encoder-external",
    "cross-encoder-static",
    "cross-encoder-fp16",
  ])("%s gives the reference's logits, whatever shares its batch", async (name) => {
    const reranker = await load(name);
    const pairs = goldens(name);
    const { scores, scale } = await reranker.score(pairs);
    expect(scale).toBe("logit");
    const tolerance = name.endsWith("fp16") ? 2e-2 : 1e-4;
    for (const [index, { logits, inputIds }] of pairs.entries()) {
      const score = scores[index];
      expect(Math.abs((score?.logit ?? Number.NaN) - (logits[0] as number))).toBeLessThan(tolerance);
      expect(score?.tokens).toBe(inputIds.length);
    }
  });

  it("of a two-class head are the difference of its logits, as a probability", async () => {
    const reranker = await load("cross-encoder-two-class");
    const pairs = goldens("cross-encoder-two-class");
    const { scores, scale } = await reranker.score(pairs);
    expect(scale).toBe("probability");
    for (const [index, { logits }] of pairs.entries()) {
      const [negative, positive] = logits as [number, number];
      expect(scores[index]?.logit).toBeCloseTo(positive - negative, 4);
      expect(scores[index]?.score).toBeCloseTo(
        Math.exp(positive) / (Math.exp(positive) + Math.exp(negative)),
        5,
      );
    }
  });

  it("of a bi-encoder are cosines, the same whether the runtime pools or core does", async () => {
    const inCore = await load("bi-encoder");
    const inRuntime = await load("bi-encoder-pooled");
    expect([inCore.session.capabilities.output, inRuntime.session.capabilities.output]).toEqual([
      "hidden-states",
      "pooled",
    ]);
    const [left, right] = await Promise.all(
      [inCore, inRuntime].map((one) => one.rerank({ query, documents })),
    );
    expect(left?.scale).toBe("cosine");
    const cosines = (result: typeof left) =>
      result?.results.toSorted((a, b) => a.index - b.index).map((one) => one.score as number);
    for (const [index, cosine] of cosines(left)?.entries() ?? []) {
      expect(Math.abs(cosine)).toBeLessThanOrEqual(1 + 1e-9);
      expect(cosine).toBeCloseTo(cosines(right)?.[index] as number, 5);
    }
  });

  it("put a bi-encoder's prefixes before its texts", async () => {
    const plain = await load("bi-encoder");
    const prefixed = await load("bi-encoder", {
      profile: { queryPrefix: "dogs grow ", documentPrefix: "old " },
    });
    const [a] = (await prefixed.score([{ query: "fast", document: "engine" }])).scores;
    const [b] = (await plain.score([{ query: "dogs grow fast", document: "old engine" }])).scores;
    expect(a?.logit).toBe(b?.logit);
  });
});

describe("a ranking", () => {
  let reranker: Reranker;
  beforeAll(async () => {
    reranker = await load("cross-encoder");
  });

  it("is by logit, complete, and says what it stands on", async () => {
    const result = await reranker.rerank({ query, documents });
    const logits = result.results.map((one) => one.logit as number);
    expect(logits).toEqual(logits.toSorted((a, b) => b - a));
    expect(result.results.map((one) => one.index).toSorted((a, b) => a - b)).toEqual(
      documents.map((_, index) => index),
    );
    expect(result).toMatchObject({
      status: "reranked",
      scale: "logit",
      warnings: [],
      backend: { name: "onnx" },
    });
    expect(result.model.artifact.files[0]?.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(result.usage).toMatchObject({ sequences: documents.length });
    expect(result.usage.tokens).toBe(result.results.reduce((sum, one) => sum + one.tokens, 0));
    expect(result.usage.paddedTokens).toBeGreaterThanOrEqual(result.usage.tokens);
  });

  it("gives a document the same score alone, in company, and in another order", async () => {
    const together = await reranker.rerank({ query, documents });
    const reversed = await reranker.rerank({ query, documents: documents.toReversed() });
    for (const { index, logit } of together.results) {
      const alone = await reranker.rerank({ query, documents: [documents[index] as string] });
      expect(alone.results[0]?.logit).toBeCloseTo(logit as number, 4);
      const there = reversed.results.find((one) => one.index === documents.length - 1 - index);
      expect(there?.logit).toBeCloseTo(logit as number, 4);
    }
  });

  it("keeps the input's order among equals", async () => {
    const { results } = await reranker.rerank({
      query,
      documents: Array.from({ length: 9 }, () => "coffee"),
    });
    expect(results.map((one) => one.index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it("returns the top n, and the caller's own documents when asked", async () => {
    const input = documents.map((text, id) => ({ id, text }));
    const { results } = await reranker.rerank({ query, documents: input, topN: 3, returnDocuments: true });
    expect(results).toHaveLength(3);
    for (const { index, document } of results) expect(document).toBe(input[index]);
    const without = await reranker.rerank({ query, documents: input, topN: 1 });
    expect(without.results[0]).not.toHaveProperty("document");
  });

  it("of no documents is empty", async () => {
    const result = await reranker.rerank({ query, documents: [] });
    expect(result).toMatchObject({ status: "reranked", results: [], warnings: [] });
  });

  it("of two calls at once is that of each alone", async () => {
    const other = "why is the engine slow";
    const [first, second] = await Promise.all([
      reranker.rerank({ query, documents }),
      reranker.rerank({ query: other, documents }),
    ]);
    expect(first.results).toEqual((await reranker.rerank({ query, documents })).results);
    expect(second.results).toEqual((await reranker.rerank({ query: other, documents })).results);
  });

  it("reports progress up to the total", async () => {
    const seen: number[] = [];
    await reranker.rerank({ query, documents, onProgress: ({ completed }) => seen.push(completed) });
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.at(-1)).toBe(documents.length);
    expect(seen.length).toBeGreaterThan(3);
  });
});

describe("hard input", () => {
  let reranker: Reranker;
  beforeAll(async () => {
    reranker = await load("cross-encoder");
  });

  it.each([
    ["an empty query", { query: "", documents: ["tea"] }, /query is empty/],
    ["a blank query", { query: " \n\t", documents: ["tea"] }, /query is empty/],
    ["a query that is no string", { query: 7, documents: ["tea"] }, /query must be a string, not number/],
    ["documents that are no list", { query, documents: "tea" }, /documents must be an array, not string/],
    [
      "a document that is no text",
      { query, documents: ["tea", null] },
      /documents\[1\] must be a string.*null/,
    ],
    [
      "an object without a text",
      { query, documents: [{ body: "tea" }] },
      /documents\[0\]\.text must be a string/,
    ],
    ["a number among documents", { query, documents: [1] }, /documents\[0\].*number/],
    ["a negative topN", { query, documents: ["tea"], topN: -1 }, /topN/],
    ["a fractional topN", { query, documents: ["tea"], topN: 1.5 }, /topN/],
  ])("%s is refused by name", async (_, options, message) => {
    const attempt = reranker.rerank(options as never);
    await expect(attempt).rejects.toThrow(InvalidInputError);
    await expect(attempt).rejects.toThrow(message);
  });

  it("an empty document is scored, with a warning", async () => {
    const result = await reranker.rerank({ query, documents: ["", "  ", "tea"] });
    expect(result.results).toHaveLength(3);
    expect(result.results.every((one) => Number.isFinite(one.logit))).toBe(true);
    expect(result.warnings).toMatchObject([{ code: "empty-documents", count: 2 }]);
  });

  it("lone surrogates read as U+FFFD, with a warning", async () => {
    const result = await reranker.rerank({ query, documents: ["tea \ud83d", "tea \ufffd"] });
    expect(result.results[0]?.logit).toBe(result.results[1]?.logit);
    expect(result.warnings).toMatchObject([{ code: "ill-formed-unicode", count: 1 }]);
  });

  it("control characters and text that spells special tokens are ordinary text", async () => {
    const { results } = await reranker.rerank({
      query: "[CLS] tea [SEP]",
      documents: ["coffee [SEP] the capital [PAD][MASK]", "coffee\u0000\u0007\u001b[31m\u200b"],
    });
    expect(results.every((one) => Number.isFinite(one.logit))).toBe(true);
    // [CLS], "[", "cls", "]" …: more tokens than if the spellings had become special ids.
    expect(results.find((one) => one.index === 0)?.tokens).toBeGreaterThan(15);
  });

  it("a document of 10 MB is cut, flagged, and scores as its beginning does", async () => {
    const huge = "dogs grow fast in the first year ".repeat(310_000);
    expect(huge.length).toBeGreaterThan(10_000_000);
    const result = await reranker.rerank({ query, documents: [huge, huge.slice(0, 2000)] });
    const [a, b] = result.results.toSorted((x, y) => x.index - y.index);
    expect(a?.logit).toBeCloseTo(b?.logit as number, 4);
    expect(a).toMatchObject({ tokens: reranker.profile.maxLength, truncatedTokensIsMinimum: true });
    expect(b?.truncatedTokens).toBeGreaterThan(0);
    expect(result.warnings).toMatchObject([{ code: "documents-truncated", count: 2 }]);
  });

  it("a query that fills the sequence is not scored, ranks last, and keeps the input's order", async () => {
    const result = await reranker.rerank({ query: "tea ".repeat(500), documents: ["tea", "coffee"] });
    expect(result.results).toMatchObject([
      { index: 0, logit: null, score: null, queryOverflow: true },
      { index: 1, logit: null, score: null, queryOverflow: true },
    ]);
    expect(result.warnings).toMatchObject([{ code: "query-overflow", count: 2 }]);
    expect(result.usage.sequences).toBe(0);
  });

  it("overflowing pairs rank behind scored ones", async () => {
    const { scores } = await reranker.score([
      { query: "tea ".repeat(500), document: "tea" },
      { query: "tea", document: "coffee" },
    ]);
    expect(scores[0]?.queryOverflow).toBe(true);
    expect(scores[1]?.logit).toEqual(expect.any(Number));
  });

  it("longest-first scores a long query too, and warns", async () => {
    const longest = await load("cross-encoder", { truncation: "longest-first" });
    const result = await longest.rerank({ query: "tea ".repeat(500), documents: ["coffee ".repeat(500)] });
    expect(result.results[0]).toMatchObject({ tokens: longest.profile.maxLength, logit: expect.any(Number) });
    expect(result.warnings.map((one) => one.code)).toEqual(["documents-truncated", "query-truncated"]);
  });

  it("4,000 documents are scored in bounded memory", async () => {
    const many = Array.from({ length: 4000 }, (_, index) => documents[index % documents.length] as string);
    let most = 0;
    let calls = 0;
    setFlagsFromString("--expose-gc");
    const collectGarbage = runInNewContext("gc") as () => void;
    const held = (): number => {
      // What is held, not what waits to be collected: when that happens is the engine's affair.
      collectGarbage();
      return process.memoryUsage().arrayBuffers;
    };
    collectGarbage();
    await setTimeout(10);
    const before = held();
    const { results } = await reranker.rerank({
      query,
      documents: many,
      onProgress: () => {
        if (calls++ % 50 === 0) most = Math.max(most, held());
      },
    });
    expect(results).toHaveLength(4000);
    // A window of 1,024 documents is encoded at a time, which is 0.45 MB of ids and segments; all 4,000 are 1.1 MB.
    expect(most).toBeGreaterThan(before);
    expect(most - before).toBeLessThan(750_000);
  });

  it("NaN from the model fails the call and names the pair", async () => {
    const broken = await load("cross-encoder-nan");
    const attempt = broken.rerank({ query, documents: ["tea", `dogs ${nanWord} grow`, "coffee"] });
    await expect(attempt).rejects.toThrow(NonFiniteScoreError);
    await expect(attempt).rejects.toMatchObject({ index: 1, code: "non-finite-score" });
    const partial = broken.rerank({ query, documents: [`${nanWord}`], whenAborted: "partial" });
    await expect(partial).rejects.toThrow(NonFiniteScoreError);
    // The session is still good for others.
    expect((await broken.rerank({ query, documents: ["tea"] })).results).toHaveLength(1);
  });
});

/** The word that makes the fixture's logits NaN. */
const nanWord = "poison";

describe("vectors", () => {
  it("have the cosines that score gives, and the prefixes of their side", async () => {
    const reranker = await load("bi-encoder", { profile: { queryPrefix: "tea ", documentPrefix: "river " } });
    const [query] = (await reranker.embed(["the cat"], { as: "query" })).vectors;
    const { vectors, usage, truncatedTokens } = await reranker.embed(documents, { as: "document" });
    expect(usage.sequences).toBe(documents.length);
    expect(truncatedTokens).toHaveLength(documents.length);
    const { scores } = await reranker.score(documents.map((document) => ({ query: "the cat", document })));
    for (const [index, vector] of vectors.entries()) {
      const cosine = vector.reduce((sum, value, i) => sum + value * (query?.[i] as number), 0);
      expect(cosine).toBeCloseTo(scores[index]?.logit as number, 5);
    }
  });

  it("are refused for other models, and for what is no text", async () => {
    const reranker = await load("cross-encoder");
    await expect(reranker.embed(["tea"], { as: "query" })).rejects.toThrow(/bi-encoder/);
    const embedder = await load("bi-encoder");
    await expect(embedder.embed([7 as never], { as: "query" })).rejects.toThrow(/texts\[0\]/);
  });
});

describe("stopping", () => {
  const many = Array.from({ length: 3000 }, (_, index) => documents[index % documents.length] as string);

  it("an abort in the middle rejects with the signal's reason, and the reranker goes on working", async () => {
    const reranker = await load("cross-encoder");
    const controller = new AbortController();
    const reason = new Error("enough");
    const attempt = reranker.rerank({
      query,
      documents: many,
      signal: controller.signal,
      onProgress: ({ completed }) => completed > 100 && controller.abort(reason),
    });
    await expect(attempt).rejects.toBe(reason);
    expect((await reranker.rerank({ query, documents: ["tea"] })).results).toHaveLength(1);
  });

  it("an abort beforehand does nothing at all", async () => {
    const reranker = await load("cross-encoder");
    await expect(reranker.rerank({ query, documents: [], signal: AbortSignal.abort() })).rejects.toThrow(
      /abort/i,
    );
  });

  it("an abort keeps what was scored when asked to", async () => {
    const reranker = await load("cross-encoder");
    const controller = new AbortController();
    const result = await reranker.rerank({
      query,
      documents: many,
      signal: controller.signal,
      whenAborted: "partial",
      onProgress: ({ completed }) => completed > 100 && controller.abort(),
    });
    expect(result.status).toBe("partial");
    const scored = result.results.filter((one) => one.logit !== null);
    expect(scored.length).toBeGreaterThan(100);
    expect(scored.length).toBeLessThan(many.length);
    const rest = result.results.slice(scored.length);
    expect(rest.every((one) => one.notScored && one.score === null)).toBe(true);
    expect(rest.map((one) => one.index)).toEqual(rest.map((one) => one.index).toSorted((a, b) => a - b));
  });

  it("dispose during a run rejects it and resolves when nothing runs; later calls are refused", async () => {
    const reranker = await load("cross-encoder");
    let disposed: Promise<void> | undefined;
    const attempt = reranker.rerank({
      query,
      // One window of core's: the dispose is noticed between batches, not between windows.
      documents: many.slice(0, 1000),
      onProgress: () => {
        disposed ??= reranker.dispose();
      },
    });
    await expect(attempt).rejects.toThrow(DisposedError);
    await disposed;
    await expect(reranker.rerank({ query, documents: ["tea"] })).rejects.toThrow(DisposedError);
    await reranker.dispose();
  });

  it("await using disposes", async () => {
    let escaped: Reranker;
    {
      await using reranker = await load("cross-encoder");
      escaped = reranker;
      await reranker.rerank({ query, documents: ["tea"] });
    }
    await expect(escaped.score([{ query, document: "tea" }])).rejects.toThrow(DisposedError);
  });

  it("an error thrown by onProgress fails the call", async () => {
    const reranker = await load("cross-encoder");
    const attempt = reranker.rerank({
      query,
      documents,
      onProgress: () => {
        throw new Error("mine");
      },
    });
    await expect(attempt).rejects.toThrow("mine");
  });
});

describe("loading", () => {
  it("refuses an artifact that is not the model it says it is", async () => {
    const [golden] = goldens("cross-encoder") as [Golden];
    const pair = { query: golden.query, document: golden.document };
    const expectations = (logit: number) => ({
      expectations: { tolerance: 1e-3, pairs: [{ ...pair, logit }] },
    });
    await load("cross-encoder", { profile: expectations(golden.logits[0] as number) });
    const attempt = load("cross-encoder", { profile: expectations((golden.logits[0] as number) + 1) });
    await expect(attempt).rejects.toThrow(ProbeFailedError);
    await expect(attempt).rejects.toThrow(/is not this model/);
  });

  it("refuses a profile and an artifact that do not go together", async () => {
    const attempt = load("cross-encoder", {
      profile: { family: "bi-encoder", head: { kind: "cosine", pooling: "cls" }, activation: "identity" },
    });
    await expect(attempt).rejects.toThrow(IncompatibleModelError);
    await expect(load("cross-encoder-two-class", { profile: { head: { kind: "logit" } } })).rejects.toThrow(
      /id2label/,
    );
  });

  it("refuses a family that the backend does not run, before it loads anything", async () => {
    const attempt = load("cross-encoder", { profile: { family: "listwise" } });
    await expect(attempt).rejects.toSatisfy((error) => CrossrankError.isInstance(error));
  });

  it("keeps to the shapes that a graph declares", async () => {
    const reranker = await load("cross-encoder-static");
    expect(reranker.session.capabilities).toMatchObject({ batchSize: { exactly: 4 }, sequenceLengths: [32] });
    expect(reranker.profile.maxLength).toBe(32);
    const result = await reranker.rerank({ query, documents });
    expect(result.usage.paddedTokens).toBe(result.usage.batches * 4 * 32);
    expect(result.usage.batches).toBe(15);
  });

  it("probes the model at its own length, however short the caller wants it", async () => {
    const [golden] = goldens("cross-encoder") as [Golden];
    const { query: asked, document } = golden;
    const profile = {
      expectations: {
        tolerance: 1e-3,
        pairs: [{ query: asked, document, logit: golden.logits[0] as number }],
      },
    };
    const reranker = await load("cross-encoder", { maxLength: 8, truncation: "longest-first", profile });
    const { results } = await reranker.rerank({
      query: "tea",
      documents: ["coffee", "dogs grow fast in old engine"],
    });
    expect(Math.max(...results.map((one) => one.tokens))).toBe(8);
  });

  it("takes a shorter maximum length, and refuses one that the model does not have", async () => {
    const short = await load("cross-encoder", { maxLength: 16 });
    const { results } = await short.rerank({ query, documents });
    expect(Math.max(...results.map((one) => one.tokens))).toBe(16);
    await expect(load("cross-encoder", { maxLength: 1000 })).rejects.toThrow(
      /maxLength must be a whole number/,
    );
    await expect(load("cross-encoder", { maxLength: 3 })).rejects.toThrow(InvalidInputError);
  });
});
