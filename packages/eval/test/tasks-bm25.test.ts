import { InvalidInputError } from "@crossrank/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { wordsOf } from "../src/tasks/bm25.js";
import { type FirstStageOptions, searchBm25, type Task, withFirstStage } from "../src/tasks/index.js";
import { beir, counts, jsonl, plain, useFolders } from "./task-data/scene.js";

const folders = useFolders();

async function openTexts(documents: Record<string, string>, queries: Record<string, string>): Promise<Task> {
  const rows = (texts: Record<string, string>): unknown[] =>
    Object.entries(texts).map(([_id, text]) => ({ _id, text }));
  return folders.open({
    "corpus.jsonl": jsonl(...rows(documents)),
    "queries.jsonl": jsonl(...rows(queries)),
    "qrels/test.tsv": Object.keys(queries)
      .map((query) => `${query}\t${Object.keys(documents)[0]}\t1\n`)
      .join(""),
  });
}

/** The formula by hand, for one document, without an index. */
function bm25(query: string, document: string, corpus: readonly string[], k1 = 0.9, b = 0.4): number {
  const split = (text: string): string[] => text.split(" ").filter((word) => word !== "");
  const mean = corpus.reduce((sum, text) => sum + split(text).length, 0) / corpus.length;
  let score = 0;
  for (const word of split(query)) {
    const frequency = split(document).filter((other) => other === word).length;
    if (frequency === 0) continue;
    const holding = corpus.filter((text) => split(text).includes(word)).length;
    const idf = Math.log(1 + (corpus.length - holding + 0.5) / (holding + 0.5));
    const norm = k1 * (1 - b + b * (split(document).length / mean));
    score += (idf * frequency * (k1 + 1)) / (frequency + norm);
  }
  return score;
}

describe("words", () => {
  it.each([
    ["Don't-Stop snake_case 3.5", ["don", "t", "stop", "snake_case", "3", "5"]],
    ["Größe ÉTÉ Ωmega Привет", ["größe", "été", "ωmega", "привет"]],
    ["東京 🙂 ²", ["東京", "²"]],
    [" \n", []],
  ])("of %j are %j", (text, expected) => {
    expect(wordsOf(text)).toEqual(expected);
  });
});

describe("BM25", () => {
  it("agrees with scores of Python's bm25s", async () => {
    // bm25s 0.3.16, BM25(method="lucene", k1=0.9, b=0.4, dtype="float64"), times k1 + 1, which its formula leaves out;
    // the words as below, query by query. Documents without a common word score 0 there and are not found here.
    const task = await openTexts(
      {
        d1: "the cat sat on the mat",
        d2: "the dog sat on the log and the dog slept",
        d3: "cats and dogs",
        d4: "a mat",
      },
      { q1: "the cat", q2: "dog on mat", q3: "nothing here" },
    );
    const found = await searchBm25(task.documents, task.queries);
    const scores = (query: string): Record<string, number> => {
      const list = found.get(query);
      return Object.fromEntries(list?.documents.map((id, index) => [id, list.scores[index] ?? 0]) ?? []);
    };
    expect(Object.keys(scores("q1"))).toEqual(["d1", "d2"]);
    expect(scores("q1")["d1"]).toBeCloseTo(2.064678303278102, 10);
    expect(scores("q1")["d2"]).toBeCloseTo(0.9349754058262952, 10);
    expect(Object.keys(scores("q2"))).toEqual(["d2", "d1", "d4"]);
    expect(scores("q2")["d1"]).toBeCloseTo(1.3497595170493808, 10);
    expect(scores("q2")["d2"]).toBeCloseTo(2.0100314947335116, 10);
    expect(scores("q2")["d4"]).toBeCloseTo(0.7852519166479789, 10);
    expect(found.has("q3")).toBe(false);
  });

  it("gives what scoring every document by the formula gives", async () => {
    const word = fc.constantFrom("a", "b", "c", "d", "e");
    const text = fc.array(word, { maxLength: 8 }).map((words) => words.join(" "));
    const options = fc.record({
      depth: fc.integer({ min: 1, max: 6 }),
      k1: fc.constantFrom(0, 0.9, 1.2),
      b: fc.constantFrom(0, 0.4, 1),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(text, { minLength: 1, maxLength: 9 }),
        fc.array(word, { minLength: 1, maxLength: 4 }),
        options,
        async (texts, words, { depth, k1, b }) => {
          const query = words.join(" ");
          const documents = Object.fromEntries(texts.map((content, index) => [`d${index}`, content]));
          const task = await openTexts(documents, { q: query });
          const found = (await searchBm25(task.documents, task.queries, { depth, k1, b })).get("q");
          const all = texts
            .map((content, index) => ({ id: `d${index}`, score: bm25(query, content, texts, k1, b) }))
            .filter(({ score }) => score > 0)
            .sort((left, right) => right.score - left.score)
            .slice(0, depth);
          expect(found?.documents.length ?? 0).toBe(all.length);
          all.forEach(({ score }, index) => {
            expect(found?.scores[index]).toBeCloseTo(score, 12);
          });
          for (const [index, id] of found?.documents.entries() ?? []) {
            expect(found?.scores[index]).toBeCloseTo(bm25(query, documents[id] ?? "", texts, k1, b), 12);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it("orders equal scores by id, and cuts them so", async () => {
    const documents = {
      d3: "tea",
      "d\u{1F642}": "tea",
      "d\uFF5E": "tea",
      d10: "tea",
      d2: "tea",
      other: "water",
    };
    const task = await openTexts(documents, { q: "tea" });
    const found = await searchBm25(task.documents, task.queries);
    // By bytes of UTF-8; by UTF-16 units the last two were the other way around.
    expect(found.get("q")?.documents).toEqual(["d10", "d2", "d3", "d\uFF5E", "d\u{1F642}"]);
    const two = await searchBm25(task.documents, task.queries, { depth: 2 });
    expect(two.get("q")?.documents).toEqual(["d10", "d2"]);
  });

  it("does not carry scores from one query to the next", async () => {
    const task = await openTexts(
      { d1: "tea", d2: "tea water", d3: "milk" },
      { q1: "tea", q2: "tea", q3: "water" },
    );
    const found = await searchBm25(task.documents, task.queries);
    expect(found.get("q2")).toEqual(found.get("q1"));
    expect(found.get("q3")?.documents).toEqual(["d2"]);
  });

  it.each([
    [{ depth: 0 }, "options.depth"],
    [{ depth: 1.5 }, "options.depth"],
    [{ k1: -1 }, "options.k1"],
    [{ k1: Number.NaN }, "options.k1"],
    [{ b: 1.1 }, "options.b"],
  ] as [FirstStageOptions, string][])("refuses %j", async (options, path) => {
    const task = await openTexts({ d: "x" }, { q: "x" });
    const failure = searchBm25(task.documents, task.queries, options);
    await expect(failure).rejects.toThrow(InvalidInputError);
    await expect(failure).rejects.toMatchObject({ path });
  });
});

describe("a first stage", () => {
  it("gives a retrieval task candidates, and says which", async () => {
    const { "candidates.trec": _, ...rest } = beir;
    const task = await folders.open(rest);
    const progress: number[] = [];
    const staged = await withFirstStage(task, { depth: 2, onProgress: (count) => progress.push(count) });
    expect(staged.candidates).toMatchObject({ origin: "BM25 (k1 0.9, b 0.4, top 2)", ranked: true });
    expect(plain(staged).candidates?.["q1"]?.map(([id]) => id)).toEqual(["d1", "d3"]);
    expect(progress.at(-1)).toBe(3);
    expect(staged.kind).toBe("retrieval");
  });

  it("replaces candidates and what was said of them", async () => {
    const task = await folders.open({ ...beir, "candidates.trec": "q1 Q0 d1 1 1 x\nq1 Q0 d1 2 1 x\n" });
    expect(counts(task)).toEqual({ "duplicate-candidates": 1, "queries-without-candidates": 1 });
    expect(counts(await withFirstStage(task))).toEqual({});
  });

  it("counts queries that share no word with the corpus", async () => {
    const task = await openTexts({ d: "tea" }, { q1: "tea", q2: "coffee" });
    expect(counts(await withFirstStage(task))).toEqual({ "queries-without-candidates": 1 });
  });

  it("can leave out the document that is the query", async () => {
    const task = await openTexts({ a: "tea or coffee", b: "tea and milk" }, { a: "tea or coffee" });
    expect((await withFirstStage(task)).candidates?.queries.get("a")?.documents).toEqual(["a", "b"]);
    const staged = await withFirstStage(task, { excludeIdenticalIds: true });
    expect(staged.candidates?.queries.get("a")?.documents).toEqual(["b"]);
    expect(staged.candidates?.origin).toContain("identical ids excluded");
  });

  it("stops on abort with the signal's reason", async () => {
    const task = await folders.open(beir);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(withFirstStage(task, { signal })).rejects.toBe(signal.reason);
  });
});
