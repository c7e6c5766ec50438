import { appendFile, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  candidatesRun,
  compareWithBaseline,
  constantRun,
  type EvaluationReport,
  EvaluationSetupError,
  evaluate,
  type GateFile,
  type GateRulesError,
  marginGate,
  NonFiniteSystemScoreError,
  parseBaseline,
  type RunEvaluationOptions,
  readGateFile,
  runEvaluation,
  ScoreIdentityError,
  type SystemReport,
  type SystemSource,
  type Task,
  updateBaseline,
  withRunFile,
} from "../src/index.js";
import { environment, fixture, load, source, useModels, wordTask } from "./run-data/scene.js";
import { jsonl, lines, useFolders } from "./task-data/scene.js";

const models = useModels();
const folders = useFolders();
let folderCount = 0;

function newFolder(): string {
  folderCount += 1;
  return models.folder(`report-${folderCount}`);
}

function run(
  task: Task,
  systems: readonly SystemSource[],
  options: Partial<RunEvaluationOptions> = {},
): Promise<EvaluationReport> {
  return runEvaluation({ task, systems, folder: newFolder(), environment, ...options });
}

function system(report: EvaluationReport, name: string): SystemReport {
  const found = report.systems.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
}

/** Logits by query and document, straight from core. */
async function scoresOf(
  model: string,
  task: Task,
  dtype = "fp32",
): Promise<Map<string, Map<string, number>>> {
  const [, reranker] = await load(model, { dtype });
  try {
    const scores = new Map<string, Map<string, number>>();
    for (const [query, { documents }] of task.candidates?.queries ?? []) {
      const texts = await task.documents.texts(documents);
      const text = task.queries.get(query) ?? "";
      const { results } = await reranker.rerank({ query: text, documents: texts });
      scores.set(
        query,
        new Map(results.map(({ index, logit }) => [documents[index] ?? "", logit ?? Number.NaN])),
      );
    }
    return scores;
  } finally {
    await reranker.dispose();
  }
}

async function storedRows(folder: string, name: string): Promise<{ query: string; logits: number[] }[]> {
  const text = await readFile(join(folder, "scores", `${name}.jsonl`), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .slice(1)
    .flatMap(
      (line) =>
        (JSON.parse(line.slice(line.indexOf(" "))) as { scores: { query: string; logits: number[] }[] })
          .scores,
    );
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("did not reject");
}

describe("an evaluation of cross-encoders", () => {
  let report: EvaluationReport;
  let folder: string;
  const sources = { fp32: () => source("onnx:fp32", models.tiny, { dtype: "fp32" }) };

  beforeAll(async () => {
    folder = newFolder();
  });

  it("measures what core scores, beside the rows that are always there", async () => {
    const task = await folders.open(wordTask());
    const fp32 = sources.fp32();
    const int8 = source("onnx:int8", models.tiny, { dtype: "int8" });
    const fp16 = source("onnx:fp16", models.tiny, { dtype: "fp16" });
    report = await run(task, [fp32, int8, fp16], { folder, metrics: ["ndcg@10", "mrr@10", "map"] });

    expect(report.systems.map(({ role, name }) => [role, name])).toEqual([
      ["random", "random"],
      ["constant", "constant"],
      ["first-stage", "first stage"],
      ["reference", "onnx:fp32"],
      ["candidate", "onnx:int8"],
      ["candidate", "onnx:fp16"],
    ]);
    expect(
      [fp32.asked, int8.asked, fp16.asked].every(
        ({ pairs, opened, closed }) => pairs === 120 && opened === 1 && closed === 1,
      ),
    ).toBe(true);

    for (const [name, dtype] of [
      ["onnx:fp32", "fp32"],
      ["onnx:int8", "int8"],
    ] as const) {
      const own = evaluate(task.qrels, await scoresOf(models.tiny, task, dtype), [
        "ndcg@10",
        "mrr@10",
        "map",
      ]);
      own.results.forEach(({ mean, queries }, index) => {
        const metric = system(report, name).metrics[index];
        expect(metric?.expected).toBeCloseTo(mean.expected, 12);
        expect(metric?.trec).toBeCloseTo(mean.trec, 12);
        expect(metric?.values).toEqual(report.task.queryIds.map((query) => queries.get(query)?.expected));
        expect(metric?.interval?.lower).toBeLessThanOrEqual(mean.expected);
        expect(metric?.interval?.upper).toBeGreaterThanOrEqual(mean.expected);
      });
    }
    if (task.candidates === undefined) throw new Error("no candidates");
    const candidates = candidatesRun(task.candidates);
    const [first] = evaluate(task.qrels, candidates, ["ndcg@10"]).results;
    expect(system(report, "first stage").metrics[0]?.expected).toBe(first?.mean.expected);
    const [constant] = evaluate(task.qrels, constantRun(candidates), ["ndcg@10"]).results;
    expect(system(report, "constant").metrics[0]).toMatchObject({
      trec: constant?.mean.trec,
      expected: constant?.mean.expected,
    });
    expect(system(report, "random").metrics[0]).toMatchObject({
      trec: null,
      expected: constant?.mean.expected,
    });
  });

  it("tells precisions apart by their scores", () => {
    const fp16 = system(report, "onnx:fp16").scores;
    const int8 = system(report, "onnx:int8").scores;
    expect(fp16?.pairs).toBe(120);
    expect(fp16?.diagnosis.kind).toBe("same");
    expect(fp16?.delta?.maximum).toBeGreaterThan(0);
    expect(fp16?.delta?.maximum).toBeLessThan(0.02);
    expect(int8?.diagnosis.kind).toBe("noise");
    expect(int8?.delta?.mean).toBeGreaterThan(fp16?.delta?.maximum ?? 0);
    expect(int8?.sample.reference).toHaveLength(120);
    expect(system(report, "onnx:fp32").scores).toBeNull();
    const deltas =
      int8?.sample.candidate.map((value, index) => Math.abs(value - (int8.sample.reference[index] ?? 0))) ??
      [];
    expect(Math.max(...deltas)).toBe(int8?.delta?.maximum);
  });

  it("says what ran", () => {
    const { model, speed, memory } = system(report, "onnx:int8");
    expect(model).toMatchObject({
      backend: { name: "onnx", runtime: { name: "onnxruntime-node" } },
      artifact: { format: "onnx", dtype: "int8" },
      precision: "8-bit",
      template: "[CLS]{query}[SEP]{document}[SEP]",
      truncation: "document-only",
      maxLength: 128,
    });
    expect(model?.artifact.files[0]?.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(model?.tokenizerSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(speed).toMatchObject({ documents: 120, perQuery: { queries: 12 } });
    expect(speed?.tokens).toBeGreaterThan(1000);
    // In one process with the task and other models, no memory can be called a system's.
    expect(memory).toBeNull();
    expect(report.task.counts).toEqual({
      queries: 12,
      allQueries: 12,
      documents: 36,
      judgements: 12,
      pairs: 120,
    });
    expect(report.passed).toBeNull();
  });

  it("is plain JSON", () => {
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it("compares with the reference, paired by query", () => {
    const [reference, candidate] = ["onnx:fp32", "onnx:int8"].map((name) => system(report, name).metrics[0]);
    const change = candidate?.change;
    const differences =
      candidate?.values.map((value, index) => value - (reference?.values[index] ?? 0)) ?? [];
    expect(change?.mean).toBeCloseTo(differences.reduce((sum, one) => sum + one, 0) / 12, 12);
    expect([change?.wins, change?.losses, change?.ties]).toEqual([
      differences.filter((one) => one > 0).length,
      differences.filter((one) => one < 0).length,
      differences.filter((one) => one === 0).length,
    ]);
    expect(change?.retention).toBeCloseTo((candidate?.expected ?? 0) / (reference?.expected ?? 1), 12);
    expect(change?.adjustedPValue).toBeGreaterThanOrEqual(change?.pValue ?? 1);
    expect(system(report, "first stage").metrics[0]?.change?.adjustedPValue).toBeNull();
    expect(reference?.change).toBeNull();
  });

  it("writes run files that give the same metrics again", async () => {
    const task = await folders.open(wordTask());
    const { runFile } = system(report, "onnx:int8");
    const again = await withRunFile(task, join(folder, runFile ?? ""));
    if (again.candidates === undefined) throw new Error("no candidates");
    const [ndcg] = evaluate(task.qrels, candidatesRun(again.candidates), ["ndcg@10"]).results;
    expect(ndcg?.mean.expected).toBe(system(report, "onnx:int8").metrics[0]?.expected);
  });

  it("scores nothing twice: a second run reads what is there", async () => {
    // What a run that was killed in the midst of writing leaves.
    const halves = ["runs/onnx-fp32.trec", "scores/onnx-fp32.jsonl"].map(
      (name) => `${name}.0123456789ab.tmp`,
    );
    for (const name of halves) await writeFile(join(folder, name), "half");
    const task = await folders.open(wordTask());
    const fp32 = sources.fp32();
    const second = await run(task, [fp32], { folder });
    expect(fp32.asked.pairs).toBe(0);
    expect(system(second, "onnx:fp32").metrics[0]).toEqual(system(report, "onnx:fp32").metrics[0]);
    expect(system(second, "onnx:fp32").speed).toMatchObject({ documents: 120 });
    const left = await readdir(folder, { recursive: true });
    expect(left.filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("goes on from a limited run, and has the numbers of an unlimited one", async () => {
    const task = await folders.open(wordTask());
    const own = newFolder();
    const limited = sources.fp32();
    const part = await run(task, [limited], { folder: own, limit: 5 });
    expect(limited.asked.pairs).toBe(50);
    expect(part.task.queryIds).toEqual(["q0", "q1", "q2", "q3", "q4"]);
    expect(part.task.counts).toMatchObject({ queries: 5, allQueries: 12, pairs: 50 });
    expect(part.settings.limit).toBe(5);
    expect(part.warnings.find(({ code }) => code === "limited")?.message).toContain("first 5 of 12 queries");
    expect(part.task.candidates?.sha256).toBe(task.candidates?.sha256);
    const rest = sources.fp32();
    const all = await run(task, [rest], { folder: own });
    expect(rest.asked.pairs).toBe(70);
    expect(system(all, "onnx:fp32").metrics[0]?.values).toEqual(
      system(report, "onnx:fp32").metrics[0]?.values,
    );
    const less = sources.fp32();
    const again = await run(task, [less], { folder: own, limit: 5 });
    expect(less.asked.pairs).toBe(0);
    expect(system(again, "onnx:fp32").metrics).toEqual(system(part, "onnx:fp32").metrics);
  });

  it("keeps what was scored when it is aborted, and goes on from there", async () => {
    const task = await folders.open(wordTask());
    const own = newFolder();
    const controller = new AbortController();
    const reason = new Error("enough");
    const stopped = source("onnx:fp32", models.tiny, {
      dtype: "fp32",
      onCall: (call) => call === 5 && controller.abort(reason),
    });
    expect(await rejection(run(task, [stopped], { folder: own, signal: controller.signal }))).toBe(reason);
    expect(stopped.asked).toMatchObject({ opened: 1, closed: 1 });
    const kept = await storedRows(own, "onnx-fp32");
    expect(kept.map(({ query }) => query)).toEqual(["q0", "q1", "q2", "q3"]);
    // As a kill leaves it: in the middle of a line.
    const path = join(own, "scores", "onnx-fp32.jsonl");
    await truncate(path, (await readFile(path)).length - 7);
    const rest = sources.fp32();
    const all = await run(task, [rest], { folder: own });
    expect(rest.asked.pairs).toBe(90);
    expect((await storedRows(own, "onnx-fp32")).slice(0, 3)).toEqual(kept.slice(0, 3));
    expect(system(all, "onnx:fp32").metrics[0]?.values).toEqual(
      system(report, "onnx:fp32").metrics[0]?.values,
    );
  });

  it("refuses scores of another identity, with what differs, and makes them anew when told to", async () => {
    const task = await folders.open(wordTask());
    const own = newFolder();
    await run(task, [sources.fp32()], { folder: own });
    const shorter = () => source("onnx:fp32", models.tiny, { dtype: "fp32", maxLength: 20 });
    const refused = shorter();
    const error = await rejection(run(task, [refused], { folder: own }));
    expect(ScoreIdentityError.isInstance(error)).toBe(true);
    expect((error as Error).message).toContain("maximum length was 128 and is 20");
    expect(refused.asked).toMatchObject({ pairs: 0, closed: 1 });
    const other = source("onnx:fp32", models.tiny, { dtype: "int8" });
    expect(((await rejection(run(task, [other], { folder: own }))) as Error).message).toMatch(
      /artifact was onnx fp32 \w+ and is onnx int8/,
    );
    const files = wordTask();
    const changed = await folders.open({
      ...files,
      "corpus.jsonl": (files["corpus.jsonl"] ?? "").replace("cat and", "cat or"),
    });
    expect(((await rejection(run(changed, [sources.fp32()], { folder: own }))) as Error).message).toContain(
      "texts of the task",
    );
    const fresh = shorter();
    await run(task, [fresh], { folder: own, fresh: true });
    expect(fresh.asked.pairs).toBe(120);
  });

  it("does not take scores over from another setting of the same model", async () => {
    const task = await folders.open(wordTask());
    const own = newFolder();
    const alone = () => source("onnx:int8", models.nano, { dtype: "int8" });
    const together = () =>
      source("onnx:int8", models.nano, { dtype: "int8", batch: { rows: 8, tokens: 4096, padding: 1 } });
    const before = await run(task, [alone()], { folder: own, limit: 3 });
    const refused = together();
    const error = await rejection(run(task, [refused], { folder: own, limit: 3 }));
    expect(ScoreIdentityError.isInstance(error)).toBe(true);
    expect((error as ScoreIdentityError).differences.map(({ what }) => what)).toEqual(["backend's settings"]);
    expect(refused.asked).toMatchObject({ pairs: 0, closed: 1 });
    const fresh = together();
    const after = await run(task, [fresh], { folder: own, limit: 3, fresh: true });
    expect(fresh.asked.pairs).toBe(30);
    const comparison = compareWithBaseline(after, parseBaseline(updateBaseline(before)));
    expect(comparison.systems.map(({ status }) => status)).toEqual(["not comparable"]);
    expect(comparison.systems[0]?.obstacles.map(({ what }) => what)).toEqual(["settings"]);
  });

  it("makes no metric of NaN, and names query and document", async () => {
    const files = wordTask();
    const documents = (files["corpus.jsonl"] ?? "")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { _id: string; text: string });
    // Candidate of several queries; the first one's turn comes first.
    const poisoned = documents.map((one) =>
      one._id === "d8" ? { ...one, text: `${one.text} poison` } : one,
    );
    const task = await folders.open({ ...files, "corpus.jsonl": jsonl(...poisoned) });
    const first = [...(task.candidates?.queries ?? [])].find(([, list]) =>
      list.documents.includes("d8"),
    )?.[0];
    const error = await rejection(run(task, [source("onnx", fixture("cross-encoder-nan"))]));
    expect(NonFiniteSystemScoreError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ system: "onnx", query: first, document: "d8", value: "NaN" });
  });

  it("counts what was cut, and ranks queries that are too long last, without a score", async () => {
    const files = wordTask();
    const long = jsonl({ _id: "q0", text: "cat ".repeat(30) }, { _id: "q1", text: "the dog" });
    const task = await folders.open({
      ...files,
      "queries.jsonl": long,
      "qrels/test.tsv": lines("query-id\tcorpus-id\tscore", "q0\td0\t1", "q1\td3\t1"),
    });
    const result = await run(task, [
      source("a", models.tiny, { dtype: "fp32", maxLength: 12 }),
      source("b", models.tiny, { dtype: "fp16", maxLength: 12 }),
    ]);
    const { warnings, metrics } = system(result, "a");
    expect(warnings.find(({ code }) => code === "query-overflow")?.count).toBe(10);
    expect(warnings.find(({ code }) => code === "documents-truncated")?.count).toBeGreaterThan(0);
    // All ten are tied: what is left is the value of a random order.
    const random = system(result, "random").metrics[0];
    expect(metrics[0]?.values[0]).toBe(random?.values[0]);
    expect(system(result, "b").scores).toMatchObject({
      pairs: 10,
      unmatched: { reference: 0, candidate: 0 },
    });
  });
});

describe("gates", () => {
  /** Right is what the reference puts first, so that the reference is perfect. */
  async function idealTask(): Promise<Task> {
    const scores = await scoresOf(models.tiny, await folders.open(wordTask()));
    return folders.open(
      wordTask((query) => {
        const [best] = [...(scores.get(`q${query}`) ?? [])].sort(([, left], [, right]) => right - left);
        return Number(best?.[0].slice(1));
      }),
    );
  }

  const reference = (): SystemSource => source("reference", models.tiny, { dtype: "fp32" });

  it("pass what ranks alike", async () => {
    const task = await idealTask();
    const report = await run(task, [reference(), source("half", models.tiny, { dtype: "fp16" })], {
      gates: {},
    });
    const { gates, passed } = system(report, "half");
    expect(system(report, "reference").metrics[0]?.expected).toBe(1);
    expect(passed).toBe(true);
    expect(report.passed).toBe(true);
    expect(gates.map(({ level }) => level)).toEqual(expect.arrayContaining(["L2", "L3"]));
    expect(gates.every(({ sentence }) => sentence.length > 20)).toBe(true);
    expect(system(report, "reference")).toMatchObject({ gates: [], passed: null });
  });

  it("fail what ranks otherwise, and say by how much and whether it could be seen", async () => {
    const task = await idealTask();
    const other = source("other", fixture("cross-encoder-two-class"));
    const report = await run(task, [reference(), other], { gates: marginGate(0.005) });
    const { gates, passed, metrics } = system(report, "other");
    expect(metrics[0]?.expected).toBeLessThan(0.95);
    expect(passed).toBe(false);
    expect(report.passed).toBe(false);
    expect(gates).toHaveLength(1);
    expect(gates[0]).toMatchObject({ level: "L3", outcome: "failed", passed: false, bound: -0.005 });
    expect(gates[0]?.value).toBe(metrics[0]?.change?.lowerBound);
    expect(gates[0]?.sentence).toMatch(
      /over 12 queries.*short by .*A drop of 0.005 could go unseen: with 12 queries/,
    );
    // What a margin of everything accepts.
    const generous: GateFile = {
      ...marginGate(0),
      systems: { other: { margin: 1, scores: false, quality: false } },
    };
    expect((await run(task, [reference(), other], { gates: generous })).passed).toBe(true);
    // The change is judged beside the margin.
    const changed = await run(task, [reference(), other], { gates: { ...marginGate(1), change: 0.005 } });
    expect(system(changed, "other").gates).toMatchObject([
      { check: "ndcg@10 change", outcome: "failed", bound: 0.005 },
      { check: "ndcg@10 non-inferiority", outcome: "passed" },
    ]);
  });

  it("are refused before anything is scored when they gate nothing", async () => {
    const task = await folders.open(wordTask());
    const one = source("one", models.tiny, { dtype: "fp32" });
    expect(EvaluationSetupError.isInstance(await rejection(run(task, [one], { gates: {} })))).toBe(true);
    const two = source("two", models.tiny, { dtype: "fp16" });
    const error = await rejection(run(task, [one, two], { gates: { systems: { three: {} } } }));
    expect((error as GateRulesError).message).toBe(
      "The gate's systems.three names no candidate of this run; there is: two.",
    );
    expect(one.asked.opened).toBe(0);
  });

  it.each([
    [{ magin: 0.1 }, "magin is not known"],
    [{ margin: 2 }, "margin must be a number from 0 to 1, found 2"],
    [{ change: -1 }, "change must be a number from 0 to 1, found -1"],
    [{ scores: { tao: 0.9 } }, "scores.tao is not known"],
    [{ quality: true }, "quality must be an object"],
    [{ precision: "int8" }, "precision must be one of fp32"],
    [{ systems: { a: { retention: 0.9 } } }, "systems.a.retention is not known"],
    [[], "content must be an object"],
  ])("a file with %j is refused", (content, message) => {
    expect(() => readGateFile(content)).toThrow(message);
  });

  it("a file of all that is known is read", () => {
    const file = {
      margin: 0.01,
      change: 0.005,
      precision: "8-bit",
      scores: { tau: 0.9, topOne: 0.8 },
      quality: { retention: 0.95, degradedBelow: 0.98 },
      systems: { "onnx:q4": { scores: false } },
    };
    expect(readGateFile(file)).toEqual(file);
  });
});

describe("what cannot be evaluated", () => {
  it("is refused before anything is loaded", async () => {
    const task = await folders.open(wordTask());
    const one = source("one", models.tiny, { dtype: "fp32" });
    await expect(run(task, [])).rejects.toThrow("no system");
    await expect(run(task, [one, one])).rejects.toThrow("one is there twice");
    await expect(run(task, [one], { reference: "two" })).rejects.toThrow(
      "The reference two is none of the systems: one",
    );
    await expect(run(task, [one], { metrics: ["ndgc@10"] })).rejects.toThrow('"ndgc@10" is no metric');
    await expect(run(task, [one], { limit: 0 })).rejects.toThrow("limit must be");
    const { "candidates.trec": _candidates, ...bare } = wordTask();
    const corpus = await folders.open(bare);
    await expect(run(corpus, [one], { search: false })).rejects.toThrow("has no candidates to rerank");
    expect(one.asked.opened).toBe(0);
    await expect(run(corpus, [one])).rejects.toThrow("is a cross-encoder, and only a bi-encoder can search");
    expect(one.asked).toMatchObject({ opened: 1, closed: 1, pairs: 0 });
  });

  it("a folder that another evaluation writes into", async () => {
    const task = await folders.open(wordTask());
    const folder = newFolder();
    const both = await Promise.allSettled(
      [1, 2].map(() => run(task, [source("one", models.tiny, { dtype: "fp32" })], { folder })),
    );
    const refused = both.flatMap((one) => (one.status === "rejected" ? [one.reason as Error] : []));
    expect(refused.map(({ message }) => message)).toEqual([
      expect.stringContaining("writes into the same folder"),
    ]);
  });
});

describe("a bi-encoder", () => {
  const model = (): string => fixture("bi-encoder");

  it("reranks with each text embedded once, to core's cosines", async () => {
    const task = await folders.open(wordTask());
    const own = newFolder();
    const first = source("a", model());
    const second = source("b", model());
    const report = await run(task, [first, second], { folder: own, metrics: ["ndcg@10"] });
    const distinct = new Set(
      [...(task.candidates?.queries.values() ?? [])].flatMap(({ documents }) => documents),
    );
    expect(first.asked).toMatchObject({ pairs: 0, queryTexts: 12, documentTexts: distinct.size });
    const expected = await scoresOf(model(), task);
    const again = await withRunFile(task, join(own, "runs", "a.trec"));
    for (const [query, { documents, scores }] of again.candidates?.queries ?? []) {
      documents.forEach((document, index) => {
        expect(scores[index]).toBeCloseTo(expected.get(query)?.get(document) ?? Number.NaN, 6);
      });
    }
    expect(system(report, "b").vectors).toMatchObject({ dimensions: 32, texts: 12 + distinct.size });
    expect(system(report, "b").vectors?.agreement?.minimum).toBeCloseTo(1, 12);
    expect(system(report, "b").scores).toMatchObject({ pairs: 120, diagnosis: { kind: "same" } });
    expect(report.task.kind).toBe("reranking");

    const third = source("a", model());
    await run(task, [third], { folder: own, limit: 3 });
    expect(third.asked).toMatchObject({ queryTexts: 0, documentTexts: 0 });
  });

  it("searches the whole corpus exactly, and goes on where it was stopped", async () => {
    const { "candidates.trec": _candidates, ...bare } = wordTask();
    const task = await folders.open(bare);
    const own = newFolder();
    const whole = source("a", model());
    const report = await run(task, [whole], { folder: own, metrics: ["ndcg@10", "recall@10"] });
    expect(whole.asked).toMatchObject({ queryTexts: 12, documentTexts: 36 });
    expect(report.task).toMatchObject({ kind: "retrieval", candidates: null, counts: { pairs: 12 * 36 } });
    expect(report.settings.retrievalDepth).toBe(1000);
    expect(report.systems.map(({ role }) => role)).toEqual([
      "random",
      "constant",
      "first-stage",
      "reference",
    ]);

    // By brute force, from core's own vectors.
    const [, reranker] = await load(model());
    const ids = [...task.documents.ids()];
    const { vectors: corpus } = await reranker.embed(await task.documents.texts(ids), { as: "document" });
    const { vectors: asked } = await reranker.embed([...task.queries.values()], { as: "query" });
    await reranker.dispose();
    const scores = new Map(
      [...task.queries.keys()].map((query, position) => [
        query,
        new Map(
          ids.map((id, row) => [
            id,
            Array.from(asked[position] ?? []).reduce(
              (sum, value, at) => sum + value * (corpus[row]?.[at] ?? 0),
              0,
            ),
          ]),
        ),
      ]),
    );
    const wanted = evaluate(task.qrels, scores, ["ndcg@10", "recall@10"]).results;
    wanted.forEach(({ mean }, index) => {
      expect(system(report, "a").metrics[index]?.expected).toBeCloseTo(mean.expected, 9);
    });
    // One score for all 36 documents of the corpus.
    const flat = new Map([...task.queries.keys()].map((query) => [query, new Map(ids.map((id) => [id, 0]))]));
    const [constant] = evaluate(task.qrels, flat, ["ndcg@10"]).results;
    expect(system(report, "constant").metrics[0]?.trec).toBeCloseTo(constant?.mean.trec ?? -1, 12);
    expect(system(report, "random").metrics[0]?.expected).toBeCloseTo(constant?.mean.expected ?? -1, 12);
  });

  it("goes on where its embedding was stopped, a torn vector left out", async () => {
    const { "candidates.trec": _candidates, ...bare } = wordTask();
    const filler = Array.from({ length: 600 }, (_, index) => ({
      _id: `f${index}`,
      text: `water ${index} and tea`,
    }));
    const task = await folders.open({
      ...bare,
      "corpus.jsonl": (bare["corpus.jsonl"] ?? "") + jsonl(...filler),
    });
    const whole = await run(task, [source("a", model())]);
    const own = newFolder();
    const controller = new AbortController();
    // Queries, the first documents, and then no more.
    const part = source("a", model(), { onCall: (call) => call === 3 && controller.abort() });
    await rejection(run(task, [part], { folder: own, signal: controller.signal }));
    const vectors = join(own, "scores", "a.documents.f32");
    expect((await readFile(vectors)).length).toBe(256 * 32 * 4);
    await appendFile(vectors, new Uint8Array(77));
    const rest = source("a", model());
    const resumed = await run(task, [rest], { folder: own });
    expect(rest.asked).toMatchObject({ queryTexts: 0, documentTexts: 636 - 256 });
    expect(system(resumed, "a").metrics).toEqual(system(whole, "a").metrics);
    expect((await readFile(vectors)).length).toBe(636 * 32 * 4);
    await truncate(vectors, 1000);
    const mended = source("a", model());
    const again = await run(task, [mended], { folder: own });
    expect(mended.asked).toMatchObject({ queryTexts: 0, documentTexts: 636 });
    expect(system(again, "a").metrics).toEqual(system(whole, "a").metrics);
    expect(system(again, "a").warnings.map(({ code, count }) => [code, count])).toContainEqual([
      "damaged-scores",
      3,
    ]);
  });
});
