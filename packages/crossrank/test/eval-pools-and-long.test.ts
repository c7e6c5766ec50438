import { readdirSync, readFileSync } from "node:fs";
import { appendFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { EvaluationReport } from "@crossrank/eval";
import { beforeAll, describe, expect, it } from "vitest";
import { tinyModel, writeTask } from "./evaluation-scene.js";
import { crossrankInTurn as crossrank, type Outcome, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
const model = tinyModel(folder);
let task = "";
let pool = "";
beforeAll(async () => {
  const shape = { queries: 3, candidates: 4, words: 40 };
  task = await writeTask(folder, "task", shape);
  pool = await writeTask(folder, "pool", shape);
  // Three relevant documents of each query, of a collection whose texts nobody has here.
  const judged = [0, 1, 2].flatMap((query) => [0, 1, 2].map((at) => `q${query}\tp${query}${at}\t1\n`));
  await appendFile(join(pool, "qrels", "test.tsv"), judged.join(""));
});

function evaluate(...args: readonly string[]): Promise<Outcome> {
  const dtype = args.includes("--backend") ? [] : ["--backend", "onnx:fp32"];
  return crossrank(["eval", "--model", model(), "--threads", "1", ...dtype, "--format", "json", ...args]);
}

async function reportOf(...args: readonly string[]): Promise<EvaluationReport> {
  const { code, stdout, stderr } = await evaluate(...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as EvaluationReport;
}

describe("eval of a pool", () => {
  it("counts what has no text in the ideal, and says so", async () => {
    const [whole, beside] = [await reportOf("--task", task), await reportOf("--task", pool)];
    const ndcg = (report: EvaluationReport) => report.systems.at(-1)?.metrics[0]?.expected ?? Number.NaN;
    expect(ndcg(beside)).toBeLessThan(ndcg(whole));
    expect(beside.warnings.map(({ message }) => message)).toContainEqual(
      expect.stringContaining("9 of 12 judgements are of documents that the corpus lacks"),
    );
  });

  it("is refused without a run, accepted with --candidates, and not searched", async () => {
    const run = join(pool, "candidates.trec");
    const moved = folder.path("moved.trec");
    await rename(run, moved);
    const refused = await evaluate("--task", pool);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/9 of 12 judgements are such.*rerank the documents of a run/);
    const { task: told } = await reportOf("--task", pool, "--candidates", moved);
    expect(told.candidates?.origin).toBe("moved.trec");
    await rename(moved, run);
    const searched = await evaluate("--task", pool, "--retrieve");
    expect(searched.code).toBe(1);
    expect(searched.stderr).toMatch(/is a pool, which cannot be searched/);
  });

  it("names a run that cannot be read", async () => {
    const { code, stderr } = await evaluate("--task", pool, "--candidates", "nowhere.trec");
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: "crossrank: cannot read --candidates nowhere.trec: there is no such file\n",
    });
    const folderAsRun = await evaluate("--task", pool, "--candidates", folder.path("."));
    expect(folderAsRun.code).toBe(1);
    expect(folderAsRun.stderr).toContain("cannot read --candidates");
  });
});

describe("eval with --long-documents", () => {
  it("given twice holds cut documents and passages against each other", async () => {
    const long = ["--long-documents", "truncate", "--long-documents", "chunk"];
    const report = await reportOf("--task", task, "--max-length", "24", ...long);
    const systems = report.systems.filter((system) => system.model !== null);
    expect(systems.map(({ name, role }) => [name, role])).toEqual([
      ["onnx:fp32", "reference"],
      ["onnx:fp32 in passages", "candidate"],
    ]);
    expect(systems.map((system) => system.model?.longDocuments?.aggregate)).toEqual([undefined, "max"]);
    expect(systems[1]?.scores?.delta?.maximum).toBeGreaterThan(0);

    const one = await reportOf("--task", task, "--max-length", "24", "--long-documents", "chunk");
    const values = (system: (typeof systems)[number] | undefined) => system?.metrics[0]?.values;
    expect(values(one.systems.at(-1))).toEqual(values(systems[1]));
    expect(one.systems.at(-1)?.name).toBe("onnx:fp32");
  });

  it("is known by compare and by ci's configuration", async () => {
    const pairs = folder.path("pairs.jsonl");
    const document = "the river and the old bank with tea ".repeat(12);
    await writeFile(pairs, `${JSON.stringify({ query: "tea", document })}\n`);
    const both = ["--long-documents", "chunk", "--long-documents", "truncate"];
    const compared = await crossrank([
      ...["compare", "--pairs", pairs, "--model", model(), "--threads", "1", "--max-length", "24"],
      ...["--backend", "onnx:fp32", ...both, "--format", "json"],
    ]);
    expect({ code: compared.code, stderr: compared.stderr }).toEqual({ code: 0, stderr: "" });
    const { systems, pairs: scored } = JSON.parse(compared.stdout);
    expect(systems.map(({ name }: { name: string }) => name)).toEqual(["onnx:fp32 in passages", "onnx:fp32"]);
    expect(scored[0].logits[0]).not.toBe(scored[0].logits[1]);

    const config = folder.path("matrix.json");
    const entry = { model: model(), maxLength: 24, longDocuments: "chunk", backends: ["onnx:fp32"] };
    await writeFile(config, JSON.stringify({ models: [entry], tasks: [task] }));
    const report = folder.path("matrix");
    const matrix = await crossrank(["ci", "--config", config, "--report", report]);
    expect({ code: matrix.code, stderr: matrix.stderr }).toEqual({
      code: 0,
      stderr: "crossrank: 1 of 1: tiny on task\n",
    });
    const written = readdirSync(report, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith("report.json"))
      .map((path) => readFileSync(join(report, path), "utf8"));
    expect(written.some((text) => /"aggregate": ?"max"/.test(text))).toBe(true);
    await writeFile(config, JSON.stringify({ models: [{ ...entry, longDocuments: "cut" }], tasks: [task] }));
    const refused = await crossrank(["ci", "--config", config]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain("longDocuments");
  });

  it("of another word, or of one word twice, is refused as usage", async () => {
    const unknown = await evaluate("--task", task, "--long-documents", "split");
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain("Known: truncate, chunk.");
    const twice = await evaluate("--task", task, "--long-documents", "chunk", "--long-documents", "chunk");
    expect(twice.code).toBe(2);
    expect(twice.stderr).toContain("chunk is given twice");
  });
});
