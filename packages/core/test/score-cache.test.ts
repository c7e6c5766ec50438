import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import manifest from "../package.json" with { type: "json" };
import { type CachedScore, createMemoryScoreCache, type PairScore, type ScoreCache } from "../src/index.js";
import { CallCache, whyNotCached } from "../src/score-cache/call-cache.js";
import { pairKey } from "../src/score-cache/pair-key.js";

const { subtle } = globalThis.crypto;
const score = (logit: number): CachedScore => ({
  ...{ logit, score: logit / 2 },
  ...{ tokens: 5, truncatedTokens: 0, flags: 0 },
});
const capabilities = {
  rowsAffectScores: false,
  batchSize: { max: 8 },
  batchPreference: { rows: 8, tokens: 1000, padding: 0.5 },
} as const;
/** Notes in `told` that it was told to stop. */
const forever = (signal: AbortSignal | undefined, told: unknown[]): Promise<never> =>
  new Promise(() => signal?.addEventListener("abort", () => told.push(signal.reason)));

const callOf = (cache: ScoreCache, session = "crossrank:2:a", patience?: number): CallCache =>
  new CallCache({
    ...{ cache, session: async () => session, patience },
    profile: { family: "cross-encoder" },
    capabilities: capabilities as never,
  });

describe("in memory", () => {
  test("keeps what it was given, and not what the caller makes of it later", async () => {
    const cache = createMemoryScoreCache();
    const own = { ...score(1) };
    await cache.setMany(new Map([["a", own]]));
    own.logit = 7;
    expect(await cache.getMany(["a", "b"])).toEqual(new Map([["a", score(1)]]));
    cache.clear();
    expect(cache.size).toBe(0);
  });

  test("any use: no more than its bound, and what was used last", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.tuple(fc.boolean(), fc.array(fc.nat({ max: 20 }), { maxLength: 6 })), { maxLength: 30 }),
        async (maxEntries, uses) => {
          const cache = createMemoryScoreCache({ maxEntries });
          // The same by a list: the last used one last.
          let known: number[] = [];
          for (const [isWrite, numbers] of uses) {
            if (isWrite) {
              await cache.setMany(new Map(numbers.map((number) => [String(number), score(number)])));
              for (const number of new Set(numbers))
                known = [...known.filter((one) => one !== number), number];
              known = known.slice(-maxEntries);
            } else {
              const found = await cache.getMany(numbers.map(String));
              expect([...found.keys()].sort()).toEqual(
                [...new Set(numbers.filter((number) => known.includes(number)))].map(String).sort(),
              );
              for (const number of numbers) {
                if (known.includes(number)) known = [...known.filter((one) => one !== number), number];
              }
            }
            expect(cache.size).toBe(known.length);
          }
        },
      ),
      { numRuns: 200, seed: 3 },
    );
  });

  test("bytes bound it too", async () => {
    const cache = createMemoryScoreCache({ maxBytes: 1024 });
    for (let number = 0; number < 10; number += 1)
      await cache.setMany(new Map([[`${number}`, score(number)]]));
    expect(cache.size).toBe(4);
  });

  test("an abort rejects, and wrong bounds are refused", async () => {
    const reason = new Error("stop");
    const signal = AbortSignal.abort(reason);
    const cache = createMemoryScoreCache();
    await expect(cache.getMany(["a"], { signal })).rejects.toBe(reason);
    await expect(cache.setMany(new Map(), { signal })).rejects.toBe(reason);
    for (const options of [
      { maxEntries: 0 },
      { maxEntries: 1.5 },
      { maxBytes: 255 },
      { maxBytes: Number.NaN },
    ]) {
      expect(() => createMemoryScoreCache(options)).toThrow(
        expect.objectContaining({ code: "invalid-input" }),
      );
    }
    expect(() => createMemoryScoreCache({ max: 5 } as never)).toThrow(/max is not an option/);
  });
});

describe("keys", () => {
  test("two pairs have one key only where they are one pair", async () => {
    const text = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.string({ unit: "binary" }),
      fc.constantFrom("", "a", '"', "\\", "\ud800", "\udfff", "\ufffd"),
    );
    const pair = fc.tuple(text, text, text);
    await fc.assert(
      fc.asyncProperty(pair, pair, async (left, right) => {
        const key = ([session, query, document]: typeof left): Promise<string> =>
          pairKey(session, { query, text: document }, subtle);
        const isSame = left.every((part, index) => part === right[index]);
        expect((await key(left)) === (await key(right))).toBe(isSame);
      }),
      { numRuns: 300, seed: 2 },
    );
    // Text that moves from one place to the next.
    const keys = await Promise.all(
      [
        ["a", "b", "c"],
        ["ab", "", "c"],
        ["a", "bc", ""],
        ["a", "c", "b"],
        ["", "ab", "c"],
      ].map(([session = "", query = "", document = ""]) =>
        pairKey(session, { query, text: document }, subtle),
      ),
    );
    expect(new Set(keys).size).toBe(5);
    for (const key of keys) expect(key).toMatch(/^[0-9a-f]{64}$/);
  });

  test("a version of the packages has its own", async () => {
    const sha256 = (version: string): string =>
      createHash("sha256")
        .update(JSON.stringify(["pair", 1, version, "a", "q", "d"]))
        .digest("hex");
    expect(await pairKey("a", { query: "q", text: "d" }, subtle)).toBe(sha256(manifest.version));
    expect(sha256(manifest.version)).not.toBe(sha256("0.0.0-earlier"));
  });
});

describe("in a call", () => {
  const pairs = Array.from({ length: 2500 }, (_, index) => ({ query: `q${index % 3}`, text: `d${index}` }));
  const scores = pairs.map(
    (_, index): PairScore => ({
      logit: index === 7 ? -0 : index / 3,
      score: index / 6,
      tokens: index,
      truncatedTokens: index % 2,
      ...(index % 5 === 0 ? { truncatedTokensIsMinimum: true } : {}),
    }),
  );

  test("what was scored is there for the next, as it was", async () => {
    const cache = createMemoryScoreCache();
    const first = callOf(cache);
    expect(await first.take(pairs, undefined)).toEqual([]);
    first.noteTruncatedQuery("q1", 4);
    await first.keep(scores);
    const second = callOf(cache);
    const hits = await second.take(pairs, undefined);
    expect(hits.map(({ position, score: one }) => [position, one])).toEqual(
      scores.map((one, index) => [index, one]),
    );
    expect(Object.is(hits[7]?.score.logit, -0)).toBe(true);
    expect(hits.filter(({ queryTruncated }) => queryTruncated).map(({ position }) => position)).toEqual([4]);
    expect(second.hits).toBe(pairs.length);
    expect(second.warnings).toEqual([]);
    expect((await callOf(cache, "crossrank:2:b").take(pairs, undefined)).length).toBe(0);
  });

  test("what has no score is not kept, nor what was a hit written again", async () => {
    const cache = createMemoryScoreCache();
    const first = callOf(cache);
    const some = pairs.slice(0, 4);
    await first.take(some, undefined);
    const none: PairScore = { logit: null, score: null, tokens: 0, truncatedTokens: 0, queryOverflow: true };
    await first.keep([scores[0], undefined, none, scores[3]]);
    expect(cache.size).toBe(2);
    let written = 0;
    const counting: ScoreCache = {
      getMany: (keys, options) => cache.getMany(keys, options),
      setMany: async (entries) => {
        written += entries.size;
      },
    };
    const second = callOf(counting);
    expect((await second.take(some, undefined)).map(({ position }) => position)).toEqual([0, 3]);
    await second.keep(scores.slice(0, 4));
    expect(written).toBe(2);
  });

  test.each<[string, Partial<ScoreCache>]>([
    ["throws", { getMany: () => Promise.reject(new Error("the disk is gone")) }],
    [
      "throws at once",
      {
        getMany: () => {
          throw new Error("the disk is gone");
        },
      },
    ],
    ["gives NaN", { getMany: async (keys) => new Map(keys.map((key) => [key, score(Number.NaN)])) }],
    ["gives a text", { getMany: async (keys) => new Map(keys.map((key) => [key, "0.5" as never])) }],
    [
      "gives a count below 0",
      { getMany: async (keys) => new Map(keys.map((key) => [key, { ...score(1), tokens: -1 }])) },
    ],
    ["gives no map", { getMany: async () => undefined as never }],
    ["throws when it is to keep", { setMany: () => Promise.reject(new Error("the disk is gone")) }],
  ])("a cache that %s costs a warning, and no score is taken from it", async (_, wrong) => {
    const call = callOf({ ...createMemoryScoreCache(), ...wrong });
    expect(await call.take(pairs.slice(0, 3), undefined)).toEqual([]);
    await call.keep(scores.slice(0, 3));
    expect(call.warnings).toMatchObject([{ code: "score-cache-unused", reason: "failed" }]);
    expect(call.hits).toBe(0);
  });

  test.each<[string, (done: unknown[]) => Partial<ScoreCache>]>([
    ["for what it has", (told) => ({ getMany: (_, options) => forever(options?.signal, told) })],
    ["when it is to keep", (told) => ({ setMany: (_, options) => forever(options?.signal, told) })],
  ])("one that never answers %s is told to stop, and the call goes on", async (_, wrong) => {
    const told: unknown[] = [];
    const call = callOf({ ...createMemoryScoreCache(), ...wrong(told) }, undefined, 20);
    expect(await call.take(pairs.slice(0, 3), undefined)).toEqual([]);
    await call.keep(scores.slice(0, 3));
    expect(call.warnings).toMatchObject([{ code: "score-cache-unused", reason: "failed" }]);
    expect(call.warnings[0]?.message).toContain("gave no answer within 0.02 s");
    expect(told).toHaveLength(1);
  });

  test("one that does not look at the signal does not hold an abort up", async () => {
    const stop = new AbortController();
    const reason = new Error("stop");
    const call = callOf({ ...createMemoryScoreCache(), getMany: () => new Promise(() => undefined) });
    const taking = call.take(pairs, stop.signal);
    setTimeout(() => stop.abort(reason), 5);
    await expect(taking).rejects.toBe(reason);
  });

  test("one that fails half way gives nothing", async () => {
    const cache = createMemoryScoreCache();
    const first = callOf(cache);
    await first.take(pairs, undefined);
    await first.keep(scores);
    let calls = 0;
    const failing: ScoreCache = {
      ...cache,
      getMany: (keys, options) => {
        calls += 1;
        return calls === 2 ? Promise.reject(new Error("gone")) : cache.getMany(keys, options);
      },
    };
    const call = callOf(failing);
    expect(await call.take(pairs, undefined)).toEqual([]);
    expect(call.warnings).toHaveLength(1);
  });

  test("an abort is the caller's, and no failure", async () => {
    const stop = new AbortController();
    const reason = new Error("stop");
    const waiting: ScoreCache = {
      ...createMemoryScoreCache(),
      getMany: async (_, options) => {
        stop.abort(reason);
        options?.signal?.throwIfAborted();
        return new Map();
      },
    };
    await expect(callOf(waiting).take(pairs, stop.signal)).rejects.toBe(reason);
  });

  test("scores that others change are not kept by pair", async () => {
    const one = { max: 1 };
    const exactly = { exactly: 4 };
    expect(whyNotCached({ family: "listwise" }, capabilities)).toBe("listwise");
    expect(whyNotCached({ family: "bi-encoder" }, capabilities)).toBeUndefined();
    const affected = { ...capabilities, rowsAffectScores: true };
    expect(whyNotCached({ family: "cross-encoder" }, affected)).toBe("rows-affect-scores");
    expect(whyNotCached({ family: "cross-encoder" }, { ...affected, batchSize: one })).toBeUndefined();
    expect(whyNotCached({ family: "cross-encoder" }, { ...affected, batchSize: exactly })).toBe(
      "rows-affect-scores",
    );
    const cache = createMemoryScoreCache();
    const call = new CallCache({
      ...{ cache, session: async () => "a" },
      profile: { family: "listwise" },
      capabilities: capabilities as never,
    });
    expect(await call.take(pairs, undefined)).toEqual([]);
    await call.keep(scores);
    expect(cache.size).toBe(0);
    expect(call.warnings).toMatchObject([{ reason: "listwise" }]);
  });
});
