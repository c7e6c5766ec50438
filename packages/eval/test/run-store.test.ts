import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
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
  const store = await LineStore.open<unknown>(path, of, {
    fresh,
    accept: (row) => rows.push(row) > 0,
  });
  return [store, rows];
}

describe("stored rows", () => {
  it("come back as they were, and more can be appended", async () => {
    const path = join(folder, "plain", "deep.jsonl");
    const [first, none] = await rowsOf(path);
    expect(none).toEqual([]);
    await first.append({ a: 0.1 + 0.2 });
    await first.append({ text: "zwei\nZeilen, é🙂" });
    await first.close();
    const [second, rows] = await rowsOf(path);
    expect(rows).toEqual([{ a: 0.30000000000000004 }, { text: "zwei\nZeilen, é🙂" }]);
    await second.append(3);
    await second.close();
    const [third, all] = await rowsOf(path);
    expect(all).toHaveLength(3);
    await third.close();
  });

  it("lose a torn last line, wherever it is torn, and nothing else", async () => {
    const path = join(folder, "torn.jsonl");
    const [store] = await rowsOf(path);
    await store.append({ query: "ä" });
    await store.append({ query: "b" });
    await store.close();
    const whole = await readFile(path);
    const header = whole.indexOf(10) + 1;
    for (let cut = 0; cut < whole.length; cut += 1) {
      await writeFile(path, whole.subarray(0, cut));
      const [again, rows] = await rowsOf(path);
      const kept = whole.subarray(0, cut).toString("latin1").split("\n").length - 2;
      expect(rows).toHaveLength(Math.max(0, kept));
      expect(again.damagedLines).toBe(0);
      await again.append({ query: "new" });
      await again.close();
      const text = await readFile(path, "utf8");
      expect(text).toMatch(/\n[0-9a-f]{32} {"query":"new"}\n$/);
      if (cut >= header) expect(text.startsWith(whole.subarray(0, header).toString())).toBe(true);
    }
  });

  it("spanning many blocks are all read", async () => {
    const path = join(folder, "long.jsonl");
    const [store] = await rowsOf(path);
    const text = "x".repeat(1500);
    for (let index = 0; index < 3000; index += 1) await store.append({ index, text });
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
    await store.append(1);
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

  it("that are damaged are left out, once, and the others stay", async () => {
    const path = join(folder, "damaged.jsonl");
    const [store] = await rowsOf(path);
    for (const row of ["a", "b", "c"]) await store.append({ row });
    await store.close();
    const whole = await readFile(path, "utf8");
    await writeFile(path, whole.replace('"b"', '"d"'));
    const [again, rows] = await rowsOf(path);
    expect(rows).toEqual([{ row: "a" }, { row: "c" }]);
    expect(again.damagedLines).toBe(1);
    await again.append({ row: "b" });
    await again.close();
    const [third, all] = await rowsOf(path);
    expect(all).toEqual([{ row: "a" }, { row: "c" }, { row: "b" }]);
    expect(third.damagedLines).toBe(0);
    await third.close();
  });

  it("keep what they are when the header is damaged, and nothing of a file that never was one", async () => {
    const path = join(folder, "header.jsonl");
    const [store] = await rowsOf(path);
    await store.append({ row: "a" });
    await store.close();
    await writeFile(path, (await readFile(path, "utf8")).replace("abc", "abd"));
    const [again, rows] = await rowsOf(path);
    expect([rows, again.damagedLines]).toEqual([[{ row: "a" }], 1]);
    await again.close();
    await writeFile(path, "something else\n");
    const [anew, none] = await rowsOf(path);
    expect([none, anew.damagedLines]).toEqual([[], 1]);
    await anew.close();
  });

  it("of another system are none, although the line is whole", async () => {
    const [path, other] = [join(folder, "own.jsonl"), join(folder, "foreign.jsonl")];
    const [store] = await rowsOf(path);
    await store.append({ row: "a" });
    await store.close();
    const [foreign] = await rowsOf(other, { ...identity, artifact: "def" });
    await foreign.append({ row: "b" });
    await foreign.close();
    const line = (await readFile(other, "utf8")).split("\n")[1];
    await writeFile(path, `${await readFile(path, "utf8")}${line}\n`);
    const [again, rows] = await rowsOf(path);
    expect([rows, again.damagedLines]).toEqual([[{ row: "a" }], 1]);
    await again.close();
  });

  it.each(['{"crossrankScores":1,"identity":{"artifact":"abc"}}\n'])(
    "of an earlier version are refused: %j",
    async (text) => {
      const path = join(folder, "version.jsonl");
      await writeFile(path, text);
      const error = await rowsOf(path).catch((caught: unknown) => caught);
      expect(ScoreStoreError.isInstance(error)).toBe(true);
      expect((error as Error).message).toMatch(/not the beginning of stored scores of this version.*fresh/);
      expect(await readFile(path, "utf8")).toBe(text);
    },
  );
});

describe("the lock of a folder", () => {
  it("keeps others out until it is given back, and leaves nothing behind", async () => {
    const path = join(folder, "lock", "lock");
    const release = await lockFolder(path);
    await expect(lockFolder(path)).rejects.toThrow("is held by another evaluation");
    await release();
    await (await lockFolder(path))();
    expect(existsSync(path)).toBe(false);
  });

  it("is not believed of a file, whichever process it names", async () => {
    for (const text of ["99999999", String(process.pid), String(process.ppid), "1"]) {
      const path = join(folder, "stale");
      await writeFile(path, text);
      await (await lockFolder(path))();
    }
  });
});
