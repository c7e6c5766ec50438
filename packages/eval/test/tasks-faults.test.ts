import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { TaskDataError } from "../src/tasks/index.js";
import { beir, counts, jsonl, lines, plain, useFolders } from "./task-data/scene.js";

const folders = useFolders();

/** Valid lines of the corpus, so that the faulty one is the third or fourth. */
const corpus = beir["corpus.jsonl"];
const queries = beir["queries.jsonl"];
const qrels = beir["qrels/test.tsv"];
const run = beir["candidates.trec"];

describe("a fault in a file", () => {
  it.each([
    ["corpus.jsonl", 4, "malformed", `${corpus}{"_id": "d4"\n`, "is not JSON"],
    ["corpus.jsonl", 4, "malformed", `${corpus}["d4"]\n`, "is not a JSON object"],
    ["corpus.jsonl", 4, "malformed", `${corpus}${jsonl({ text: "x" })}`, "document's id is missing"],
    ["corpus.jsonl", 4, "malformed", `${corpus}${jsonl({ _id: "", text: "x" })}`, "document's id is"],
    ["corpus.jsonl", 4, "malformed", `${corpus}${jsonl({ _id: 1.5, text: "x" })}`, "document's id is 1.5"],
    ["corpus.jsonl", 4, "malformed", `${corpus}${jsonl({ _id: "d4" })}`, "document's text is missing"],
    ["corpus.jsonl", 4, "malformed", `${corpus}${jsonl({ _id: "d4", text: ["x"] })}`, "not a text"],
    ["corpus.jsonl", 4, "malformed", `${corpus}${jsonl({ _id: "d4", text: "x", title: 3 })}`, "title is 3"],
    ["corpus.jsonl", 5, "malformed", `${corpus}\n{]\n`, "is not JSON"],
    ["corpus.jsonl", 4, "duplicate", `${corpus}${jsonl({ _id: "d1", text: "x" })}`, '"d1" stands earlier'],
    ["corpus.jsonl", undefined, "empty", "\n", "holds no document"],
    ["queries.jsonl", 3, "malformed", `${queries}${jsonl({ _id: "q3" })}`, "query's text is missing"],
    ["queries.jsonl", 3, "duplicate", `${queries}${jsonl({ _id: "q1", text: "x" })}`, '"q1" stands earlier'],
    ["queries.jsonl", 2, "empty", jsonl({ _id: "q1", text: "x" }, { _id: "q2", text: " \n" }), "has no text"],
    ["qrels/test.tsv", 5, "unknown-query", `${qrels}q9\td1\t1\n`, 'no query "q9"'],
    ["qrels/test.tsv", 5, "malformed", `${qrels}q1\td1\n`, "has 2 columns, expected 3"],
    ["qrels/test.tsv", 5, "malformed", `${qrels}q1\td2\thigh\n`, 'the grade is "high"'],
    ["qrels/test.tsv", 5, "malformed", `${qrels}q1\td2\t0.5\n`, 'the grade is "0.5"'],
    ["qrels/test.tsv", undefined, "empty", "query-id\tcorpus-id\tscore\n", "holds no judgement"],
    ["candidates.trec", 5, "unknown-document", `${run}q1 Q0 d9 3 0 x\n`, 'no document "d9"'],
    ["candidates.trec", 5, "malformed", `${run}q1 Q0 d2 3 0\n`, "has 5 columns, expected 6"],
    ["candidates.trec", 5, "malformed", `${run}q1 Q0 d2 third 0 x\n`, "the rank is third"],
    ["candidates.trec", 5, "malformed", `${run}q1 Q0 d2 3 0x10 x\n`, '"0x10" is no number'],
    ["candidates.trec", 5, "non-finite", `${run}q1 Q0 d2 3 nan x\n`, "the score is nan"],
    ["candidates.trec", 5, "non-finite", `${run}q1 Q0 d2 3 -inf x\n`, "the score is -inf"],
    ["candidates.trec", 5, "non-finite", `${run}q1 Q0 d2 3 1e999 x\n`, "out of range"],
  ])("%s:%s is named (%s)", async (file, line, fault, content, problem) => {
    for (const compressed of [false, true]) {
      const name = compressed ? `${file}.gz` : file;
      const { [file as keyof typeof beir]: _, ...rest } = beir;
      const files = { ...rest, [name]: compressed ? gzipSync(content) : content };
      const error = (await folders.failure(files)) as Error;
      expect(error).toBeInstanceOf(TaskDataError);
      expect(error).toMatchObject({ code: "task-data", fault, file: name, line });
      expect(error.message).toContain(problem);
      expect(error.message).toContain(line === undefined ? name : `${name}:${line}:`);
    }
  });

  it("is a judged document that the corpus lacks, where no run gives the candidates", async () => {
    const { "candidates.trec": _, ...rest } = beir;
    const error = await folders.failure({ ...rest, "qrels/test.tsv": `${qrels}q1\td9\t1\n` });
    expect(error).toMatchObject({ fault: "unknown-document", file: "qrels/test.tsv", line: 5 });
    expect((error as Error).message).toContain('no document "d9"');
  });

  it("that is not UTF-8 is named", async () => {
    const bytes = Buffer.concat([Buffer.from(corpus), Buffer.from('{"_id":"d4","text":"\xe9"}\n', "latin1")]);
    expect(await folders.failure({ ...beir, "corpus.jsonl": bytes })).toMatchObject({
      fault: "malformed",
      line: 4,
    });
  });

  it("in a damaged archive is named", async () => {
    const { "corpus.jsonl": _, ...rest } = beir;
    const archive = gzipSync(corpus.repeat(50));
    for (const damaged of [archive.subarray(0, 40), Buffer.from(corpus)]) {
      const error = (await folders.failure({ ...rest, "corpus.jsonl.gz": damaged })) as Error;
      expect(error).toBeInstanceOf(TaskDataError);
      expect(error.message).toContain("cannot be unpacked");
    }
  });

  it("in a damaged parquet file is named", async () => {
    const place = join(import.meta.dirname, "task-data", "mteb-reranking", "data");
    const whole = await readFile(join(place, "test-00000-of-00001.parquet"));
    const overwritten = Buffer.from(whole);
    overwritten.fill(0xff, 4, 300);
    for (const damaged of [whole.subarray(0, 900), overwritten, Buffer.from("PAR1")]) {
      const error = (await folders.failure({ "test.parquet": damaged })) as Error;
      expect(error).toBeInstanceOf(TaskDataError);
      expect(error.message).toContain("cannot be read as parquet");
    }
  });

  it("in a row of a parquet file is named by its number", async () => {
    const faulty = await readFile(join(import.meta.dirname, "task-data", "fault-in-row-4.parquet"));
    expect(await folders.failure({ "test.parquet": faulty })).toMatchObject({
      fault: "malformed",
      file: "test.parquet",
      line: 4,
    });
  });

  it.each([
    [{ query: "x", positive: "tea", negative: ["y"] }, "positive is not a list"],
    [{ query: "x", positive: ["y", 3], negative: ["y"] }, "positive[1] is 3"],
    [{ query: ["x"], positive: ["y"], negative: ["y"] }, "the query is"],
    [{ query: " ", positive: ["y"], negative: ["y"] }, "the query is empty"],
  ])("in a row of a reranking dataset is named: %j", async (row, problem) => {
    const good = { query: "a", positive: ["b"], negative: ["c"] };
    const error = (await folders.failure({ "test.jsonl": jsonl(good, row) })) as Error;
    expect(error).toMatchObject({ code: "task-data", file: "test.jsonl", line: 2 });
    expect(error.message).toContain(problem);
  });

  it("in a list of top_ranked is named", async () => {
    const { "candidates.trec": _, ...rest } = beir;
    const unknown = { ...rest, "top_ranked.jsonl": jsonl({ "query-id": "q1", "corpus-ids": ["d1", "d9"] }) };
    expect(await folders.failure(unknown)).toMatchObject({ fault: "unknown-document", line: 1 });
    const noList = { ...rest, "top_ranked.jsonl": jsonl({ "query-id": "q1", "corpus-ids": "d1" }) };
    expect(await folders.failure(noList)).toMatchObject({ fault: "malformed", line: 1 });
  });
});

describe("what real data sets have", () => {
  it("is counted: duplicates, empty documents, queries without candidates or relevant documents", async () => {
    const task = await folders.open({
      "corpus.jsonl": `${corpus}${jsonl({ _id: "d3", text: " Water is only water." }, { _id: "d4", title: "", text: " " })}`,
      "queries.jsonl": `${queries}${jsonl({ _id: "q1", text: "what is tea" }, { _id: "q3", text: "who" })}`,
      "qrels/test.tsv": `${qrels}${lines("q1\td1\t2", "q1\td3\t1", "q3\td1\t0")}`,
      "candidates.trec": `${run}q1 Q0 d1 3 0.5 bm25\n`,
    });
    expect(counts(task)).toEqual({
      "duplicate-documents": 1,
      "duplicate-queries": 1,
      "empty-documents": 1,
      "duplicate-judgements": 1,
      "contradictory-judgements": 1,
      "duplicate-candidates": 1,
      "queries-without-candidates": 1,
      "queries-without-relevant": 1,
    });
    expect(plain(task).qrels["q1"]).toEqual({ d1: 2, d3: 1 });
    expect(plain(task).candidates?.["q1"]).toEqual([
      ["d3", 2.5],
      ["d1", 1.25],
    ]);
    expect(task.documents.size).toBe(4);
    expect(task.warnings.find(({ code }) => code === "duplicate-candidates")?.message).toBe(
      "1 candidates stand twice under one query; each counts once (e.g. q1 d1).",
    );
  });

  it("is a judgement now and then of a document that the corpus lacks", async () => {
    const many = Array.from({ length: 19 }, (_, index) => ({ _id: `x${index}`, text: "x" }));
    const files = {
      "corpus.jsonl": `${corpus}${jsonl(...many)}`,
      "queries.jsonl": queries,
      "qrels/test.tsv": lines(...many.map(({ _id }) => `q1\t${_id}\t1`), "q2\tgone\t1"),
    };
    const task = await folders.open(files);
    expect(counts(task)).toEqual({ "unknown-judged-documents": 1 });
    // It stays judged: nobody can find it, and the ideal ranking has it.
    expect(plain(task).qrels["q2"]).toEqual({ gone: 1 });
    // One of 20 may be; one of 18 is more than 5 %.
    const fewer = files["qrels/test.tsv"].split("\n").slice(2).join("\n");
    expect(await folders.failure({ ...files, "qrels/test.tsv": fewer })).toMatchObject({
      fault: "unknown-document",
      line: 18,
    });
  });

  it("is a query that is a document", async () => {
    const same = `${queries}${jsonl({ _id: "d3", text: "Water is only water." }, { _id: "d1", text: "another text" })}`;
    const judged = `${qrels}${lines("d3\td2\t1", "d1\td2\t1")}`;
    const { "candidates.trec": _, ...rest } = beir;
    const task = await folders.open({ ...rest, "queries.jsonl": same, "qrels/test.tsv": judged });
    expect(counts(task)).toEqual({ "queries-in-corpus": 1 });
  });

  it("is an empty query that this split does not evaluate", async () => {
    const more = `${queries}${jsonl({ _id: "q3", text: "" })}`;
    expect(counts(await folders.open({ ...beir, "queries.jsonl": more }))).toEqual({ "unjudged-queries": 1 });
  });
});
