import { createHash } from "node:crypto";
import { readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { openFolder } from "@crossrank/hub";
import { describe, expect, it, vi } from "vitest";
import { openTask, TaskDataError } from "../src/tasks/index.js";
import { allTexts, beir, counts, jsonl, lines, plain, useFolders } from "./task-data/scene.js";

const folders = useFolders();
const data = join(import.meta.dirname, "task-data");

function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

const beirTexts = {
  d1: "Tea Tea is made of leaves.",
  d2: "Coffee is made of beans. ☕",
  d3: "Water is only water.",
};
const beirContent = {
  queries: { q1: "what is tea", q2: "what is coffee" },
  qrels: { q1: { d1: 2, d3: 0 }, q2: { d2: 1 } },
  candidates: {
    q1: [
      ["d3", 2.5],
      ["d1", 1.25],
    ],
    q2: [
      ["d2", 0.3],
      ["d1", 0.1],
    ],
  },
};

describe("a BEIR folder", () => {
  it("opens with texts, judgements and candidates", async () => {
    const task = await folders.open(beir);
    expect(plain(task)).toEqual(beirContent);
    expect(await allTexts(task)).toEqual(beirTexts);
    expect(task.kind).toBe("reranking");
    expect(task.candidates).toMatchObject({ origin: "candidates.trec", ranked: true });
    expect(task.warnings).toEqual([]);
    expect([...task.documents.ids()]).toEqual(["d1", "d2", "d3"]);
    expect(task.documents.size).toBe(3);
    expect(await task.documents.texts(["d3", "d1", "d3"])).toEqual([
      beirTexts.d3,
      beirTexts.d1,
      beirTexts.d3,
    ]);
    expect(await task.documents.text("d2")).toBe(beirTexts.d2);
    expect(task.documents.has("d4")).toBe(false);
  });

  it("tells where everything comes from", async () => {
    const readme =
      "---\nlicense: cc0-1.0\npretty_name: Drinks\n---\n# Drinks\n\n```bibtex\n@misc{drinks}\n```\n";
    const task = await folders.open({ ...beir, "README.md": readme });
    const file = (path: string, role: string, content: string) => ({
      path,
      role,
      size: Buffer.byteLength(content),
      sha256: sha256(content),
    });
    expect(task.provenance).toEqual({
      source: task.id,
      revision: undefined,
      layout: "beir",
      split: "test",
      subset: undefined,
      license: "cc0-1.0",
      citation: "@misc{drinks}",
      files: [
        file("README.md", "card", readme),
        file("corpus.jsonl", "documents", beir["corpus.jsonl"]),
        file("queries.jsonl", "queries", beir["queries.jsonl"]),
        file("qrels/test.tsv", "qrels", beir["qrels/test.tsv"]),
        file("candidates.trec", "candidates", beir["candidates.trec"]),
      ],
    });
    expect(task.name).toBe("Drinks");
  });

  it("hashes its candidates by queries and documents alone", async () => {
    const expected = sha256('["q1",["d3","d1"]]\n["q2",["d2","d1"]]\n');
    expect((await folders.open(beir)).candidates?.sha256).toBe(expected);
    const others = lines("q2 Q0 d2 1 9 x", "q2 Q0 d1 2 8 x", "q1 Q0 d3 1 7 x", "q1 Q0 d1 2 6 x");
    const again = await folders.open({ ...beir, "candidates.trec": others });
    expect(again.candidates?.sha256).toBe(expected);
    const swapped = others.replace("d3 1 7", "d1 1 7").replace("d1 2 6", "d3 2 6");
    expect((await folders.open({ ...beir, "candidates.trec": swapped })).candidates?.sha256).not.toBe(
      expected,
    );
  });

  it("may be compressed, with Windows line ends, a byte order mark and blank lines", async () => {
    const windows = (text: string): string => `\uFEFF\r\n${text.replaceAll("\n", "\r\n")}\r\n`;
    const plainFolder = await folders.open(
      Object.fromEntries(Object.entries(beir).map(([path, text]) => [path, windows(text)])),
    );
    const compressed = await folders.open(
      Object.fromEntries(Object.entries(beir).map(([path, text]) => [`${path}.gz`, gzipSync(windows(text))])),
    );
    for (const task of [plainFolder, compressed]) {
      expect(plain(task)).toEqual(beirContent);
      expect(await allTexts(task)).toEqual(beirTexts);
      expect(await task.documents.texts(["d3", "d1"])).toEqual([beirTexts.d3, beirTexts.d1]);
    }
    expect(compressed.provenance.files[0]?.path).toBe("corpus.jsonl.gz");
  });

  it("may end without a line end", async () => {
    const task = await folders.open(
      Object.fromEntries(Object.entries(beir).map(([path, text]) => [path, text.slice(0, -1)])),
    );
    expect(plain(task)).toEqual(beirContent);
    expect(await allTexts(task)).toEqual(beirTexts);
  });

  it("has no candidates without a run file, and is then a retrieval task", async () => {
    const { "candidates.trec": _, ...rest } = beir;
    const task = await folders.open(rest);
    expect(task.kind).toBe("retrieval");
    expect(task.candidates).toBeUndefined();
  });

  it("leaves out the queries of other splits", async () => {
    const files = {
      ...beir,
      "queries.jsonl": `${beir["queries.jsonl"]}${jsonl({ _id: "q3", text: "of train" })}`,
      "qrels/train.tsv": lines("query-id\tcorpus-id\tscore", "q3\td1\t1"),
      "candidates.trec": `${beir["candidates.trec"]}q3 Q0 d1 1 1 bm25\n`,
    };
    const task = await folders.open(files);
    expect(plain(task)).toEqual(beirContent);
    expect(counts(task)).toEqual({ "unjudged-queries": 1, "unjudged-candidates": 1 });
    const train = await folders.open(files, { split: "train" });
    expect([...train.queries.keys()]).toEqual(["q3"]);
    expect(train.provenance.split).toBe("train");
    expect(await folders.failure(files, { split: "dev" })).toMatchObject({
      code: "task-layout",
      found: ["test", "train"],
    });
  });

  it("reads qrels without a header, and numbers as ids", async () => {
    const task = await folders.open({
      "corpus.jsonl": jsonl({ _id: 7, text: "seven" }, { _id: "8", text: "eight" }),
      "queries.jsonl": jsonl({ _id: 1, text: "one" }),
      "qrels/test.tsv": lines("1\t7\t1.0", "1\t8\t-1"),
    });
    expect(plain(task).qrels).toEqual({ 1: { 7: 1, 8: -1 } });
  });

  it("keeps places right over many blocks", async () => {
    // More than two of the megabytes that files are read by, with lines of all lengths.
    const text = (index: number): string => `${index}:${"äö☕".repeat((index * 37) % 700)}`;
    const numbers = Array.from({ length: 1500 }, (_, index) => index);
    const corpus = jsonl(...numbers.map((index) => ({ _id: `d${index}`, text: text(index) })));
    expect(Buffer.byteLength(corpus)).toBeGreaterThan(2 << 20);
    for (const files of [{ "corpus.jsonl": corpus }, { "corpus.jsonl.gz": gzipSync(corpus) }]) {
      const task = await folders.open({
        ...files,
        "queries.jsonl": beir["queries.jsonl"],
        "qrels/test.tsv": "q1\td1\t1\n",
      });
      const all = await allTexts(task);
      expect(Object.keys(all)).toHaveLength(1500);
      for (const index of numbers) expect(all[`d${index}`]).toBe(text(index));
      const some = [1499, 0, 700, 699];
      expect(await task.documents.texts(some.map((index) => `d${index}`))).toEqual(some.map(text));
    }
  });

  it("removes what it unpacked when it is disposed of, and when it cannot be opened", async () => {
    const temporary = await folders.write({});
    const { "corpus.jsonl": corpus, ...rest } = beir;
    const folder = await folders.write({ ...rest, "corpus.jsonl.gz": gzipSync(corpus) });
    // Of this test's own: others unpack at the same time.
    vi.stubEnv("TMPDIR", temporary);
    vi.stubEnv("TEMP", temporary);
    try {
      const task = await openTask(await openFolder(folder));
      expect(await readdir(temporary)).toEqual([expect.stringMatching(/^crossrank-task-/)]);
      await task[Symbol.asyncDispose]();
      expect(await readdir(temporary)).toEqual([]);
      await writeFile(join(folder, "qrels", "test.tsv"), "q1\n");
      await expect(openTask(await openFolder(folder))).rejects.toThrow(TaskDataError);
      expect(await readdir(temporary)).toEqual([]);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it("notices when the corpus is changed under it", async () => {
    const folder = await folders.write(beir);
    await using task = await openTask(await openFolder(folder));
    await writeFile(join(folder, "corpus.jsonl"), jsonl({ _id: "d1", text: "another corpus" }));
    await expect(task.documents.text("d1")).rejects.toThrow("was changed while the task was open");
    // Of the same size, and so readable at the old places.
    await writeFile(join(folder, "corpus.jsonl"), beir["corpus.jsonl"].replace("leaves", "stones"));
    await utimes(join(folder, "corpus.jsonl"), new Date(0), new Date(0));
    await expect(task.documents.text("d1")).rejects.toThrow("was changed while the task was open");
  });

  it("stops on abort with the signal's reason", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    expect(await folders.failure(beir, { signal })).toBe(signal.reason);
  });
});

describe("MTEB's text", () => {
  it.each([
    ["Tea", "leaves", "Tea leaves"],
    ["", " leaves ", "leaves"],
    ["Tea", "", "Tea"],
    // Python strips these two and JavaScript's trim does not; U+FEFF is the other way around.
    ["\u001c", "leaves\u0085", "leaves"],
    ["", "\uFEFFleaves", "\uFEFFleaves"],
    ["a", "b\n\u3000\u2003", "a b"],
  ])("of %j and %j is %j", async (title, text, expected) => {
    const task = await folders.open({
      ...beir,
      "corpus.jsonl": jsonl({ _id: "d1", title, text }, { _id: "d2", text: "x" }, { _id: "d3", text: "y" }),
    });
    expect(await task.documents.text("d1")).toBe(expected);
  });
});

describe("an MTEB retrieval dataset", () => {
  const content = {
    queries: { q1: "what is tea", q2: "what is coffee" },
    qrels: { q1: { 1: 2, 3: 0 }, q2: { 2: 1 } },
  };
  const texts = {
    1: "Tea Tea is made of leaves.",
    2: "Coffee is made of beans. ☕",
    3: "Water is only water.",
    4: "Milk Cows give it.",
  };

  it("in parquet opens by its card's configs", async () => {
    await using task = await openTask(await openFolder(join(data, "mteb-retrieval")));
    expect(plain(task)).toEqual({
      ...content,
      candidates: {
        q1: [
          ["2", 0],
          ["1", -1],
          ["3", -2],
        ],
        q2: [
          ["2", 0],
          ["4", -1],
        ],
      },
    });
    expect(await allTexts(task)).toEqual(texts);
    expect(counts(task)).toEqual({ "unjudged-queries": 1 });
    expect(task.name).toBe("Drinks");
    expect(task.provenance).toMatchObject({
      layout: "mteb-retrieval",
      split: "test",
      license: "cc0-1.0",
      citation: "@misc{drinks,\n  title = {Drinks},\n}",
    });
    const corpus = await readFile(join(data, "mteb-retrieval/corpus/test-00000-of-00002.parquet"));
    expect(task.provenance.files).toContainEqual({
      path: "corpus/test-00000-of-00002.parquet",
      role: "documents",
      size: corpus.length,
      sha256: sha256(corpus),
    });
  });

  it("opens by its folders where the card lists no configs", async () => {
    const folder = join(data, "mteb-retrieval");
    const read = async (path: string): Promise<Uint8Array> => readFile(join(folder, path));
    const task = await folders.open({
      "corpus/test-00000-of-00002.parquet": await read("corpus/test-00000-of-00002.parquet"),
      "corpus/test-00001-of-00002.parquet": await read("corpus/test-00001-of-00002.parquet"),
      "queries/test-00000-of-00001.parquet": await read("queries/test-00000-of-00001.parquet"),
      "qrels/test-00000-of-00001.parquet": await read("data/test-00000-of-00001.parquet"),
    });
    expect(plain(task)).toEqual({ ...content, candidates: undefined });
    expect(await allTexts(task)).toEqual(texts);
  });

  const jsonlFiles = {
    "corpus/corpus.jsonl": jsonl({ id: "d1", text: "one" }, { id: "d2", text: "two" }),
    "queries/queries.jsonl": jsonl({ id: "q1", text: "one?" }),
    "qrels/validation.jsonl": jsonl({ "query-id": "q1", "corpus-id": "d2", score: 1 }),
  };

  it("in jsonl takes the only split of corpus and queries, whatever its name", async () => {
    const task = await folders.open(jsonlFiles);
    expect(plain(task).qrels).toEqual({ q1: { d2: 1 } });
    expect(task.provenance.split).toBe("validation");
  });

  it("does not take another split than the one asked for", async () => {
    expect(await folders.failure(jsonlFiles, { split: "test" })).toMatchObject({
      code: "task-layout",
      found: ["validation"],
    });
  });

  it("of several subsets needs a choice", async () => {
    const files = {
      "de-corpus/test.jsonl": jsonl({ id: "d1", text: "eins" }),
      "de-queries/test.jsonl": jsonl({ id: "q1", text: "eins?" }),
      "de-qrels/test.jsonl": jsonl({ "query-id": "q1", "corpus-id": "d1", score: 1 }),
      "en-corpus/test.jsonl": jsonl({ id: "d1", text: "one" }),
      "en-queries/test.jsonl": jsonl({ id: "q1", text: "one?" }),
      "en-qrels/test.jsonl": jsonl({ "query-id": "q1", "corpus-id": "d1", score: 1 }),
    };
    expect(await folders.failure(files)).toMatchObject({ code: "task-layout", found: ["de", "en"] });
    const task = await folders.open(files, { subset: "de" });
    expect(plain(task).queries).toEqual({ q1: "eins?" });
    expect(task.provenance.subset).toBe("de");
  });

  it("whose lists show the relevant documents first has a pool, not a ranking", async () => {
    const files = {
      "corpus.jsonl": jsonl(...["a1", "a2", "n1", "n2"].map((id) => ({ id, text: id }))),
      "queries.jsonl": jsonl({ id: "q1", text: "one?" }, { id: "q2", text: "two?" }),
      "qrels/test.tsv": lines("q1\ta1\t1", "q1\tn1\t0", "q2\ta2\t1", "q2\tn2\t0"),
      "top_ranked/test.jsonl": jsonl(
        { "query-id": "q1", "corpus-ids": ["a1", "n1"] },
        { "query-id": "q2", "corpus-ids": ["a2", "n2"] },
      ),
    };
    const task = await folders.open(files);
    expect(task.candidates?.ranked).toBe(false);
    expect(plain(task).candidates).toEqual({
      q1: [
        ["n1", 0],
        ["a1", 0],
      ],
      q2: [
        ["n2", 0],
        ["a2", 0],
      ],
    });
  });

  it("with instructions is refused", async () => {
    const withConfig = {
      ...jsonlFiles,
      "instruction/test.jsonl": jsonl({ "query-id": "q1", instruction: "x" }),
    };
    expect((await folders.failure(withConfig)) as Error).toMatchObject({ code: "task-layout" });
    const withField = {
      ...jsonlFiles,
      "queries/queries.jsonl": jsonl({ id: "q1", text: "one?", instruction: "x" }),
    };
    expect(((await folders.failure(withField)) as Error).message).toContain("instructions");
  });
});

describe("an MTEB reranking dataset", () => {
  const content = {
    queries: { test_query0: "what is tea", test_query1: "what is coffee" },
    qrels: {
      test_query0: {
        apositive_test_query0_00000: 1,
        negative_test_query0_00000: 0,
        negative_test_query0_00001: 0,
      },
      test_query1: {
        apositive_test_query1_00000: 1,
        apositive_test_query1_00001: 1,
        negative_test_query1_00000: 0,
      },
    },
    candidates: {
      test_query0: [
        ["negative_test_query0_00001", 0],
        ["negative_test_query0_00000", 0],
        ["apositive_test_query0_00000", 0],
      ],
      test_query1: [
        ["negative_test_query1_00000", 0],
        ["apositive_test_query1_00001", 0],
        ["apositive_test_query1_00000", 0],
      ],
    },
  };
  const rows = jsonl(
    { query: "what is tea", positive: ["Tea is made of leaves."], negative: ["Water.", "Milk."] },
    { query: "nobody answers", positive: [], negative: ["Rain."] },
    { query: "what is coffee", positive: ["Coffee is made of beans.", "A drink."], negative: ["Tea."] },
  );

  it.each([
    ["parquet", undefined],
    ["jsonl", { "test.jsonl": rows }],
    ["compressed jsonl", { "test.jsonl.gz": gzipSync(rows), "validation.jsonl.gz": gzipSync("{}") }],
  ])("in %s opens with MTEB's ids", async (_, files) => {
    const task =
      files === undefined
        ? await openTask(await openFolder(join(data, "mteb-reranking")))
        : await folders.open(files);
    expect(plain(task)).toEqual(content);
    expect(task.kind).toBe("reranking");
    expect(task.candidates?.ranked).toBe(false);
    expect(task.provenance).toMatchObject({ layout: "mteb-reranking", split: "test" });
    expect(counts(task)).toEqual({ "one-sided-rows": 1 });
    expect(await task.documents.texts(["apositive_test_query1_00001", "negative_test_query0_00000"])).toEqual(
      ["A drink.", "Water."],
    );
    await task[Symbol.asyncDispose]();
  });

  it("leaves out a row without a negative too, and numbers the rest", async () => {
    const one = jsonl({ query: "easy", positive: ["yes"], negative: [] });
    const task = await folders.open({ "test.jsonl": `${one}${rows}` });
    expect(plain(task)).toEqual(content);
    expect(counts(task)).toEqual({ "one-sided-rows": 2 });
  });

  it("may have subsets", async () => {
    const files = { "en/test.jsonl": rows, "de/test.jsonl": rows };
    expect(await folders.failure(files)).toMatchObject({ code: "task-layout", found: ["de", "en"] });
    expect((await folders.open(files, { subset: "en" })).provenance.subset).toBe("en");
  });
});

describe("a TREC run with text", () => {
  const run = lines("1 Q0 a 1 0.5 sys", "1 Q0 b 2 0.25 sys");
  const qrels = lines("1 0 a 0", "1 0 b 3");

  it.each([
    ["tsv", { "topics.tsv": "1\twhat\n", "docs.tsv": lines("a\tTitle\ttext of a", "b\t\ttext of b") }],
    [
      "tsv with headers",
      {
        "topics.tsv": "qid\tquery\n1\twhat\n",
        "docs.tsv": lines("docid\ttitle\ttext", "a\tTitle\ttext of a", "b\t\ttext of b"),
      },
    ],
    [
      "jsonl",
      {
        "topics.jsonl": jsonl({ qid: 1, query: "what" }),
        "docs.jsonl": jsonl(
          { docno: "a", title: "Title", text: "text of a" },
          { docno: "b", contents: "text of b" },
        ),
      },
    ],
  ])("in %s opens", async (_, files) => {
    const task = await folders.open({ ...files, "qrels.txt": qrels, "sys.run": run });
    expect(plain(task)).toEqual({
      queries: { 1: "what" },
      qrels: { 1: { a: 0, b: 3 } },
      candidates: {
        1: [
          ["a", 0.5],
          ["b", 0.25],
        ],
      },
    });
    expect(await allTexts(task)).toEqual({ a: "Title text of a", b: "text of b" });
    expect(task.provenance.layout).toBe("trec");
  });

  it("needs no judgements, and says that there are none", async () => {
    const task = await folders.open({
      "topics.tsv": "1\twhat\n",
      "docs.tsv": "a\tx\nb\ty\n",
      "sys.run": run,
    });
    expect(task.qrels.size).toBe(0);
    expect(counts(task)).toEqual({ "no-judgements": 1 });
  });

  it("needs no run where there are judgements", async () => {
    const task = await folders.open({
      "topics.tsv": "1\twhat\n",
      "collection.tsv": "a\tx\nb\ty\n",
      "qrels.tsv": "1\tb\t3\n",
    });
    expect(task.kind).toBe("retrieval");
    expect(plain(task).qrels).toEqual({ 1: { b: 3 } });
  });

  it("with several runs needs a choice, which parts give", async () => {
    const files = { "topics.tsv": "1\twhat\n", "docs.tsv": "a\tx\nb\ty\n", "one.run": run, "two.run": run };
    expect(await folders.failure(files)).toMatchObject({
      code: "task-layout",
      found: ["one.run", "two.run"],
    });
    const parts = { documents: "docs.tsv", queries: "topics.tsv", candidates: "two.run" };
    expect((await folders.open(files, { parts })).candidates?.origin).toBe("two.run");
    const wrong = { ...parts, candidates: "three.run" };
    expect(await folders.failure(files, { parts: wrong })).toMatchObject({ expected: ["three.run"] });
  });
});

describe("a folder of no layout", () => {
  it.each([
    ["nothing", {}],
    ["a corpus alone", { "corpus.jsonl": beir["corpus.jsonl"] }],
    [
      "a corpus and queries",
      { "corpus.jsonl": beir["corpus.jsonl"], "queries.jsonl": beir["queries.jsonl"] },
    ],
    ["a model", { "config.json": "{}", "tokenizer.json": "{}" }],
    ["other files", { "notes.txt": "x" }],
  ])("with %s says what was looked for", async (_, files) => {
    const error = (await folders.failure(files)) as Error;
    expect(error).toMatchObject({ code: "task-layout", found: Object.keys(files) });
    for (const part of ["BEIR folder", "MTEB retrieval", "MTEB reranking", "TREC run", "candidates.trec"]) {
      expect(error.message).toContain(part);
    }
  });

  it("with rows of other columns names them", async () => {
    const error = await folders.failure({ "test.jsonl": jsonl({ sentence1: "a", sentence2: "b" }) });
    expect(error).toMatchObject({ code: "task-layout", found: ["sentence1", "sentence2"] });
  });
});
