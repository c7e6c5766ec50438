import { describe, expect, it } from "vitest";
import { isLong, sampleOf } from "../../../test/sample.js";
import {
  type Backend,
  createFallbackReranker,
  createReranker,
  InvalidInputError,
  type LongDocuments,
  type RankedDocument,
  type Reranker,
} from "../src/index.js";
import { fixture, query, rejection } from "./fallback-scene.js";
import { randomFrom, textKinds } from "./long-texts-of-all-kinds.js";
import { toyBackend } from "./toy-backend.js";

/** One of each way to tokenise and to score. */
const models = [
  "bert-logit",
  "bert-cosine-mean",
  "bert-late",
  "roberta-logit",
  "xlm-roberta-logit",
  "deberta-v2-logit",
  "modernbert-chain",
  "qwen3-yes-no",
  "gemma-yes",
];

const everything = { spans: 65_536, maxPassages: 65_536, overlapTokens: 8 } as const;

const families: Backend["families"] = [
  "cross-encoder",
  "bi-encoder",
  "causal-lm",
  "listwise",
  "late-interaction",
];

/** Short sequences, so that short texts are long. */
async function open(model: string, more = 40): Promise<Reranker> {
  const files = fixture(model);
  const backend: Backend = {
    ...toyBackend({ width: model === "bert-late" ? 16 : 32, capabilities: { unattendedStates: true } }),
    families,
  };
  const probe = await createReranker({ model: files, backend, probe: false });
  const [fits] = (await probe.score([{ query, document: "" }])).scores;
  const maxLength = Math.min(probe.profile.maxLength, (fits?.tokens ?? 0) + more);
  await probe.dispose();
  return createReranker({ model: files, backend, probe: false, maxLength });
}

function clusterEnds(text: string): Set<number> {
  const ends = new Set<number>([text.length]);
  for (const { index } of new Intl.Segmenter("en").segment(text)) ends.add(index);
  return ends;
}

const rounds = isLong ? 12 : 1;

/** Each kind meets some of the models in a short run, and all of them in a long one. */
function kindsFor(model: string): [string, (random: () => number) => string][] {
  const place = models.indexOf(model);
  return Object.entries(textKinds).filter((_, index) => isLong || index % 3 === place % 3);
}

describe.each(models)("%s", (model) => {
  it("cuts texts of all kinds into passages that score as they do alone", async () => {
    const reranker = await open(model);
    const random = randomFrom(model.length * 1009 + (model.codePointAt(0) ?? 0));
    let cut = 0;
    for (let round = 0; round < rounds; round += 1) {
      for (const [kind, make] of kindsFor(model)) {
        const text = make(random);
        const { results } = await reranker.rerank({ query, documents: [text], longDocuments: everything });
        const [result] = results;
        const spans = [...(result?.relevantSpans ?? [])].sort((a, b) => a.start - b.start);
        const name = `${kind} ${round}`;
        expect(spans.length, name).toBe(result?.passages);
        const ends = clusterEnds(text);
        let done = 0;
        let before = -1;
        for (const { start, end, startCodePoint, endCodePoint } of spans) {
          expect(start, name).toBeGreaterThan(before);
          expect(end, name).toBeGreaterThan(done);
          expect(text.slice(done, Math.max(done, start)).trim(), name).toBe("");
          expect(ends.has(start) && ends.has(end), `${name}: ${start} to ${end}`).toBe(true);
          expect([...text.slice(0, start)].length, name).toBe(startCodePoint);
          expect([...text.slice(0, end)].length, name).toBe(endCodePoint);
          [before, done] = [start, end];
        }
        expect(text.slice(done).trim(), name).toBe("");
        const documents = spans.map(({ start, end }) => text.slice(start, end));
        const alone = await reranker.score(documents.map((document) => ({ query, document })));
        expect(
          alone.scores.map(({ logit }) => logit),
          name,
        ).toEqual(spans.map(({ logit }) => logit));
        expect(result?.logit, name).toBe(Math.max(...spans.map(({ logit }) => logit)));
        expect(result?.tokens, name).toBe(alone.scores.reduce((sum, { tokens }) => sum + tokens, 0));
        // A single character may be longer than the model.
        for (const [index, { truncatedTokens }] of alone.scores.entries()) {
          if (truncatedTokens === 0) continue;
          const parts = [...new Intl.Segmenter("en").segment(documents[index] as string)];
          expect(parts.length, `${name}: ${truncatedTokens} tokens cut`).toBe(1);
        }
        if (spans.length > 1) cut += 1;
      }
    }
    expect(cut).toBeGreaterThan(kindsFor(model).length * rounds * 0.6);
    await reranker.dispose();
  }, 120_000);

  it("leaves a document that fits as it is", async () => {
    const reranker = await open(model);
    const documents = ["", " ", "the model", "tokens\r\nand more", "👩‍👩‍👧 é"];
    const plain = await reranker.rerank({ query, documents });
    const chunked = await reranker.rerank({ query, documents, longDocuments: "chunk" });
    expect(
      chunked.results.map(({ passages, relevantSpans, ...rest }) => {
        expect(passages).toBe(1);
        expect(relevantSpans).toMatchObject([{ start: 0, end: documents[rest.index]?.length }]);
        return rest;
      }),
    ).toEqual(plain.results);
    expect(plain).not.toHaveProperty("longDocuments");
    expect(chunked.longDocuments).toEqual({ aggregate: "max", overlapTokens: 64, maxPassages: 256 });
    await reranker.dispose();
  });
});

const long = Array.from({ length: 40 }, (_, index) => `Sentence ${index} is about the model.`).join(" ");

describe("aggregates", () => {
  it("takes the best, the mean of the best, or the first passage", async () => {
    const reranker = await open("bert-logit");
    const ask = async (longDocuments: LongDocuments) => {
      const { results } = await reranker.rerank({ query, documents: [long], longDocuments });
      return results[0] as RankedDocument<string>;
    };
    const all = await ask(everything);
    const spans = all.relevantSpans ?? [];
    const inOrder = [...spans].sort((a, b) => a.start - b.start);
    expect(spans.map(({ logit }) => logit)).toEqual(spans.map(({ logit }) => logit).sort((a, b) => b - a));
    const max = await ask({ overlapTokens: 8 });
    expect(max.relevantSpans).toEqual(spans.slice(0, 1));
    expect(max.logit).toBe(spans[0]?.logit);
    const first = await ask({ overlapTokens: 8, aggregate: "first" });
    expect(first.relevantSpans).toEqual(inOrder.slice(0, 1));
    expect(first.logit).toBe(inOrder[0]?.logit);
    const mean = await ask({ overlapTokens: 8, aggregate: "mean-of-top", top: 4 });
    expect(mean.relevantSpans).toEqual(spans.slice(0, 4));
    expect(mean.logit).toBeCloseTo(spans.slice(0, 4).reduce((sum, { logit }) => sum + logit, 0) / 4, 10);
    expect(mean.score).toBe(mean.logit);
    const half = await ask({ overlapTokens: 8, maxPassages: 2, spans: 9 });
    expect(half).toMatchObject({ passages: 2, truncatedTokensIsMinimum: true });
    expect(half.truncatedTokens).toBeGreaterThan(0);
    await reranker.dispose();
  });

  it("gives a mean its place on the model's scale", async () => {
    for (const [model, scale, scoreOf] of [
      ["qwen3-yes-no", "probability", (logit: number) => 1 / (1 + Math.exp(-logit))],
      ["bert-cosine-mean", "cosine", (logit: number) => logit],
    ] as const) {
      const reranker = await open(model);
      const longDocuments = { aggregate: "mean-of-top" } as const;
      const { results, scale: found } = await reranker.rerank({ query, documents: [long], longDocuments });
      expect(found).toBe(scale);
      expect(results[0]?.score).toBeCloseTo(scoreOf(results[0]?.logit as number), 12);
      expect(results[0]?.relevantSpans).toHaveLength(3);
      await reranker.dispose();
    }
  });

  it("ends passages with sentences, and repeats whole sentences of at most so many tokens", async () => {
    const reranker = await open("bert-logit", 60);
    const { results } = await reranker.rerank({
      query,
      documents: [long],
      longDocuments: { ...everything, overlapTokens: 20 },
    });
    const spans = [...(results[0]?.relevantSpans ?? [])].sort((a, b) => a.start - b.start);
    expect(spans.length).toBeGreaterThan(4);
    for (const [index, { start, end }] of spans.entries()) {
      expect(long.slice(start, end)).toMatch(/^Sentence .*\.$/);
      const next = spans[index + 1];
      if (next !== undefined) expect(next.start).toBeLessThan(end);
    }
    await reranker.dispose();
  });

  it("cuts no added token apart", async () => {
    const reranker = await open("qwen3-yes-no");
    const text = "<think>".repeat(300);
    const { results } = await reranker.rerank({ query, documents: [text], longDocuments: everything });
    const spans = results[0]?.relevantSpans ?? [];
    expect(spans.length).toBeGreaterThan(5);
    for (const { start, end } of spans) expect([start % 7, end % 7]).toEqual([0, 0]);
    await reranker.dispose();
  });

  it("says in the result and in the key how long documents are scored", async () => {
    const reranker = await open("bert-logit");
    const keys = await Promise.all([
      reranker.cacheKey(),
      reranker.cacheKey({ longDocuments: "truncate" }),
      reranker.cacheKey({ longDocuments: "chunk" }),
      reranker.cacheKey({ longDocuments: { overlapTokens: 8 } }),
      reranker.cacheKey({ longDocuments: { aggregate: "first" } }),
      reranker.cacheKey({ longDocuments: { spans: 7 } }),
    ]);
    expect(keys[1]).toBe(keys[0]);
    expect(new Set(keys).size).toBe(4);
    expect(keys[5]).toBe(keys[2]);
    const options = { returnCacheKey: true, longDocuments: { overlapTokens: 8 } } as const;
    const { cacheKey } = await reranker.score([{ query, document: long }], options);
    expect(cacheKey).toBe(keys[3]);
    await reranker.dispose();
  });

  it("is an option of a reranker too, which a call may overrule", async () => {
    const model = fixture("bert-logit");
    const shared = { model, backend: toyBackend(), probe: false, maxLength: 64 } as const;
    const reranker = await createReranker({ ...shared, longDocuments: { aggregate: "first" } });
    const own = await reranker.rerank({ query, documents: [long] });
    expect(own.longDocuments?.aggregate).toBe("first");
    const cut = await reranker.rerank({ query, documents: [long], longDocuments: "truncate" });
    expect(cut).not.toHaveProperty("longDocuments");
    expect(cut.results[0]?.truncatedTokens).toBeGreaterThan(0);
    expect(await reranker.cacheKey()).toBe(
      await reranker.cacheKey({ longDocuments: { aggregate: "first" } }),
    );
    const variant = { ...shared, name: "toy", longDocuments: "chunk" } as const;
    await using chain = createFallbackReranker({ variants: [variant] });
    const chained = await chain.rerank({ query, documents: [long] });
    expect(chained).toMatchObject({ variant: "toy", longDocuments: { aggregate: "max" } });
    const [best] = (await reranker.rerank({ query, documents: [long], longDocuments: "chunk" })).results;
    expect(chained.results[0]).toEqual(best);
    await reranker.dispose();
  });

  it("counts texts in warnings, and not their passages", async () => {
    const reranker = await open("bert-logit");
    const [torn, empty] = [long.replaceAll("model", "mod\ud83del"), " "];
    const documents = [torn, long, torn, `${torn} more`, empty];
    const counts = ({ warnings }: { readonly warnings: readonly object[] }) =>
      warnings.flatMap((warning) =>
        "count" in warning && "code" in warning && warning.code !== "documents-truncated"
          ? [[warning.code, warning.count]]
          : [],
      );
    const whole = await reranker.rerank({ query, documents });
    for (const longDocuments of ["chunk", { maxPassages: 3 }, { passageTokens: 8 }] as const) {
      const found = await reranker.rerank({ query, documents, longDocuments });
      expect(found.results.find(({ index }) => index === 0)?.passages).toBeGreaterThan(1);
      expect(counts(found)).toEqual(counts(whole));
      const many = await reranker.rerankMany({ queries: [query, "mod\ud83d"], documents, longDocuments });
      expect(counts(many)[0]).toEqual(["ill-formed-unicode", 3]);
      expect(counts(many.rankings[0] ?? { warnings: [] })).toEqual(counts(whole));
    }
    expect(counts(whole)).toEqual([
      ["ill-formed-unicode", 2],
      ["empty-documents", 1],
    ]);
    await reranker.dispose();
  });

  it("refuses what it cannot do, typed", async () => {
    const reranker = await open("bert-logit");
    const wrong: readonly unknown[] = [
      "cut",
      1,
      true,
      [],
      { aggregate: "mean" },
      { top: 2 },
      { aggregate: "mean-of-top", top: 0 },
      { passageTokens: 7 },
      { overlapTokens: -1 },
      { overlapTokens: 1.5 },
      { maxPassages: 65_537 },
      { spans: Number.NaN },
      { chunkSize: 3 },
      Promise.resolve("chunk"),
    ];
    for (const longDocuments of wrong) {
      const options = { longDocuments: longDocuments as "chunk" };
      const errors = [
        await rejection(reranker.rerank({ query, documents: [], ...options })),
        await rejection(reranker.score([], options)),
        await rejection(reranker.cacheKey(options)),
        await rejection(createReranker({ model: fixture("bert-logit"), backend: toyBackend(), ...options })),
      ];
      for (const error of errors) expect(error, String(longDocuments)).toBeInstanceOf(InvalidInputError);
    }
    await reranker.dispose();
    const lists = await createReranker({
      model: fixture("qwen3-listwise"),
      backend: toyBackend(),
      probe: false,
    });
    for (const error of [
      await rejection(lists.rerank({ query, documents: [long], longDocuments: "chunk" })),
      await rejection(lists.cacheKey({ longDocuments: "chunk" })),
      await rejection(
        createReranker({ model: fixture("qwen3-listwise"), backend: toyBackend(), longDocuments: "chunk" }),
      ),
    ]) {
      expect(error).toBeInstanceOf(InvalidInputError);
      expect((error as InvalidInputError).path).toBe("longDocuments");
    }
    await lists.dispose();
  });

  it("leaves a document without a score when a call ends between its passages", async () => {
    const stop = new AbortController();
    let runs = 0;
    const backend = toyBackend({
      run: (_, sound) => {
        runs += 1;
        if (runs === 3) stop.abort();
        return sound;
      },
    });
    const reranker = await createReranker({
      ...{ model: fixture("bert-logit"), backend, probe: false, maxLength: 64 },
    });
    const seen: number[] = [];
    const documents = [long, "short", long.slice(0, 300)];
    const { status, results } = await reranker.rerank({
      ...{ query, documents, longDocuments: "chunk", signal: stop.signal, whenAborted: "partial" },
      onProgress: ({ completed, total }) => {
        expect(total).toBe(3);
        seen.push(completed);
      },
    });
    expect(status).toBe("partial");
    expect(results).toHaveLength(3);
    expect(results.find(({ index }) => index === 0)).toMatchObject({ logit: null, notScored: true });
    expect(Math.max(...seen)).toBeLessThan(3);
    const whole = await reranker.rerank({ query, documents, longDocuments: "chunk" });
    expect(whole.results.every(({ logit }) => logit !== null)).toBe(true);
    await reranker.dispose();
  });
});

describe("time", () => {
  const half = 250_000;
  const hostile: Readonly<Record<string, string>> = {
    "one word": "a".repeat(half),
    marks: `a${"\u0301".repeat(half)}`,
    flags: "🇩🇪".repeat(half / 4),
    joined: "👩\u200d".repeat(half / 3),
    "full stops": ". ".repeat(half / 2),
    "a stop and digits": `a. ${"1 ".repeat(half / 2)}`,
    "number signs": "\u0600".repeat(half),
    "line ends": "\n".repeat(half),
    spaces: " ".repeat(half),
    "Thai without spaces": "แบบจำลองอ่านข้อความ".repeat(half / 19),
    "halves of pairs": "\ud83d".repeat(half),
    sentences: "It is so. ".repeat(half / 10),
  };

  it.each(["bert-logit", "roberta-logit", "gemma-yes"])(
    "of %s is bounded for texts without a place to cut",
    async (model) => {
      const reranker = await open(model, 200);
      for (const [name, text] of sampleOf(Object.entries(hostile), { name: model, every: 3 })) {
        const started = performance.now();
        const { scores } = await reranker.score([{ query, document: text }], {
          longDocuments: { maxPassages: 16 },
        });
        expect(scores[0]?.logit, name).not.toBeNull();
        expect(performance.now() - started, name).toBeLessThan(20_000);
      }
      await reranker.dispose();
    },
    240_000,
  );
});
