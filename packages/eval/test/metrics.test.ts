import { InvalidInputError } from "@crossrank/core";
import { describe, expect, it } from "vitest";
import {
  checkReranking,
  compareBytes,
  constantRun,
  createQrels,
  createRun,
  DuplicateDocumentError,
  EmptyQrelsError,
  evaluate,
  InvalidGradeError,
  type MetricValue,
  mtebMetrics,
  mtebName,
  NoCommonQueryError,
  NonFiniteRunScoreError,
  parseMetric,
  type Qrels,
  queryValues,
  RerankingInvariantError,
  type Run,
  rank,
  rerankingViolations,
  UnknownMetricError,
} from "../src/index.js";

const table = (rows: Record<string, Record<string, number>>): Run =>
  new Map(Object.entries(rows).map(([query, row]) => [query, new Map(Object.entries(row))]));

const meanOf = (qrels: Qrels, run: Run, metric: string, options = {}): MetricValue => {
  const [result] = evaluate(qrels, run, [metric], options).results;
  if (result === undefined) throw new Error("no result");
  return result.mean;
};

// Golden vectors: both compiled trec_eval versions (9.0.8 and 10.0) agree unless said, to the four digits they print.
describe("golden vectors of trec_eval", () => {
  const qrels = table({ q: { a: 3, b: 2, c: 0, d: 1 } });
  const run = table({ q: { b: 0.9, x: 0.7, c: 0.5, a: 0.1 } });

  it.each([
    ["ndcg_cut_1", 0.6667],
    ["ndcg_cut_2", 0.4693],
    ["ndcg_cut_3", 0.42],
    ["ndcg_cut_10", 0.6913],
    ["map_cut_10", 0.5],
  ])("graded, unjudged and unreturned documents: %s", (metric, expected) => {
    expect(meanOf(qrels, run, metric).trec).toBeCloseTo(expected, 4);
  });

  it("counts a missing query 0 and names it", () => {
    const two = table({ q1: { a: 1 }, q2: { b: 1 } });
    const one = table({ q1: { a: 1 }, other: { a: 1 } });
    const evaluation = evaluate(two, one, ["ndcg@10", "map"]);
    for (const { mean, meanOverPresent } of evaluation.results) {
      expect(mean.trec).toBe(0.5);
      expect(mean.expected).toBe(0.5);
      expect(meanOverPresent.trec).toBe(1);
    }
    expect(evaluation.missingQueries).toEqual(["q2"]);
    expect(evaluation.unjudgedQueries).toEqual(["other"]);
    expect(evaluation.queryCount).toBe(2);
  });

  const pair = table({ q: { apositive_0: 1, negative_0: 0 } });

  it.each([
    ["float32", 0.5, 0.5, 0.6309, 0.5],
    ["float64", 0.5, 0.5, 0.6309, 0.5],
    ["float32", 0.9999999999, 0.999999999, 0.6309, 0.5],
    ["float64", 0.9999999999, 0.999999999, 1, 1],
  ])("ties by document id, %s, %d against %d", (scorePrecision, positive, negative, ndcg, reciprocal) => {
    const scores = table({ q: { apositive_0: positive, negative_0: negative } });
    expect(meanOf(pair, scores, "ndcg@10", { scorePrecision }).trec).toBeCloseTo(ndcg, 4);
    expect(meanOf(pair, scores, "recip_rank", { scorePrecision }).trec).toBe(reciprocal);
  });

  it("twenty documents, five relevant, constant score", () => {
    const ids = [
      ...Array.from({ length: 5 }, (_, index) => `apositive_${index}`),
      ...Array.from({ length: 15 }, (_, index) => `negative_${index}`),
    ];
    const judged: Qrels = new Map([["q", new Map(ids.map((id) => [id, id.startsWith("a") ? 1 : 0]))]]);
    const constant = constantRun(judged);
    expect(meanOf(judged, constant, "map").trec).toBeCloseTo(0.1615, 4);
    expect(meanOf(judged, constant, "ndcg@10").trec).toBe(0);
    expect(meanOf(judged, constant, "recip_rank").trec).toBeCloseTo(0.0625, 4);
    // And what a constant score is worth on average: five of twenty in each place.
    expect(meanOf(judged, constant, "precision@10").expected).toBeCloseTo(0.25, 12);
    expect(meanOf(judged, constant, "precision@10")).toMatchObject({ worst: 0, best: 0.5 });
  });
});

describe("order", () => {
  it("is by the bytes of UTF-8, not by UTF-16 units", () => {
    const ids = ["😀", "～", "é", "z", "a", "", "zz", "\u{10FFFF}", "\uFFFD"];
    const bytes = [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect([...ids].sort(compareBytes)).toEqual(bytes);
    expect([...ids].sort()).not.toEqual(bytes);
    expect(
      rank(
        new Map([
          ["～", 1],
          ["😀", 1],
        ]),
        "float64",
      ).documents,
    ).toEqual(["😀", "～"]);
  });

  it("takes scores beyond single precision for ties there alone", () => {
    const scores = new Map([
      ["a", 2e39],
      ["b", 1e39],
    ]);
    expect(rank(scores, "float32").documents).toEqual(["b", "a"]);
    expect(rank(scores, "float64").documents).toEqual(["a", "b"]);
  });
});

describe("definitions beside the golden vectors", () => {
  it("counts relevance from the level on, and leaves nDCG to grades", () => {
    const qrels = table({ q: { a: 1, b: 2 } });
    const run = table({ q: { a: 2, b: 1 } });
    expect(meanOf(qrels, run, "mrr@10").trec).toBe(1);
    expect(meanOf(qrels, run, "mrr@10", { relevanceLevel: 2 }).trec).toBe(0.5);
    expect(meanOf(qrels, run, "mrr@1", { relevanceLevel: 2 }).trec).toBe(0);
    expect(meanOf(qrels, run, "recall@1", { relevanceLevel: 2 }).trec).toBe(0);
    expect(meanOf(qrels, run, "ndcg@10", { relevanceLevel: 2 })).toEqual(meanOf(qrels, run, "ndcg@10"));
    expect(() => meanOf(qrels, run, "map", { relevanceLevel: 0 })).toThrow(InvalidInputError);
  });

  it("divides precision by k even where fewer documents were returned", () => {
    expect(meanOf(table({ q: { a: 1 } }), table({ q: { a: 1 } }), "P_5").trec).toBe(0.2);
  });

  it("gives 0 where nothing is relevant", () => {
    const qrels = table({ q: { a: 0, b: -1 } });
    const run = table({ q: { a: 1, b: 1 } });
    for (const metric of ["ndcg", "map", "mrr", "recall@1", "precision@1", "success@1"]) {
      expect(meanOf(qrels, run, metric)).toEqual({ trec: 0, expected: 0, worst: 0, best: 0 });
    }
  });

  it("gives one number a query to the statistics", () => {
    const qrels = table({ q: { a: 1 }, r: { a: 1 } });
    const [result] = evaluate(qrels, table({ q: { a: 1, b: 1 } }), ["mrr"]).results;
    if (result === undefined) throw new Error("no result");
    expect(queryValues(result)).toEqual(
      new Map([
        ["q", 0.75],
        ["r", 0],
      ]),
    );
    expect(queryValues(result, "trec")).toEqual(
      new Map([
        ["q", 0.5],
        ["r", 0],
      ]),
    );
  });
});

describe("refusals before any metric", () => {
  const good = table({ q: { a: 1 } });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("a score of %d", (score) => {
    // In a query that is not even judged: a run with such a number is not a run.
    const run = table({ q: { a: 1 }, other: { "doc 7": score } });
    let caught: unknown;
    try {
      evaluate(good, run, ["ndcg@10"]);
    } catch (error) {
      caught = error;
    }
    expect(NonFiniteRunScoreError.isInstance(caught)).toBe(true);
    expect(caught).toMatchObject({ query: "other", document: "doc 7", value: String(score) });
    expect(() => createRun([{ query: "q", document: "a", score }])).toThrow(NonFiniteRunScoreError);
  });

  it("a document twice", () => {
    const row = { query: "q", document: "a" };
    expect(() =>
      createRun([
        { ...row, score: 1 },
        { ...row, score: 1 },
      ]),
    ).toThrow(DuplicateDocumentError);
    expect(() =>
      createQrels([
        { ...row, grade: 1 },
        { ...row, grade: 1 },
      ]),
    ).toThrow(/qrels judge document "a" twice/);
    expect(
      createRun([
        { ...row, score: 1 },
        { ...row, query: "r", score: 2 },
      ]),
    ).toEqual(table({ q: { a: 1 }, r: { a: 2 } }));
  });

  it("qrels without a query, and a query without a judgement", () => {
    expect(() => evaluate(new Map(), good, ["map"])).toThrow(EmptyQrelsError);
    expect(() => evaluate(table({ q: { a: 1 }, r: {} }), good, ["map"])).toThrow(
      /query "r" without any judged/,
    );
  });

  it("a grade that is no integer", () => {
    expect(() => evaluate(table({ q: { a: 0.5 } }), good, ["map"])).toThrow(InvalidGradeError);
    expect(() => createQrels([{ query: "q", document: "a", grade: Number.NaN }])).toThrow(InvalidGradeError);
  });

  it("ids of two different data sets", () => {
    expect(() => evaluate(table({ 1: { a: 1 } }), good, ["map"])).toThrow(NoCommonQueryError);
    expect(() => evaluate(good, new Map(), ["map"])).toThrow(/the run is empty/);
  });
});

describe("names", () => {
  it.each([
    ["ndcg@10", "ndcg@10"],
    ["ndcg_cut_10", "ndcg@10"],
    ["ndcg_at_10", "ndcg@10"],
    ["map", "map"],
    ["map_cut_100", "map@100"],
    ["map_at_1000", "map@1000"],
    ["recip_rank", "mrr"],
    ["mrr@10", "mrr@10"],
    ["recall_5", "recall@5"],
    ["recall_at_5", "recall@5"],
    ["P_1", "precision@1"],
    ["P@1", "precision@1"],
    ["success_5", "success@5"],
    ["hit_rate_at_5", "success@5"],
  ])("%s is %s", (name, ours) => {
    expect(parseMetric(name).name).toBe(ours);
    expect(parseMetric(parseMetric(name).name)).toEqual(parseMetric(name));
  });

  it.each(["ndcg@0", "ndcg@", "ndcg@1.5", "ndgc@10", "map@-1", "NDCG@10", "", "recall@01"])(
    "refuses %j and lists what exists",
    (name) => {
      expect(() => parseMetric(name)).toThrow(UnknownMetricError);
      expect(() => parseMetric(name)).toThrow(/ndcg@k, ndcg_cut_k/);
    },
  );

  it("asks for a cutoff where a metric has no whole form", () => {
    expect(() => parseMetric("precision")).toThrow(/needs a cutoff/);
  });

  it("MTEB's keys, both ways", () => {
    expect(mtebMetrics).toHaveLength(42);
    for (const metric of mtebMetrics) expect(parseMetric(mtebName(metric) ?? "")).toEqual(metric);
    expect(mtebName(parseMetric("map@1000"))).toBe("map_at_1000");
    expect(mtebName(parseMetric("ndcg@7"))).toBeUndefined();
    expect(mtebName(parseMetric("map"))).toBeUndefined();
  });
});

describe("invariants of a reranking run", () => {
  const candidates = table({ q: { a: 3, b: 2, c: 1 }, r: { a: 1 } });
  const qrels = table({ q: { a: 1, z: 1 }, r: { a: 1 } });

  it("holds for another order of the same documents", () => {
    const run = table({ q: { a: -1, b: 7, c: 0 }, r: { a: 0 } });
    expect(rerankingViolations(candidates, run, qrels)).toEqual([]);
    expect(() => checkReranking(candidates, run, qrels)).not.toThrow();
  });

  it("names what is missing, what is extra, and the recall it changed", () => {
    const run = table({ q: { b: 1, c: 1, z: 1 } });
    const found = rerankingViolations(candidates, run, qrels);
    expect(found.map(({ query, kind }) => `${query} ${kind}`)).toEqual([
      "q missing",
      "q extra",
      "r missing",
      "r recall",
    ]);
    expect(() => checkReranking(candidates, run)).toThrow(RerankingInvariantError);
    expect(() => checkReranking(candidates, run)).toThrow(/1 of 3 candidates have no score, e.g. "a"/);
    expect(
      rerankingViolations(candidates, table({ q: { a: 1, b: 1, c: 1 }, r: { a: 1 }, s: { a: 1 } })),
    ).toHaveLength(1);
  });
});
