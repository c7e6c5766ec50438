import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FusionOptions, fuse } from "../src/index.js";

const list = (...ids: readonly (string | number)[]): { results: { id: string | number }[] } => ({
  results: ids.map((id) => ({ id })),
});
const scored = (scores: Readonly<Record<string, number | null>>, weight?: number) => ({
  results: Object.entries(scores).map(([id, score]) => ({ id, score })),
  weight,
});
const order = (options: FusionOptions): (string | number)[] => fuse(options).map(({ id }) => id);

describe("reciprocal rank fusion", () => {
  test("as the paper computes it, with k = 60", () => {
    // Cormack, Clarke and Büttcher, 2009: the sum of 1 / (k + r(d)).
    const fused = fuse({ method: "rrf", lists: [list("a", "b", "c"), list("c", "a", "d")] });
    expect(fused).toEqual([
      { id: "a", score: 1 / 61 + 1 / 62, parts: [1 / 61, 1 / 62] },
      { id: "c", score: 1 / 63 + 1 / 61, parts: [1 / 63, 1 / 61] },
      { id: "b", score: 1 / 62, parts: [1 / 62, null] },
      { id: "d", score: 1 / 63, parts: [null, 1 / 63] },
    ]);
  });

  test("scores count by their order, whatever stands first in the list, and ties by position", () => {
    expect(order({ method: "rrf", lists: [scored({ a: -5, b: 900, c: 3 })] })).toEqual(["b", "c", "a"]);
    expect(order({ method: "rrf", lists: [scored({ a: 1, b: 2, c: 1, d: 2 })] })).toEqual([
      "b",
      "d",
      "a",
      "c",
    ]);
  });

  test("equal sums keep the order of the lists", () => {
    expect(order({ method: "rrf", lists: [list("b", "a"), list("a", "b")] })).toEqual(["b", "a"]);
    expect(order({ method: "rrf", lists: [list("x"), list("y")] })).toEqual(["x", "y"]);
  });

  test("a document without a score has no rank, and those behind it move up", () => {
    const fused = fuse({
      method: "rrf",
      lists: [scored({ a: 3, b: null, c: 1 }), list("b", "c", "a")],
    });
    expect(fused.find(({ id }) => id === "b")?.parts).toEqual([null, 1 / 61]);
    expect(fused.find(({ id }) => id === "c")?.parts).toEqual([1 / 62, 1 / 62]);
    expect(order({ method: "rrf", lists: [scored({ a: null })] })).toEqual(["a"]);
  });

  test("weights, k and topN", () => {
    const lists = [
      { ...list("a", "b"), weight: 0 },
      { ...list("b", "a"), weight: 2 },
    ];
    expect(fuse({ method: "rrf", k: 1, topN: 1, lists })).toEqual([{ id: "b", score: 1, parts: [0, 1] }]);
  });

  test("a number and a string are two ids", () => {
    expect(order({ method: "rrf", lists: [list(1, "1")] })).toEqual([1, "1"]);
  });

  test("a list of nothing adds nothing", () => {
    expect(order({ method: "rrf", lists: [list(), list("a")] })).toEqual(["a"]);
    expect(fuse({ method: "rrf", lists: [list()] })).toEqual([]);
  });
});

describe("weighted", () => {
  test("min-max", () => {
    const lists = [scored({ a: 10, b: 20, c: 0 }, 0.25), scored({ c: 1, a: 0 }, 0.75)];
    expect(fuse({ method: "weighted", normalisation: "min-max", lists })).toEqual([
      { id: "c", score: 0.75, parts: [0, 0.75] },
      { id: "b", score: 0.25, parts: [0.25, null] },
      { id: "a", score: 0.125, parts: [0.125, 0] },
    ]);
  });

  test("z-score: what a list misses counts as its last", () => {
    const lists = [scored({ a: 1, b: 2, c: 3 }), scored({ a: 7, b: 5 })];
    const deviation = Math.sqrt(2 / 3);
    expect(fuse({ method: "weighted", normalisation: "z-score", lists })).toEqual([
      {
        id: "c",
        score: expect.closeTo(1 / deviation - 1, 12),
        parts: [expect.closeTo(1 / deviation, 12), null],
      },
      {
        id: "a",
        score: expect.closeTo(1 - 1 / deviation, 12),
        parts: [expect.closeTo(-1 / deviation, 12), 1],
      },
      { id: "b", score: expect.closeTo(-1, 12), parts: [expect.closeTo(0, 12), -1] },
    ]);
  });

  test("none: as they are", () => {
    const lists = [scored({ a: 0.2, b: 0.9 }, 0.5), scored({ a: 0.4, c: 0.1 }, 0.5)];
    expect(fuse({ method: "weighted", normalisation: "none", lists })).toEqual([
      { id: "b", score: 0.5 * 0.9 + 0.5 * 0.1, parts: [0.45, null] },
      { id: "a", score: expect.closeTo(0.3, 12), parts: [0.1, 0.2] },
      { id: "c", score: expect.closeTo(0.15, 12), parts: [null, 0.05] },
    ]);
  });

  test("equal scores, and one document alone, are at the top of their list", () => {
    const lists = [scored({ a: 5, b: 5 }), scored({ c: 1 })];
    const parts = (normalisation: "min-max" | "z-score"): unknown =>
      fuse({ method: "weighted", normalisation, lists }).map((one) => one.parts);
    expect(parts("min-max")).toEqual([
      [1, null],
      [1, null],
      [null, 1],
    ]);
    expect(parts("z-score")).toEqual([
      [0, null],
      [0, null],
      [null, 0],
    ]);
  });

  test("the greatest and the smallest numbers", () => {
    const most = Number.MAX_VALUE;
    const lists = [scored({ a: -most, b: most, c: 0 }), scored({ a: 0, b: Number.MIN_VALUE })];
    expect(fuse({ method: "weighted", normalisation: "min-max", lists })).toEqual([
      { id: "b", score: 2, parts: [1, 1] },
      { id: "c", score: 0.5, parts: [0.5, null] },
      { id: "a", score: 0, parts: [0, 0] },
    ]);
    expect(order({ method: "weighted", normalisation: "z-score", lists })).toEqual(["b", "c", "a"]);
    expect(() =>
      fuse({ method: "weighted", normalisation: "none", lists: [scored({ a: most }), scored({ a: most })] }),
    ).toThrow(/add up to Infinity/);
  });
});

describe("an id twice", () => {
  const lists = [
    {
      results: [
        { id: "a", score: 1 },
        { id: "b", score: 2 },
        { id: "a", score: 3 },
      ],
    },
  ];

  test("is refused, with both places", () => {
    expect(() => fuse({ method: "rrf", lists })).toThrow(/lists\[0\]\.results\[2\]\.id is "a".*results\[0\]/);
    const unscored = [
      {
        results: [
          { id: 7, score: null },
          { id: 7, score: 3 },
        ],
      },
    ];
    expect(() => fuse({ method: "rrf", lists: unscored })).toThrow(/results\[1\]\.id is 7/);
  });

  test("counts by its best place where the caller says so", () => {
    expect(fuse({ method: "rrf", duplicates: "best", lists })).toEqual([
      { id: "a", score: 1 / 61, parts: [1 / 61] },
      { id: "b", score: 1 / 62, parts: [1 / 62] },
    ]);
    expect(order({ method: "rrf", duplicates: "best", lists: [list("a", "a", "b")] })).toEqual(["a", "b"]);
  });
});

describe("wrong usage", () => {
  const lists = [{ results: [{ id: "a", score: 1 }] }];
  test.each([
    [undefined, "options"],
    [{}, "method"],
    [{ method: "sum", lists }, "method"],
    [{ method: "rrf" }, "lists"],
    [{ method: "rrf", lists: [] }, "lists"],
    [{ method: "rrf", lists: "a" }, "lists"],
    [{ method: "rrf", lists, k: 0 }, "k"],
    [{ method: "rrf", lists, k: "60" }, "k"],
    [{ method: "rrf", lists, k: Number.NaN }, "k"],
    [{ method: "rrf", lists, normalisation: "none" }, "normalisation"],
    [{ method: "rrf", lists, topK: 3 }, "topK"],
    [{ method: "rrf", lists, topN: 0 }, "topN"],
    [{ method: "rrf", lists, topN: 1.5 }, "topN"],
    [{ method: "rrf", lists, duplicates: true }, "duplicates"],
    [{ method: "weighted", lists }, "normalisation"],
    [{ method: "weighted", lists, normalisation: "softmax" }, "normalisation"],
    [{ method: "weighted", lists, normalisation: "none", k: 60 }, "k"],
    [{ method: "rrf", lists: [{ results: [], weight: -1 }] }, "lists[0].weight"],
    [{ method: "rrf", lists: [{ results: [], weight: "1" }] }, "lists[0].weight"],
    [{ method: "rrf", lists: [{ results: [], weight: 0 }] }, "lists"],
    [{ method: "rrf", lists: [{ result: [] }] }, "lists[0].result"],
    [{ method: "rrf", lists: [null] }, "lists[0]"],
    [{ method: "rrf", lists: [[]] }, "lists[0]"],
    [{ method: "rrf", lists: [{ results: ["a"] }] }, "lists[0].results[0]"],
    [{ method: "rrf", lists: [{ results: [null] }] }, "lists[0].results[0]"],
    [{ method: "rrf", lists: [{ results: [{ id: null }] }] }, "lists[0].results[0].id"],
    [{ method: "rrf", lists: [{ results: [{ id: Number.NaN }] }] }, "lists[0].results[0].id"],
    [{ method: "rrf", lists: [{ results: [{ id: 1, score: "2" }] }] }, "lists[0].results[0].score"],
    [{ method: "rrf", lists: [{ results: [{ id: 1, score: Number.NaN }] }] }, "lists[0].results[0].score"],
    [{ method: "rrf", lists: [{ results: [{ id: 1, score: 2 }, { id: 2 }] }] }, "lists[0].results[1].score"],
  ])("%j: an InvalidInputError at %s", (options, path) => {
    expect(() => fuse(options as never)).toThrow(expect.objectContaining({ code: "invalid-input", path }));
  });
});

describe("any lists", () => {
  const score = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer({ min: -3, max: 3 }),
    fc.constant(null),
  );
  const lists = fc
    .array(
      fc.record({
        results: fc.uniqueArray(fc.record({ id: fc.nat({ max: 20 }), score }), {
          selector: ({ id }) => id,
          maxLength: 15,
        }),
        weight: fc.constantFrom(0.5, 1, 3),
      }),
      { minLength: 1, maxLength: 4 },
    )
    .map((all): FusionOptions["lists"] => all);

  test("give every document once, best first, and more of a better place", () => {
    fc.assert(
      fc.property(lists, fc.constantFrom("rrf", "min-max", "z-score"), (given, how) => {
        const options: FusionOptions =
          how === "rrf"
            ? { method: "rrf", lists: given }
            : { method: "weighted", normalisation: how as "min-max", lists: given };
        const fused = fuse(options);
        const ids = new Set(given.flatMap(({ results }) => results.map(({ id }) => id)));
        expect(fused.map(({ id }) => id).sort()).toEqual([...ids].sort());
        for (const [index, { score: sum, parts }] of fused.entries()) {
          expect(Number.isFinite(sum)).toBe(true);
          expect(parts).toHaveLength(given.length);
          if (index > 0) expect(sum).toBeLessThanOrEqual((fused[index - 1] as { score: number }).score);
        }
        for (const [place, { results }] of given.entries()) {
          for (const a of results) {
            for (const b of results) {
              if (a.score === null || b.score === null || !((a.score ?? 0) > (b.score ?? 0))) continue;
              const part = (id: unknown): number =>
                fused.find((one) => one.id === id)?.parts[place] as number;
              expect(part(a.id)).toBeGreaterThanOrEqual(part(b.id));
            }
          }
        }
        // The first n are the first of all.
        expect(fuse({ ...options, topN: 3 })).toEqual(fused.slice(0, 3));
      }),
      { numRuns: 200, seed: 5 },
    );
  });

  test("of which one is alone keep its order", () => {
    fc.assert(
      fc.property(lists, fc.constantFrom("rrf", "none"), ([only], how) => {
        const given = { lists: [only as (typeof given.lists)[0]] } as { lists: FusionOptions["lists"] };
        const fused = fuse(
          how === "rrf"
            ? { method: "rrf", ...given }
            : { method: "weighted", normalisation: "none", ...given },
        );
        const results = (given.lists[0]?.results ?? []).filter(({ score: one }) => one !== null);
        const expected = results
          .map(({ id, score: one }, index) => ({ id, one: one as number, index }))
          .sort((a, b) => b.one - a.one || a.index - b.index)
          .map(({ id }) => id);
        const found = fused.filter(({ parts }) => parts[0] !== null).map(({ id }) => id);
        if (how === "rrf") expect(found).toEqual(expected);
        else expect(found.length).toBe(expected.length);
      }),
      { numRuns: 100, seed: 6 },
    );
  });
});
