import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ScoreIdentityError, ScoreStoreError } from "../src/index.js";
import { lockFolder } from "../src/run/file-lock.js";
import { LineStore } from "../src/run/line-store.js";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-store-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const identity = { artifact: "abc", truncation: "document-only" };

async function rowsOf(path: string, of = identity, fresh = false): Promise<[LineStore<unknown>, unknown[]]> {
  const rows: unknown[] = [];
  const store = await LineStore.open<unknown>(path, of, { fresh, onRow: (row) => rows.push(row) });
  return [store, rows];
}

describe("stored rows", () => {
  it("come back as they were, and more can be appended", async () => {
    const path = join(folder, "plain", "deep.jsonl");
    const [first, none] = await rowsOf(path);
    expect(none).toEqual([]);
    await first.append([{ a: 0.1 + 0.2 }, { text: "zwei\nZeilen, é🙂" }]);
    await first.close();
    const [second, rows] = await rowsOf(path);
    expect(rows).toEqual([{ a: 0.30000000000000004 }, { text: "zwei\nZeilen, é🙂" }]);
    await second.append([3]);
    await second.close();
    const [third, all] = await rowsOf(path);
    expect(all).toHaveLength(3);
    await third.close();
  });

  it("lose a torn last line, wherever it is torn, and nothing else", async () => {
    const path = join(folder, "torn.jsonl");
    const [store] = await rowsOf(path);
    await store.append([{ query: "ä" }, { query: "b" }]);
    await store.close();
    const whole = await readFile(path);
    const header = whole.indexOf(10) + 1;
    for (let cut = 0; cut < whole.length; cut += 1) {
      await writeFile(path, whole.subarray(0, cut));
      const [again, rows] = await rowsOf(path);
      const kept = whole.subarray(0, cut).toString("latin1").split("\n").length - 2;
      expect(rows).toHaveLength(Math.max(0, kept));
      await again.append([{ query: "new" }]);
      await again.close();
      const text = await readFile(path, "utf8");
      expect(text.endsWith('\n{"query":"new"}\n')).toBe(true);
      if (cut >= header) expect(text.startsWith(whole.subarray(0, header).toString())).toBe(true);
    }
  });

  it("spanning many blocks are all read", async () => {
    const path = join(folder, "long.jsonl");
    const [store] = await rowsOf(path);
    const text = "x".repeat(1500);
    await store.append(Array.from({ length: 3000 }, (_, index) => ({ index, text })));
    await store.close();
    const [again, rows] = await rowsOf(path);
    await again.close();
    expect(rows.map((row) => (row as { index: number }).index)).toEqual(
      Array.from({ length: 3000 }, (_, i) => i),
    );
  });

  it("of another identity are refused, with what differs", async () => {
    const path = join(folder, "identity.jsonl");
    const [store] = await rowsOf(path);
    await store.append([1]);
    await store.close();
    const before = await readFile(path, "utf8");
    const error = await rowsOf(path, { artifact: "def", truncation: "document-only" }).catch(
      (caught: unknown) => caught,
    );
    expect(ScoreIdentityError.isInstance(error)).toBe(true);
    expect((error as ScoreIdentityError).differences).toEqual([
      { what: "artifact", before: "abc", now: "def" },
    ]);
    expect((error as Error).message).toContain("artifact was abc and is def");
    expect(await readFile(path, "utf8")).toBe(before);
    const [fresh, rows] = await rowsOf(path, { artifact: "def", truncation: "document-only" }, true);
    await fresh.close();
    expect(rows).toEqual([]);
  });

  it("that are damaged in the middle are refused, with the line", async () => {
    const path = join(folder, "damaged.jsonl");
    const [store] = await rowsOf(path);
    await store.close();
    await appendFile(path, '{"a":1}\n{"a":\n{"a":3}\n');
    const error = await rowsOf(path).catch((caught: unknown) => caught);
    expect(ScoreStoreError.isInstance(error)).toBe(true);
    expect((error as ScoreStoreError).line).toBe(3);
    await writeFile(path, "something else\n");
    await expect(rowsOf(path)).rejects.toThrow(/:1 is not JSON/);
    await writeFile(path, '{"crossrankScores":99,"identity":{}}\n');
    await expect(rowsOf(path)).rejects.toThrow(/not the beginning of stored scores/);
  });
});

describe("the lock of a folder", () => {
  it("keeps others out until it is given back", async () => {
    const path = join(folder, "lock", "lock");
    const release = await lockFolder(path);
    await expect(lockFolder(path)).rejects.toThrow(`held by process ${process.pid}`);
    await release();
    await (await lockFolder(path))();
  });

  it("is taken over from a process that is gone", async () => {
    const path = join(folder, "stale");
    // Beyond the largest process id of Linux and macOS.
    await writeFile(path, "99999999");
    const release = await lockFolder(path);
    expect(await readFile(path, "utf8")).toBe(String(process.pid));
    await release();
  });

  it("of another living process holds", async () => {
    const path = join(folder, "living");
    await writeFile(path, String(process.ppid));
    await expect(lockFolder(path)).rejects.toThrow(ScoreStoreError);
  });
});
