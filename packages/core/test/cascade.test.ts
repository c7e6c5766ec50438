import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { referenceBackend } from "../../conformance/src/reference-backend.js";
import {
  BackendRunError,
  type CascadeDocument,
  type CascadeReranker,
  cascade,
  createFallbackReranker,
  createReranker,
  DisposedError,
  DrainingError,
  InvalidInputError,
  NonFiniteScoreError,
  type Reranker,
  TimeBudgetExceededError,
} from "../src/index.js";
import {
  documents,
  fixture,
  gate,
  poison,
  probeBatches,
  query,
  rejection,
  watched,
} from "./fallback-scene.js";
import { toyBackend } from "./toy-backend.js";

const other = "what does a thread read";
const keep = 8;

/** Cosines of a bi-encoder, logits of a cross-encoder, and probabilities of a decoder that takes an instruction. */
let small: Reranker;
let large: Reranker;
let largest: Reranker;
let two: CascadeReranker;

beforeAll(async () => {
  const backend = referenceBackend({});
  [small, large, largest] = await Promise.all([
    createReranker({ model: fixture("bert-cosine-mean"), backend }),
    createReranker({ model: fixture("bert-logit"), backend }),
    createReranker({ model: fixture("qwen3-yes-no"), backend: toyBackend(), probe: false }),
  ]);
  two = cascade([small, large], { keep });
});

afterAll(async () => {
  await Promise.all([small, large, largest].map((one) => one.dispose()));
});

/** Positions by a model alone, the best first. */
async function orderOf(reranker: Reranker, texts: readonly string[], asked = query): Promise<number[]> {
  const { results } = await reranker.rerank({ query: asked, documents: texts });
  return results.map(({ index }) => index);
}

async function logitsOf(reranker: Reranker, texts: readonly string[], asked = query): Promise<number[]> {
  const { scores } = await reranker.score(texts.map((document) => ({ query: asked, document })));
  return scores.map(({ logit }) => logit as number);
}

/** What a cascade of two has to answer, from each model alone. */
async function expectedOrder(texts: readonly string[], count: number, asked = query): Promise<number[]> {
  const first = await orderOf(small, texts, asked);
  const logits = await logitsOf(large, texts, asked);
  const head = first.slice(0, count).sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
  return [...head, ...first.slice(count)];
}

const indexes = (results: readonly { readonly index: number }[]): number[] =>
  results.map(({ index }) => index);

describe("the order", () => {
  it.each([1, 2, keep, 29])(
    "keeps the best %i, and the rest in the first stage's order behind them",
    async (count) => {
      const { results, status } = await cascade([small, large], { keep: count }).rerank({ query, documents });
      expect(indexes(results)).toEqual(await expectedOrder(documents, count));
      expect(status).toBe("reranked");
      expect(results.map(({ stage }) => stage)).toEqual([
        ...new Array(count).fill(1),
        ...new Array(documents.length - count).fill(0),
      ]);
    },
  );

  it("gives the scores of the last stage alone, and every stage's beside them", async () => {
    const { results, scale, model, stages } = await two.rerank({ query, documents });
    const [cosines, logits] = [await logitsOf(small, documents), await logitsOf(large, documents)];
    expect([scale, model.id]).toEqual(["logit", "bert-logit"]);
    expect(
      stages.map((stage) => [stage.model.id, stage.scale, stage.status, stage.pairs, stage.scored]),
    ).toEqual([
      ["bert-cosine-mean", "cosine", "reranked", 30, 30],
      ["bert-logit", "logit", "reranked", keep, keep],
    ]);
    for (const one of results) {
      expect(one.stageScores[0]?.logit).toBeCloseTo(cosines[one.index] as number, 6);
      if (one.stage === 1) {
        expect(one.logit).toBeCloseTo(logits[one.index] as number, 6);
        expect(one.stageScores[1]).toMatchObject({ logit: one.logit, score: one.score, tokens: one.tokens });
      } else {
        expect([one.logit, one.score, one.stageScores[1], one.notScored]).toEqual([
          null,
          null,
          null,
          undefined,
        ]);
        expect(one.tokens).toBe(one.stageScores[0]?.tokens);
      }
    }
  });

  it.each([
    [keep, keep],
    [30, 12],
    [1000, 30],
    [1, 1],
    [8, 0],
  ])("with keep %i and %i documents the last model runs alone", async (count, size) => {
    const texts = documents.slice(0, size);
    const alone = await large.rerank({ query, documents: texts });
    const { results, stages, usage } = await cascade([small, large], { keep: count }).rerank({
      query,
      documents: texts,
    });
    expect(results.map(({ stage: _stage, stageScores: _scores, ...rest }) => rest)).toEqual(alone.results);
    expect(usage.sequences).toBe(alone.usage.sequences);
    expect(stages[0]).toMatchObject({ status: "not-needed", pairs: 0, usage: { sequences: 0 } });
    expect(results.every(({ stageScores }) => stageScores[0] === null)).toBe(true);
  });

  it("breaks ties by the caller's order, also at the boundary", async () => {
    const texts = new Array<string>(12).fill("the model reads");
    const { results } = await cascade([small, large], { keep: 5 }).rerank({ query, documents: texts });
    expect(indexes(results)).toEqual(texts.map((_, index) => index));
    expect(results.map(({ stage }) => stage)).toEqual([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
  });

  it.each([1, 3, keep, 12, 100])("topN %i cuts the same order", async (topN) => {
    const all = await two.rerank({ query, documents, returnDocuments: true });
    const best = await two.rerank({ query, documents, returnDocuments: true, topN });
    expect(best.results).toEqual(all.results.slice(0, topN));
    expect(best.results.every(({ index, document }) => document === documents[index])).toBe(true);
  });

  it("reads fields, and a function's texts", async () => {
    const rows = documents.map((body, index) => ({ title: `title ${index % 3}`, body }));
    const joined = rows.map(({ title, body }) => `${title} ${body}`);
    const { results, text } = await two.rerank({ query, documents: rows, text: ["title", "body"] });
    expect(indexes(results)).toEqual(await expectedOrder(joined, keep));
    expect(text).toMatchObject({ kind: "fields", fields: ["title", "body"] });
    const made = await two.rerank({
      query,
      documents: rows,
      text: ({ body }) => body,
      returnDocuments: true,
    });
    expect(indexes(made.results)).toEqual(await expectedOrder(documents, keep));
    expect(made.results[0]?.document).toBe(rows[made.results[0]?.index ?? -1]);
  });

  it("of three stages is block by block", async () => {
    const three = cascade([small, large, largest], { keep: [12, 4] });
    const { results, stages } = await three.rerank({ query, documents });
    expect(results.map(({ stage }) => stage)).toEqual([
      ...new Array(4).fill(2),
      ...new Array(8).fill(1),
      ...new Array(18).fill(0),
    ]);
    expect(stages.map(({ pairs }) => pairs)).toEqual([30, 12, 4]);
    for (const stage of [0, 1, 2]) {
      const block = results.filter((one) => one.stage === stage);
      const logits = block.map(({ stageScores }) => stageScores[stage]?.logit as number);
      expect(logits).toEqual(logits.toSorted((a, b) => b - a));
    }
    // A stage in the middle that has nothing to leave out.
    const few = await three.rerank({ query, documents: documents.slice(0, 12) });
    expect(few.stages.map(({ status, pairs }) => [status, pairs])).toEqual([
      ["not-needed", 0],
      ["reranked", 12],
      ["reranked", 4],
    ]);
  });

  it("takes a listwise model as the last stage, and says so", async () => {
    const list = await createReranker({
      model: fixture("qwen3-listwise"),
      backend: toyBackend(),
      probe: false,
    });
    onTestFinished(() => list.dispose());
    const { results, scoring, stages } = await cascade([small, list], { keep: 5 }).rerank({
      query,
      documents,
    });
    expect(scoring).toBe("listwise");
    expect(stages.map((stage) => stage.scoring)).toEqual(["pointwise", "listwise"]);
    expect(indexes(results.slice(0, 5)).toSorted()).toEqual(
      (await orderOf(small, documents)).slice(0, 5).toSorted(),
    );
  });
});

describe("many queries and pairs", () => {
  it("ranks each query by its own best, a repeated query once", async () => {
    const queries = [query, other, query];
    const { rankings, usage, stages, status } = await two.rerankMany({ queries, documents });
    for (const [place, asked] of queries.entries()) {
      const { results } = await two.rerank({ query: asked, documents });
      const given = rankings[place]?.results ?? [];
      expect(indexes(given)).toEqual(indexes(results));
      expect(given.map(({ stage }) => stage)).toEqual(results.map(({ stage }) => stage));
    }
    expect(stages.map(({ pairs }) => pairs)).toEqual([60, 2 * keep]);
    expect(rankings.map((one) => one.usage.documents)).toEqual([keep, keep, 0]);
    expect(rankings.reduce((sum, one) => sum + one.usage.tokens, 0)).toBeGreaterThan(0);
    expect(usage.sequences).toBe(stages.reduce((sum, stage) => sum + stage.usage.sequences, 0));
    expect([status, ...rankings.map((one) => one.status)]).toEqual(new Array(4).fill("reranked"));
  });

  it("tells the warnings of each query by itself", async () => {
    const { rankings, warnings } = await two.rerankMany({
      queries: [query, `${other} \ud800`],
      documents,
    });
    expect(rankings.map((one) => one.warnings.map(({ code }) => code))).toEqual([[], ["ill-formed-unicode"]]);
    expect(warnings.map(({ code }) => code)).toContain("ill-formed-unicode");
  });

  it.each([
    [[], documents],
    [[query], []],
    [[], []],
  ])("has nothing to rank (%#)", async (queries, texts) => {
    const { rankings, stages } = await two.rerankMany({ queries, documents: texts });
    expect(rankings.map(({ results }) => results)).toEqual(queries.map(() => []));
    expect(stages.map(({ pairs }) => pairs)).toEqual([0, 0]);
  });

  it("scores pairs in their own order, wherever a query's stand", async () => {
    const pairs = documents.flatMap((document) => [
      { query, document },
      { query: other, document },
    ]);
    const { scores, stages } = await two.score(pairs);
    for (const [offset, asked] of [query, other].entries()) {
      const own = scores.filter((_, index) => index % 2 === offset);
      const { results } = await two.rerank({ query: asked, documents });
      for (const { index, ...rest } of results) expect(own[index]).toEqual(rest);
    }
    expect(stages.map((stage) => stage.pairs)).toEqual([60, 2 * keep]);
    expect(await two.score([])).toMatchObject({ scores: [], status: "reranked", scale: "logit" });
    expect((await two.score([{ query, document: "a" }])).scores[0]).toMatchObject({ stage: 1 });
  });
});

describe("options of a call", () => {
  it("refuses a threshold, which is on one scale", async () => {
    for (const threshold of [0.5, 0]) {
      const error = await rejection(two.rerank({ query, documents: ["a"], threshold }));
      expect(InvalidInputError.isInstance(error) && error.path).toBe("threshold");
      expect(error.message).toContain("topN");
      const many = await rejection(two.rerankMany({ queries: [query], documents, threshold }));
      expect(InvalidInputError.isInstance(many)).toBe(true);
    }
  });

  it("gives the last stage's probabilities, whatever the first has", async () => {
    const { results, scale, calibration, stages } = await two.rerank({
      query,
      documents,
      activation: "probability",
    });
    expect([scale, calibration?.method, stages[0]?.scale]).toEqual(["probability", "sigmoid", "cosine"]);
    for (const { score, logit } of results.slice(0, keep)) {
      expect(score).toBeCloseTo(1 / (1 + Math.exp(-(logit as number))), 12);
    }
  });

  it("hands an instruction to the stages that take one, and refuses where none does", async () => {
    const instruction = "find the model";
    const mixed = cascade([small, largest], { keep: 4 });
    const { results } = await mixed.rerank({ query, documents, instruction });
    const expected = await largest.rerank({ query, documents, instruction });
    const logits = new Map(expected.results.map(({ index, logit }) => [index, logit]));
    for (const { index, logit } of results.slice(0, 4))
      expect(logit).toBeCloseTo(logits.get(index) as number, 6);
    const error = await rejection(two.rerank({ query, documents, instruction }));
    expect(InvalidInputError.isInstance(error) && error.path).toBe("instruction");
  });

  it("scores long documents by passages in both stages", async () => {
    const long = `${"the weights ".repeat(120)}which tokens does the model read`;
    const texts = [...documents.slice(0, 10), long];
    const { results, longDocuments } = await cascade([largest, large], { keep: 11 - 1 }).rerank({
      query,
      documents: texts,
      longDocuments: { aggregate: "mean-of-top", top: 2, spans: 1 },
    });
    expect(longDocuments).toMatchObject({ aggregate: "mean-of-top", top: 2 });
    const one = results.find(({ index }) => index === 10) as CascadeDocument<string>;
    expect(one.stageScores[0]?.passages).toBeGreaterThan(0);
    const alone = await large.rerank({
      query,
      documents: texts,
      longDocuments: { aggregate: "mean-of-top", top: 2, spans: 1 },
    });
    const same = alone.results.find(({ index }) => index === 10);
    if (one.stage === 1) expect([one.logit, one.relevantSpans]).toEqual([same?.logit, same?.relevantSpans]);
    else expect([one.logit, one.relevantSpans]).toEqual([null, undefined]);
  });

  it("counts progress through all stages", async () => {
    const seen: [number, number][] = [];
    await two.rerank({
      query,
      documents,
      onProgress: ({ completed, total }) => void seen.push([completed, total]),
    });
    const completed = seen.map(([count]) => count);
    expect(completed).toEqual(completed.toSorted((a, b) => a - b));
    expect(completed.at(-1)).toBe(30 + keep);
    expect(new Set(seen.map(([, total]) => total))).toEqual(new Set([30 + keep]));
    const failure = new Error("the caller's");
    const onProgress = ({ completed: count }: { readonly completed: number }): void => {
      if (count > 30) throw failure;
    };
    expect(await rejection(two.rerank({ query, documents, onProgress }))).toBe(failure);
  });

  it.each([
    [{ query: " ", documents }, "query"],
    [{ query, documents: ["a", 3] }, "documents[1]"],
    [{ query, documents, topN: 0 }, "topN"],
    [{ query, documents, keep: 3 }, "keep"],
    [
      { query, documents, timeBudget: { milliseconds: 0, whenExceeded: "partial" } },
      "timeBudget.milliseconds",
    ],
    [{ query, documents, timeBudget: { milliseconds: 5, whenExceeded: "never" } }, "timeBudget.whenExceeded"],
    [{ query, documents, whenAborted: "later" }, "whenAborted"],
  ])("refuses a wrong option before anything is scored (%#)", async (options, path) => {
    const error = await rejection(two.rerank(options as never));
    expect(InvalidInputError.isInstance(error) && error.path).toBe(path);
  });

  it("says the warnings of both stages, each in its own", async () => {
    const texts = [...documents, "the model \ud800", `the model ${"reads ".repeat(400)}`, ""];
    const { warnings, stages } = await cascade([small, large], { keep: texts.length - 1 }).rerank({
      query,
      documents: texts,
    });
    const codes = stages.map((stage) => stage.warnings.map(({ code }) => code));
    expect(codes[0]).toEqual(expect.arrayContaining(["ill-formed-unicode", "empty-documents"]));
    expect(new Set(warnings.map(({ code }) => code))).toEqual(new Set(codes.flat()));
    expect(warnings.length).toBe(new Set(codes.flat()).size);
    const cut = warnings.find(({ code }) => code === "documents-truncated");
    expect(cut).toEqual(stages[1]?.warnings.find(({ code }) => code === "documents-truncated"));
  });
});

/** A cascade whose last stage hangs in the batch after so many documents. */
async function held(after: number, stage: 0 | 1 = 1) {
  const door = gate();
  const runtime = watched("held", { holdFrom: probeBatches + after, gate: door });
  const model = await createReranker({ model: fixture("bert-logit"), backend: runtime.backend });
  onTestFinished(async () => {
    door.open();
    await model.dispose();
  });
  return { door, runtime, model, both: cascade(stage === 1 ? [small, model] : [model, largest], { keep }) };
}

describe("what ends a call early", () => {
  it.each([0, 3])("a time budget: after %i of the last stage, its part comes first", async (after) => {
    const { both } = await held(after);
    const { results, status, warnings, stages } = await both.rerank({
      query,
      documents,
      timeBudget: { milliseconds: 1500, whenExceeded: "partial" },
    });
    expect(status).toBe("partial");
    expect(stages.map((stage) => [stage.status, stage.scored])).toEqual([
      ["reranked", 30],
      ["partial", after],
    ]);
    const first = await orderOf(small, documents);
    const done = results.slice(0, after);
    expect(done.every(({ stage, logit }) => stage === 1 && logit !== null)).toBe(true);
    const rest = first.filter((index) => !indexes(done).includes(index));
    expect(indexes(results.slice(after))).toEqual(rest);
    expect(results.filter(({ notScored }) => notScored).length).toBe(keep - after);
    expect(
      results
        .slice(after)
        .every(({ logit, score, stage }) => logit === null && score === null && stage === 0),
    ).toBe(true);
    expect(warnings).toMatchObject([
      { code: "time-budget-exceeded", milliseconds: 1500, scored: after, count: documents.length },
    ]);
  });

  it("a time budget in the first stage: the last is not reached", async () => {
    const { both } = await held(4, 0);
    const { results, status, stages } = await both.rerank({
      query,
      documents,
      timeBudget: { milliseconds: 1000, whenExceeded: "partial" },
    });
    expect(status).toBe("partial");
    expect(stages.map((stage) => [stage.status, stage.scored])).toEqual([
      ["partial", 4],
      ["not-reached", 0],
    ]);
    expect(stages[1]?.model.id).toBe("qwen3-yes-no");
    expect(results.map(({ stage }) => stage)).toEqual([0, 0, 0, 0, ...new Array(26).fill(null)]);
    expect(results.every(({ notScored, logit }) => notScored === true && logit === null)).toBe(true);
  });

  it("a time budget that asks for the caller's order, or an error", async () => {
    const { both } = await held(2);
    const calls = (whenExceeded: "passthrough" | "throw") =>
      both.rerank({ query, documents, timeBudget: { milliseconds: 600, whenExceeded } });
    const { results, status, stages } = await calls("passthrough");
    expect(status).toBe("passthrough");
    expect(indexes(results)).toEqual(documents.map((_, index) => index));
    expect(
      results.every(
        ({ logit, stage, stageScores }) => logit === null && stage === null && stageScores.length === 2,
      ),
    ).toBe(true);
    expect(stages).toHaveLength(2);
    const error = await rejection(calls("throw"));
    expect(TimeBudgetExceededError.isInstance(error) && error.milliseconds).toBe(600);
  });

  it("an abort: rejects with its reason, or answers with what there is", async () => {
    const { both, runtime, door } = await held(3);
    const reason = new Error("enough");
    const controller = new AbortController();
    const thrown = rejection(both.rerank({ query, documents, signal: controller.signal }));
    await runtime.atGate;
    controller.abort(reason);
    door.open();
    expect(await thrown).toBe(reason);
    expect(await rejection(both.rerank({ query, documents, signal: AbortSignal.abort(reason) }))).toBe(
      reason,
    );
    const none = await both.rerank({
      query,
      documents,
      signal: AbortSignal.abort(reason),
      whenAborted: "partial",
    });
    expect([none.status, none.stages[1]?.status, none.warnings]).toEqual(["partial", "not-reached", []]);
    expect(indexes(none.results)).toEqual(documents.map((_, index) => index));
  });

  it("in many queries says of each whether it is whole", async () => {
    const { both } = await held(keep + 2);
    const { rankings, status } = await both.rerankMany({
      queries: [query, other],
      documents,
      timeBudget: { milliseconds: 1500, whenExceeded: "partial" },
    });
    expect(status).toBe("partial");
    const scored = rankings.map(({ results }) => results.filter(({ logit }) => logit !== null).length);
    expect(scored.reduce((sum, count) => sum + count, 0)).toBe(keep + 2);
    for (const [place, one] of rankings.entries()) {
      expect(one.status).toBe(scored[place] === keep ? "reranked" : "partial");
    }
  });

  it("a stage that fails, in its turn", async () => {
    for (const [breaksAt, stage] of [
      [probeBatches + 2, 1],
      [probeBatches + 2, 0],
    ] as const) {
      const broken = await createReranker({
        model: fixture("bert-logit"),
        backend: watched("broken", { breaksAt }).backend,
      });
      onTestFinished(() => broken.dispose());
      const both = cascade(stage === 1 ? [small, broken] : [broken, largest], { keep });
      const error = await rejection(both.rerank({ query, documents }));
      expect(BackendRunError.isInstance(error) && error.backend).toBe("broken");
    }
  });

  it("a number that is none, at the document's own position", async () => {
    const poisoned = await createReranker({
      model: fixture("bert-logit"),
      backend: watched("poisoned", { poisoned: true }).backend,
    });
    onTestFinished(() => poisoned.dispose());
    const texts = documents.map((text, index) => (index === 23 ? `${query} ${poison}` : text));
    const error = await rejection(
      cascade([small, poisoned], { keep: 3 }).rerank({ query, documents: texts }),
    );
    expect(NonFiniteScoreError.isInstance(error) && [error.index, error.value]).toEqual([23, "NaN"]);
    expect(error.message).toContain("bert-logit");
    expect(error.message).toContain("pair 23");
  });
});

describe("queries that leave no room", () => {
  it("for the first stage: the caller's order goes on, and the last stage decides", async () => {
    const narrow = await createReranker({
      model: fixture("bert-logit"),
      backend: referenceBackend({}),
      maxLength: 8,
    });
    onTestFinished(() => narrow.dispose());
    const { results, stages } = await cascade([narrow, largest], { keep: 3 }).rerank({
      query: `${query} ${query}`,
      documents,
    });
    expect(stages[0]).toMatchObject({ status: "reranked", scored: 0 });
    expect(indexes(results.slice(0, 3)).toSorted()).toEqual([0, 1, 2]);
    expect(results.slice(0, 3).every(({ stage, logit }) => stage === 1 && logit !== null)).toBe(true);
    expect(results.slice(3).every(({ stage, queryOverflow }) => stage === null && queryOverflow)).toBe(true);
  });

  it("for the last stage: the order is the first's, and nothing reads as relevance", async () => {
    const narrow = await createReranker({
      model: fixture("bert-logit"),
      backend: referenceBackend({}),
      maxLength: 8,
    });
    onTestFinished(() => narrow.dispose());
    const asked = `${query} ${query}`;
    const { results, warnings } = await cascade([small, narrow], { keep: 3 }).rerank({
      query: asked,
      documents,
    });
    expect(indexes(results)).toEqual(await orderOf(small, documents, asked));
    expect(results.every(({ stage, logit }) => stage === 0 && logit === null)).toBe(true);
    expect(results.filter(({ queryOverflow }) => queryOverflow).length).toBe(3);
    expect(warnings.map(({ code }) => code)).toContain("query-overflow");
  });
});

describe("identity and life", () => {
  it("has a cache key of every stage, its order and keep", async () => {
    const keys = await Promise.all([
      two.cacheKey(),
      cascade([small, large], { keep: keep + 1 }).cacheKey(),
      cascade([large, small], { keep }).cacheKey(),
      cascade([small, largest], { keep }).cacheKey(),
      cascade([largest, large], { keep }).cacheKey(),
      cascade([small, large, largest], { keep: [keep, 2] }).cacheKey(),
      two.cacheKey({ activation: "probability" }),
      two.cacheKey({ longDocuments: "truncate" }),
      large.cacheKey(),
      small.cacheKey(),
    ]);
    // Of documents that are cut by default the option changes nothing.
    expect(keys[7]).toBe(keys[0]);
    expect(new Set(keys).size).toBe(keys.length - 1);
    expect(keys[0]).toMatch(/^crossrank:2:[0-9a-f]{64}$/);
    const { cacheKey, stages } = await two.rerank({ query, documents, returnCacheKey: true });
    expect(cacheKey).toBe(keys[0]);
    expect(stages.map((stage) => stage.cacheKey)).toEqual([keys[9], keys[8]]);
    expect((await two.rerank({ query, documents })).cacheKey).toBeUndefined();
    expect(await cascade([small, large], { keep }).cacheKey()).toBe(keys[0]);
  });

  it("is the last stage to whoever asks what it is", () => {
    expect([two.profile, two.session, two.sources]).toEqual([large.profile, large.session, large.sources]);
    expect(two.keep).toEqual([keep]);
    const asReranker: Reranker = two;
    expect(asReranker).toBe(two);
  });

  it("gives no vectors", async () => {
    const error = await rejection(two.embed(["a"], { as: "query" }));
    expect(InvalidInputError.isInstance(error) && error.path).toBe("embed");
  });

  it("leaves its stages alone, or takes them with it where they are its own", async () => {
    const runtimes = [watched("one"), watched("two")] as const;
    const [one, two] = (await Promise.all(
      runtimes.map(({ backend }) => createReranker({ model: fixture("bert-logit"), backend })),
    )) as [Reranker, Reranker];
    const borrowed = cascade([one, two], { keep });
    await borrowed.dispose();
    expect(DisposedError.isInstance(await rejection(borrowed.rerank({ query, documents })))).toBe(true);
    expect((await one.rerank({ query, documents: ["a"] })).status).toBe("reranked");
    await using owning = cascade([one, two], { keep, disposeStages: true });
    await Promise.all([owning.dispose(), owning.dispose()]);
    expect(runtimes.map(({ events }) => events.at(-1))).toEqual(["one: disposed", "two: disposed"]);
  });

  it("rejects the calls under way when it is disposed, and ends them first when it drains", async () => {
    const { both, runtime, door } = await held(2);
    const call = rejection(both.rerank({ query, documents }));
    await runtime.atGate;
    const draining = both.drain();
    expect(DrainingError.isInstance(await rejection(both.rerank({ query, documents })))).toBe(true);
    const gone = both.dispose();
    door.open();
    expect(DisposedError.isInstance(await call)).toBe(true);
    await Promise.all([gone, draining]);
  });
});

describe("what is no cascade", () => {
  const valid = (): readonly Reranker[] => [small, large];
  it.each([
    ["one stage", () => cascade([small], { keep }), "stages"],
    ["none", () => cascade([], { keep }), "stages"],
    ["the same twice", () => cascade([small, large, small], { keep: [9, 3] }), "stages[2]"],
    ["a promise", () => cascade([small, Promise.resolve(large)] as never, { keep }), "stages[1]"],
    ["a name", () => cascade(["nano", large] as never, { keep }), "stages[0]"],
    ["a cascade", () => cascade([two, largest], { keep }), "stages[0]"],
    ["something else", () => cascade([small, { rerank() {} }] as never, { keep }), "stages[1]"],
    ["no keep", () => cascade(valid(), {} as never), "keep"],
    ["keep 0", () => cascade(valid(), { keep: 0 }), "keep"],
    ["keep 1.5", () => cascade(valid(), { keep: 1.5 }), "keep"],
    ["keep NaN", () => cascade(valid(), { keep: Number.NaN }), "keep"],
    ["keep as text", () => cascade(valid(), { keep: "30" as never }), "keep"],
    ["two of keep", () => cascade(valid(), { keep: [9, 3] }), "keep"],
    ["too few of keep", () => cascade([small, large, largest], { keep: 9 }), "keep"],
    ["keep that grows", () => cascade([small, large, largest], { keep: [3, 9] }), "keep[1]"],
    ["keep that stays", () => cascade([small, large, largest], { keep: [9, 9] }), "keep[1]"],
    ["an unknown option", () => cascade(valid(), { keep, top: 3 } as never), "top"],
    ["disposeStages", () => cascade(valid(), { keep, disposeStages: 1 as never }), "disposeStages"],
  ])("refuses %s", (_name, make, path) => {
    try {
      make();
    } catch (error) {
      expect(InvalidInputError.isInstance(error) && error.path).toBe(path);
      return;
    }
    throw new Error("expected a refusal");
  });

  it("refuses a chain of variants, whose model may change", async () => {
    const chain = createFallbackReranker({
      variants: [{ name: "a", model: fixture("bert-logit"), backend: referenceBackend({}) }],
    });
    await using _chain = chain;
    expect(() => cascade([small, chain] as never, { keep })).toThrow("chain of variants");
  });
});
