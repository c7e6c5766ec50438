import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { InvalidInputError } from "@crossrank/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isLong } from "../../../test/sample.js";
import { candidatesRun, formatRun, limitQueries, withRunFile, writeRunFile } from "../src/tasks/index.js";
import { beir, counts, jsonl, lines, plain, useFolders } from "./task-data/scene.js";

const folders = useFolders();

describe("a run file", () => {
  it("has six columns, ranks by score, and the order given among equal scores", () => {
    const rows = new Map([
      [
        "q2",
        new Map([
          ["a", 0.5],
          ["b", 2],
          ["c", 0.5],
          ["d", -0],
        ]),
      ],
      ["q1", new Map([["z", 0.1 + 0.2]])],
    ]);
    expect([...formatRun(rows, "sys")]).toEqual([
      "q2 Q0 b 1 2 sys",
      "q2 Q0 a 2 0.5 sys",
      "q2 Q0 c 3 0.5 sys",
      "q2 Q0 d 4 -0 sys",
      "q1 Q0 z 1 0.30000000000000004 sys",
    ]);
  });

  it("gives every score and the order back", async () => {
    const ids = Array.from({ length: 12 }, (_, index) => `d${index}`);
    const files = {
      "corpus.jsonl": jsonl(...ids.map((id) => ({ _id: id, text: id }))),
      "queries.jsonl": jsonl({ _id: "q", text: "x" }),
      "qrels/test.tsv": "q\td0\t1\n",
    };
    const task = await folders.open(files);
    const path = join(await folders.write({}), "out.run");
    const score = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.constantFrom(0, 1, Number.MIN_VALUE, Number.MAX_VALUE, 5e-324, 1e21, 1e-7, 0.1 + 0.2),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(ids, { minLength: 1 }),
        fc.array(score, { minLength: 12, maxLength: 12 }),
        async (some, scores) => {
          const row = some.map((id, index): [string, number] => [id, scores[index] ?? 0]);
          await writeRunFile(path, [["q", row]], "sys");
          const read = (await withRunFile(task, path)).candidates?.queries.get("q");
          const expected = [...row].sort(([, left], [, right]) => right - left);
          expect(read?.documents).toEqual(expected.map(([id]) => id));
          // With === : 0 and -0 are one score, which sorts as they stood.
          expect(expected.every(([, value], index) => read?.scores[index] === value)).toBe(true);
        },
      ),
      { numRuns: isLong ? 200 : 50 },
    );
  });

  it("of a score that is not finite, or of an id with white space, is not written", async () => {
    const folder = await folders.write({});
    const path = join(folder, "out.run");
    for (const rows of [
      [["q", [["d", Number.NaN]]]],
      [["q", [["d", Number.POSITIVE_INFINITY]]]],
      [["q 1", [["d", 1]]]],
      [["q", [["", 1]]]],
    ] as [string, [string, number][]][][]) {
      await expect(writeRunFile(path, rows, "sys")).rejects.toThrow(InvalidInputError);
    }
    await expect(writeRunFile(path, [["q", [["d", 1]]]], "two words")).rejects.toThrow("tag");
    expect(await readdir(folder)).toEqual([]);
  });

  it("may be long", async () => {
    const path = join(await folders.write({}), "out.run");
    const rows = Array.from({ length: 25_000 }, (_, index): [string, number] => [`d${index}`, -index]);
    await writeRunFile(path, [["q", rows]], "sys");
    const text = await readFile(path, "utf8");
    expect(text.split("\n")).toHaveLength(25_001);
    expect(text.endsWith("q Q0 d24999 25000 -24999 sys\n")).toBe(true);
  });
});

describe("candidates", () => {
  it("are ordered by score, then rank, then place, whatever the order of lines", async () => {
    const task = await folders.open({
      ...beir,
      "candidates.trec": lines("q1 Q0 d2 3 1 x", "q1\tQ0  d1 2 1 x", "q2 Q0 d3 1 1 x", "q1 Q0 d3 1 2 x"),
    });
    expect(plain(task).candidates).toEqual({
      q1: [
        ["d3", 2],
        ["d1", 1],
        ["d2", 1],
      ],
      q2: [["d3", 1]],
    });
    expect(counts(task)).toEqual({});
  });

  it("whose ranks contradict the scores follow the scores, which is counted", async () => {
    const task = await folders.open({
      ...beir,
      "candidates.trec": lines("q1 Q0 d1 1 1 x", "q1 Q0 d2 2 5 x", "q2 Q0 d3 1 1 x"),
    });
    expect(plain(task).candidates?.["q1"]?.map(([id]) => id)).toEqual(["d2", "d1"]);
    expect(counts(task)).toEqual({ "ranks-contradict-scores": 1 });
  });

  it("of equal scores throughout are a pool", async () => {
    const pool = lines("q1 Q0 d1 1 0 pool", "q1 Q0 d2 2 0 pool", "q2 Q0 d3 1 0 pool");
    expect((await folders.open({ ...beir, "candidates.trec": pool })).candidates?.ranked).toBe(false);
  });

  it("can come from a run file of one's own", async () => {
    const task = await folders.open(beir);
    const path = join(await folders.write({}), "mine.run");
    await writeFile(path, lines("q1 Q0 d2 1 9 mine", "q9 Q0 d2 1 9 mine"));
    const own = await withRunFile(task, path);
    expect(plain(own).candidates).toEqual({ q1: [["d2", 9]] });
    expect(own.candidates?.origin).toBe("mine.run");
    expect(counts(own)).toEqual({ "unjudged-candidates": 1, "queries-without-candidates": 1 });
    expect(own.provenance.files.filter(({ role }) => role === "candidates").map(({ path }) => path)).toEqual([
      "mine.run",
    ]);
    await writeFile(path, "q1 Q0 d9 1 9 mine\n");
    await expect(withRunFile(task, path)).rejects.toMatchObject({ fault: "unknown-document", line: 1 });
  });

  it("are a run", async () => {
    const { candidates } = await folders.open(beir);
    if (candidates === undefined) throw new Error("no candidates");
    expect([...(candidatesRun(candidates).get("q1") ?? [])]).toEqual([
      ["d3", 2.5],
      ["d1", 1.25],
    ]);
  });
});

describe("a limited task", () => {
  it("has the first queries, their judgements and candidates, and all documents", async () => {
    const task = await folders.open(beir);
    const limited = limitQueries(task, 1);
    expect(plain(limited)).toEqual({
      queries: { q1: "what is tea" },
      qrels: { q1: { d1: 2, d3: 0 } },
      candidates: {
        q1: [
          ["d3", 2.5],
          ["d1", 1.25],
        ],
      },
    });
    expect(limited.documents.size).toBe(3);
    expect(limited.candidates?.sha256).not.toBe(task.candidates?.sha256);
    expect(limitQueries(task, 2)).toBe(task);
  });
});
