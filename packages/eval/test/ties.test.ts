import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { constantRun, evaluate, type MetricValue, type Qrels, type Run } from "../src/index.js";

const metrics = [
  "ndcg",
  "map",
  "mrr",
  "recall",
  ...[1, 2, 3, 5].flatMap((k) =>
    ["ndcg", "map", "mrr", "recall", "precision", "success"].map((kind) => `${kind}@${k}`),
  ),
];

function values(qrels: Qrels, run: Run, relevanceLevel: number): readonly MetricValue[] {
  return evaluate(qrels, run, metrics, { relevanceLevel }).results.map(({ mean }) => mean);
}

function single(entries: Iterable<readonly [string, number]>): Run {
  return new Map([["q", new Map(entries)]]);
}

/** Orders of the documents that keep to the scores: every permutation within ties. */
function ordersOf(scores: readonly number[]): number[][] {
  const orders: number[][] = [];
  const extend = (prefix: number[], rest: readonly number[]) => {
    if (rest.length === 0) orders.push(prefix);
    const top = Math.max(...rest.map((index) => scores[index] ?? 0));
    for (const index of rest) {
      if (scores[index] === top)
        extend(
          [...prefix, index],
          rest.filter((other) => other !== index),
        );
    }
  };
  extend(
    [],
    scores.map((_, index) => index),
  );
  return orders;
}

const pools = fc.record({
  // Score levels, grades from "unjudged" (undefined) to 3; up to 6! orders.
  documents: fc.array(
    fc.record({
      score: fc.integer({ min: 0, max: 2 }),
      grade: fc.constantFrom(undefined, -1, 0, 1, 1, 2, 3),
    }),
    { minLength: 1, maxLength: 6 },
  ),
  unreturned: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 2 }),
  relevanceLevel: fc.constantFrom(1, 1, 2),
});

function qrelsOf(pool: {
  documents: readonly { grade: number | undefined }[];
  unreturned: readonly number[];
}): Qrels {
  const judged: [string, number][] = pool.unreturned.map((grade, index) => [`u${index}`, grade]);
  pool.documents.forEach(({ grade }, index) => {
    if (grade !== undefined) judged.push([`d${index}`, grade]);
  });
  return single(judged);
}

describe("expected value and range over ties", () => {
  it("are the mean, least and most of all orders, enumerated", () => {
    let withTies = 0;
    fc.assert(
      fc.property(pools, (pool) => {
        const qrels = qrelsOf(pool);
        const scores = pool.documents.map(({ score }) => score);
        const got = values(
          qrels,
          single(scores.map((score, index) => [`d${index}`, score])),
          pool.relevanceLevel,
        );
        // Each order as a run without ties, so that only the metric of a definite order is relied on.
        const orders = ordersOf(scores).map((order) =>
          values(
            qrels,
            single(order.map((index, position) => [`d${index}`, -position])),
            pool.relevanceLevel,
          ).map(({ trec }) => trec),
        );
        if (orders.length > 1) withTies++;
        got.forEach((value, index) => {
          const all = orders.map((order) => order[index] ?? Number.NaN);
          const message = `${metrics[index]} of ${JSON.stringify(pool)}`;
          expect(value.expected, message).toBeCloseTo(all.reduce((a, b) => a + b, 0) / all.length, 12);
          expect(value.worst, message).toBeCloseTo(Math.min(...all), 12);
          expect(value.best, message).toBeCloseTo(Math.max(...all), 12);
          expect(
            all.some((other) => Math.abs(other - value.trec) < 1e-12),
            message,
          ).toBe(true);
        });
      }),
      { numRuns: 250, seed: 4 },
    );
    expect(withTies).toBeGreaterThan(100);
  });

  it("of a random order of many: the mean of what is drawn lies where the formula says", () => {
    // 40 documents, one relevant: reciprocal rank is the mean of 1/1 … 1/40, a harmonic number over 40.
    const documents = Array.from({ length: 40 }, (_, index) => `d${index}`);
    const run = constantRun(single(documents.map((id) => [id, 1])));
    const [result] = evaluate(single([["d7", 1]]), run, ["mrr"]).results;
    const harmonic = documents.reduce((total, _, index) => total + 1 / (index + 1), 0);
    expect(result?.mean.expected).toBeCloseTo(harmonic / 40, 12);
  });
});

describe("what must not matter", () => {
  const close = (
    a: readonly MetricValue[],
    b: readonly MetricValue[],
    which: readonly (keyof MetricValue)[],
  ) => {
    a.forEach((value, index) => {
      for (const key of which)
        expect(value[key], `${metrics[index]} ${key}`).toBeCloseTo(b[index]?.[key] ?? -1, 12);
    });
  };
  const tieAware = ["expected", "worst", "best"] as const;
  const scored = pools.map((pool) => ({
    ...pool,
    qrels: qrelsOf(pool),
    entries: pool.documents.map(({ score }, index) => [`d${index}`, score] as [string, number]),
  }));

  it("the order in which documents were inserted, for any value", () => {
    fc.assert(
      fc.property(scored, fc.infiniteStream(fc.nat()), ({ qrels, entries, relevanceLevel }, keys) => {
        const shuffled = entries
          .map((entry) => ({ entry, key: keys.next().value ?? 0 }))
          .sort((a, b) => a.key - b.key)
          .map(({ entry }) => entry);
        expect(values(qrels, single(shuffled), relevanceLevel)).toEqual(
          values(qrels, single(entries), relevanceLevel),
        );
      }),
    );
  });

  it("the names of documents, for tie-aware values", () => {
    fc.assert(
      fc.property(scored, fc.nat(), ({ qrels, entries, relevanceLevel }, salt) => {
        const renamed = (id: string) => `${(id.charCodeAt(1) * 7919 + salt) % 101}-${id}`;
        const rename = (table: Run) =>
          single(Array.from(table.get("q") ?? [], ([id, value]) => [renamed(id), value]));
        const before = values(qrels, single(entries), relevanceLevel);
        const after = values(rename(qrels), rename(single(entries)), relevanceLevel);
        close(after, before, tieAware);
      }),
    );
  });

  it("unjudged documents below all others", () => {
    fc.assert(
      fc.property(scored, fc.integer({ min: 1, max: 5 }), ({ qrels, entries, relevanceLevel }, count) => {
        const extra = Array.from({ length: count }, (_, index) => [`x${index}`, -1] as [string, number]);
        const before = values(qrels, single(entries), relevanceLevel);
        const after = values(qrels, single([...entries, ...extra]), relevanceLevel);
        close(after, before, ["trec", ...tieAware]);
      }),
    );
  });

  it("the scale of scores, as long as the order and the ties are kept", () => {
    fc.assert(
      fc.property(scored, ({ qrels, entries, relevanceLevel }) => {
        const before = values(qrels, single(entries), relevanceLevel);
        for (const scale of [(x: number) => 3 * x - 8, (x: number) => Math.exp(x), (x: number) => x ** 3]) {
          const after = values(
            qrels,
            single(entries.map(([id, score]) => [id, scale(score)])),
            relevanceLevel,
          );
          expect(after).toEqual(before);
        }
      }),
    );
  });

  it("and what must: a relevant document that moves up never makes a metric worse", () => {
    fc.assert(
      fc.property(scored, ({ qrels, entries, relevanceLevel }) => {
        const judged = qrels.get("q");
        const raised = entries.find(([id]) => (judged?.get(id) ?? 0) >= 3);
        fc.pre(raised !== undefined);
        const before = values(qrels, single(entries), relevanceLevel);
        const after = values(
          qrels,
          single(entries.map(([id, score]) => [id, id === raised?.[0] ? 9 : score])),
          relevanceLevel,
        );
        after.forEach((value, index) => {
          expect(value.expected).toBeGreaterThanOrEqual((before[index]?.expected ?? 2) - 1e-12);
        });
      }),
    );
  });
});
