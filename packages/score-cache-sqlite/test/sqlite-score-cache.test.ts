import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CachedScore } from "@crossrank/core";
import fc from "fast-check";
import Database from "libsql";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { isLong } from "../../../test/sample.js";
import { openSqliteScoreCache, ScoreCacheFileError, type SqliteScoreCache } from "../src/index.js";
import { keyOf, scoreOf } from "./scores.mjs";

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-scores-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const freshPath = (): string => {
  count += 1;
  return join(folder, `${count}`, "scores.sqlite");
};

async function fresh(
  options: Parameters<typeof openSqliteScoreCache>[1] = {},
  path: string = freshPath(),
): Promise<SqliteScoreCache> {
  const cache = await openSqliteScoreCache(path, options);
  onTestFinished(() => cache.dispose());
  return cache;
}

const entries = (from: number, to: number): Map<string, CachedScore> =>
  new Map(Array.from({ length: to - from }, (_, index) => [keyOf(from + index), scoreOf(from + index)]));

async function refusal(opening: Promise<unknown>): Promise<ScoreCacheFileError> {
  const error: unknown = await opening.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (ScoreCacheFileError.isInstance(error)) return error;
  throw new Error(`no ScoreCacheFileError, but ${String(error)}`);
}

describe("what comes out is what went in", () => {
  test("any scores, bit by bit, also after it was closed", async () => {
    const path = freshPath();
    let cache = await fresh({}, path);
    const double = fc.double({ noNaN: true, noDefaultInfinity: true });
    const tokens = fc.integer({ min: 0, max: 2 ** 32 - 1 });
    const score = fc.record({
      logit: fc.oneof(double, fc.constant(-0), fc.constant(Number.MIN_VALUE), fc.constant(3)),
      score: double,
      tokens,
      truncatedTokens: tokens,
      flags: fc.integer({ min: 0, max: 3 }),
    });
    const known = new Map<string, CachedScore>();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(), score), { maxLength: 40 }), async (given) => {
        const some = new Map(given.map(([number, one]) => [keyOf(number), one]));
        await cache.setMany(some);
        // What is there stays: the same key means the same number.
        for (const [key, one] of some) if (!known.has(key)) known.set(key, one);
        const found = await cache.getMany([...some.keys(), keyOf(-1)]);
        expect(found.size).toBe(some.size);
        for (const [key, one] of found) expectSame(one, known.get(key));
      }),
      { numRuns: 30, seed: 7 },
    );
    expect(await cache.count()).toBe(known.size);
    await cache.dispose();
    cache = await fresh({}, path);
    const found = await cache.getMany([...known.keys()]);
    expect(found.size).toBe(known.size);
    for (const [key, one] of found) expectSame(one, known.get(key));
  });

  test("nothing of nothing, and more keys than one transaction takes", async () => {
    const cache = await fresh();
    expect((await cache.getMany([])).size).toBe(0);
    await cache.setMany(new Map());
    await cache.setMany(entries(0, 1000));
    expect(await cache.getMany([...entries(0, 1024).keys()])).toEqual(entries(0, 1000));
  });

  test("a score that the file cannot hold is left out", async () => {
    const cache = await fresh();
    const score = { ...scoreOf(1), tokens: 2 ** 40 };
    await cache.setMany(new Map([[keyOf(1), score]]));
    expect(await cache.count()).toBe(0);
  });
});

function expectSame(found: CachedScore, wanted: CachedScore | undefined): void {
  expect(found).toEqual(wanted);
  expect(Object.is(found.logit, wanted?.logit)).toBe(true);
}

describe("bounds", () => {
  test("pairs go that were not asked for the longest", async () => {
    const cache = await fresh({ maxEntries: 1024 });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    await cache.setMany(entries(0, 1000));
    vi.setSystemTime(1_800_000_000_000 + 2 * 60 * 60 * 1000);
    expect((await cache.getMany([...entries(0, 100).keys()])).size).toBe(100);
    await cache.setMany(entries(1000, 1025));
    expect(await cache.count()).toBe(896);
    expect((await cache.getMany([...entries(0, 100).keys()])).size).toBe(100);
    expect((await cache.getMany([...entries(1000, 1025).keys()])).size).toBe(25);
    expect((await cache.getMany([...entries(100, 1000).keys()])).size).toBe(771);
  });

  test("the file keeps below its bytes, however many pairs there were", async () => {
    const path = freshPath();
    const cache = await fresh({ maxBytes: 2 ** 20 }, path);
    for (let start = 0; start < 8000; start += 1000) await cache.setMany(entries(start, start + 1000));
    expect(await cache.count()).toBeLessThanOrEqual(4096);
    await cache.dispose();
    expect((await stat(path)).size).toBeLessThanOrEqual(2 ** 20);
  });
});

describe("several processes", () => {
  test("write at once, and each finds what the others wrote", async () => {
    const path = freshPath();
    const processes = [0, 1, 2].map((number) => start(path, number * 300, number * 300 + 500));
    const own = await fresh({}, path);
    await Promise.all([
      ...processes.map(async (child) => {
        if (child.exitCode === null) await once(child, "exit");
        expect(child.exitCode).toBe(0);
      }),
      own.setMany(entries(1100, 1300)),
    ]);
    expect(await own.count()).toBe(1300);
    expect(await own.getMany([...entries(0, 900).keys()])).toEqual(entries(0, 900));
    expect(await own.getMany([...entries(900, 1300).keys()])).toEqual(entries(900, 1300));
  }, 60_000);

  test("open files that none of them has made yet, at the same moments", async () => {
    const place = await mkdtemp(join(folder, "new-"));
    const times = isLong ? 3000 : 150;
    const program = fileURLToPath(new URL("openings.mjs", import.meta.url));
    const begin = String(Date.now() + 1000);
    const refused = await Promise.all(
      [0, 1, 2].map(async () => {
        const [said] = await once(fork(program, [place, begin, String(times)]), "message");
        return said as string[];
      }),
    );
    expect(refused.flat()).toEqual([]);
  }, 120_000);

  test("that are killed while they write leave what others can read and go on with", async () => {
    const path = freshPath();
    for (let round = 0; round < 3; round += 1) {
      const child = start(path, 0, 200, "endless");
      const written: number[] = [];
      child.on("message", (message) => {
        if (typeof message === "number") written.push(message);
        if (written.length > 5 + round * 3) child.kill("SIGKILL");
      });
      await once(child, "exit");
      const cache = await openSqliteScoreCache(path);
      for (const number of written) {
        const wanted = entries(number, number + 50);
        expect(await cache.getMany([...wanted.keys()])).toEqual(wanted);
      }
      await cache.dispose();
    }
    const database = new Database(path);
    expect(database.prepare("PRAGMA quick_check").raw().all()).toEqual([["ok"]]);
    const [rows] = database.prepare("SELECT count(*) FROM scores").raw().all() as [[number]];
    expect(database.prepare("SELECT entries FROM counts").raw().all()).toEqual([rows]);
    database.close();
  }, 60_000);

  test("one that holds the file is waited for, until the signal says no", async () => {
    const cache = await fresh();
    const other = new Database(cache.path);
    other.exec("BEGIN IMMEDIATE");
    const waiting = cache.setMany(entries(0, 10));
    expect(await cache.getMany([keyOf(0)])).toEqual(new Map());
    const reason = new Error("enough");
    await expect(cache.setMany(entries(0, 10), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const stop = new AbortController();
    const stopped = cache.setMany(entries(10, 20), { signal: stop.signal });
    setTimeout(() => stop.abort(reason), 20);
    await expect(stopped).rejects.toBe(reason);
    other.exec("COMMIT");
    other.close();
    await waiting;
    expect(await cache.count()).toBe(10);
  });
});

function start(path: string, from: number, to: number, how = ""): ChildProcess {
  const program = fileURLToPath(new URL("process.mjs", import.meta.url));
  return fork(program, [path, String(from), String(to), how], { execArgv: [] });
}

describe("a file that is no cache of this version", () => {
  test.each([
    ["a text", "query,document,score\n"],
    ["a short text", "a"],
    ["JSON", '{"scores": []}'],
    ["zeros", "\0".repeat(8192)],
  ])("%s is left as it is", async (_, content) => {
    const path = freshPath();
    await mkdir(join(path, ".."), { recursive: true });
    await writeFile(path, content);
    expect(await refusal(openSqliteScoreCache(path))).toMatchObject({ reason: "not-a-cache", path });
    expect(await readFile(path, "utf8")).toBe(content);
  });

  test("another program's database is left as it is", async () => {
    const path = freshPath();
    await mkdir(join(path, ".."), { recursive: true });
    const other = new Database(path);
    other.exec("CREATE TABLE mine (a TEXT)");
    other.close();
    const before = await readFile(path);
    expect(await refusal(openSqliteScoreCache(path))).toMatchObject({ reason: "not-a-cache" });
    expect((await readFile(path)).equals(before)).toBe(true);
  });

  test("a later version is refused", async () => {
    const cache = await fresh();
    await cache.dispose();
    const database = new Database(cache.path);
    database.exec("PRAGMA user_version = 2");
    database.close();
    expect(await refusal(openSqliteScoreCache(cache.path))).toMatchObject({ reason: "newer" });
  });

  test("an empty file becomes one", async () => {
    const path = freshPath();
    await mkdir(join(path, ".."), { recursive: true });
    await writeFile(path, "");
    const cache = await fresh({}, path);
    await cache.setMany(entries(0, 3));
    expect(await cache.count()).toBe(3);
  });

  test.skipIf(process.platform === "win32")(
    "a pipe and a device cannot be used, and are not waited for",
    async () => {
      const path = freshPath();
      await mkdir(join(path, ".."), { recursive: true });
      execFileSync("mkfifo", [path]);
      const link = `${path}-link`;
      await symlink(path, link);
      for (const one of [path, link, "/dev/null", "/dev/zero"]) {
        const found = await refusal(openSqliteScoreCache(one));
        expect(found).toMatchObject({ reason: "unusable", path: one });
        expect(found).toHaveProperty("message", expect.stringContaining("it is no file"));
      }
    },
  );

  test("a folder, and a place below a file, cannot be used", async () => {
    const path = freshPath();
    await mkdir(path, { recursive: true });
    expect(await refusal(openSqliteScoreCache(path))).toMatchObject({ reason: "unusable" });
    const file = join(path, "file");
    await writeFile(file, "x");
    expect(await refusal(openSqliteScoreCache(join(file, "scores.sqlite")))).toMatchObject({
      reason: "unusable",
    });
  });
});

describe("a damaged file", () => {
  test("gives a typed error or the right numbers, wherever it is damaged", async () => {
    const cache = await fresh();
    await cache.setMany(entries(0, 1000));
    await cache.dispose();
    const whole = await readFile(cache.path);
    let refused = 0;
    let right = 0;
    for (let trial = 0; trial < 60; trial += 1) {
      const path = freshPath();
      await mkdir(join(path, ".."), { recursive: true });
      const bytes = Buffer.from(whole);
      // A bit, some bytes, a page, or the end.
      const at = (trial * 7919 + 101) % bytes.length;
      if (trial % 4 === 0) bytes[at] = (bytes[at] as number) ^ (1 << (trial % 8));
      else if (trial % 4 === 1) bytes.fill(0xa5, at, at + 40);
      else if (trial % 4 === 2) bytes.fill(0, at - (at % 4096), at - (at % 4096) + 4096);
      await writeFile(path, trial % 4 === 3 ? bytes.subarray(0, at) : bytes);
      try {
        const opened = await openSqliteScoreCache(path);
        try {
          for (let start = 0; start < 1000; start += 100) {
            const wanted = entries(start, start + 100);
            for (const [key, score] of await opened.getMany([...wanted.keys()])) {
              expect(score).toEqual(wanted.get(key));
            }
          }
          await opened.setMany(entries(1000, 1010));
          right += 1;
        } finally {
          await opened.dispose();
        }
      } catch (error) {
        if (!ScoreCacheFileError.isInstance(error)) throw error;
        expect(error.reason).toMatch(/^(damaged|not-a-cache|newer)$/);
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(10);
    expect(refused + right).toBe(60);
  }, 60_000);

  test("a number that was changed behind its checksum is refused", async () => {
    const cache = await fresh();
    await cache.setMany(entries(0, 1));
    const database = new Database(cache.path);
    const [[record]] = database.prepare("SELECT record FROM scores").raw().all() as [[Buffer]];
    record.writeDoubleLE(0.999, 0);
    database.prepare("UPDATE scores SET record = ? WHERE used > ?").run(record, 0);
    database.close();
    expect(await refusal(cache.getMany([keyOf(0)]))).toMatchObject({ reason: "damaged" });
  });
});

describe("wrong usage", () => {
  test.each([
    ["", {}],
    ["a\0b", {}],
    ["x", { maxBytes: 1000 }],
    ["x", { maxEntries: 0 }],
    ["x", { maxEntries: 1.5e3 + 0.5 }],
    ["x", { maxSize: 5 }],
  ])("%j %j is refused", async (path, options: object) => {
    await expect(openSqliteScoreCache(path, options)).rejects.toMatchObject({ code: "invalid-input" });
  });

  test("keys and scores that are none are refused", async () => {
    const cache = await fresh();
    await expect(cache.getMany(["abc"])).rejects.toMatchObject({ code: "invalid-input", path: "keys" });
    await expect(cache.getMany([keyOf(1).toUpperCase()])).rejects.toMatchObject({ code: "invalid-input" });
    const none = { ...scoreOf(1), logit: Number.NaN };
    await expect(cache.setMany(new Map([[keyOf(1), none]]))).rejects.toMatchObject({ code: "invalid-input" });
  });

  test("after it was disposed there is an error, and no empty answer", async () => {
    const cache = await fresh();
    await cache.setMany(entries(0, 1));
    await cache.dispose();
    await cache.dispose();
    await expect(cache.getMany([keyOf(0)])).rejects.toMatchObject({ code: "disposed" });
    await expect(cache.setMany(entries(0, 1))).rejects.toMatchObject({ code: "disposed" });
    await expect(cache.count()).rejects.toMatchObject({ code: "disposed" });
  });
});
