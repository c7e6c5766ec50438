import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { EvaluationReport } from "@crossrank/eval";
import { beforeAll, describe, expect, it } from "vitest";
import { evaluationTable } from "../src/commands/eval/table.js";
import { tinyModel, writeTask } from "./evaluation-scene.js";
import {
  crossrankInTurn as crossrank,
  fixture,
  crossrank as inProcessOfItsOwn,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();
const model = tinyModel(folder);
let task = "";
beforeAll(async () => {
  task = await writeTask(folder, "task", { queries: 12, candidates: 8, words: 12 });
});

function evaluate(...args: readonly string[]): Promise<Outcome> {
  // A model is given once.
  const chosen = args.includes("--model") ? [] : ["--model", model()];
  return crossrank(["eval", ...chosen, "--threads", "1", ...args]);
}

async function evaluateJson(...args: readonly string[]): Promise<EvaluationReport> {
  const { code, stdout, stderr } = await evaluate("--format", "json", ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as EvaluationReport;
}

const writtenTo = async (report: string): Promise<EvaluationReport> =>
  JSON.parse(await readFile(join(report, "report.json"), "utf8"));

interface StoredRow {
  readonly query: string;
  readonly logits: readonly (number | null)[];
}

/** Whole rows of a file of scores that may be written to at this moment. */
function storedRows(path: string): StoredRow[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return [];
  }
  return text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .slice(1)
    .filter((line) => line !== "")
    .flatMap((line) => (JSON.parse(line.slice(line.indexOf(" "))) as { scores: StoredRow[] }).scores);
}

describe("eval", () => {
  it("gives all of it as JSON, with the memory of each system's own process", async () => {
    const report = await evaluateJson(
      "--task",
      task,
      "--backend",
      "onnx:int8",
      "--reference",
      "onnx:fp32",
      "--metric",
      "map",
      "--metric",
      "ndcg@10",
      "--limit",
      "7",
      "--report",
      folder.path("json-report"),
    );
    expect(await writtenTo(folder.path("json-report"))).toEqual(report);
    expect(report.systems.map(({ name }) => name)).toEqual([
      "random",
      "constant",
      "first stage",
      "onnx:fp32",
      "onnx:int8",
    ]);
    expect(report.settings).toMatchObject({
      metrics: ["map", "ndcg@10"],
      primaryMetric: "map",
      limit: 7,
      threads: 1,
    });
    expect(report.environment.packages).toHaveProperty("@crossrank/backend-onnx");
    for (const { memory, speed } of report.systems.slice(3)) {
      expect(memory?.beforeLoadBytes).toBeGreaterThan(20e6);
      expect(memory?.peakBytes).toBeGreaterThan((memory?.beforeLoadBytes ?? 0) + 1e6);
      expect(memory?.peakBytes).toBeLessThan(2e9);
      expect(memory?.wholeRun).toBe(true);
      expect(speed?.documents).toBe(56);
    }

    // The p of a change is printed, also of one that is no part of Holm's family.
    const systems = report.systems.map((system) => ({
      ...system,
      metrics: system.metrics.map((metric) => ({
        ...metric,
        change: metric.change && { ...metric.change, pValue: 0.8624, adjustedPValue: null },
      })),
    }));
    const shown = evaluationTable({ ...report, systems }, (text) => text).split("\n");
    expect(shown.filter((line) => line.includes(" 0.862 "))).toHaveLength(
      systems.filter(({ metrics }) => metrics[0]?.change != null).length,
    );
    // Of the rows that are held against the reference: all but itself.
    expect(shown.find((line) => line.startsWith("onnx:int8 "))).toContain(" 0.862 ");
  });

  it("prints a table and writes a report; a second run scores nothing, and passes a gate with exit code 0", async () => {
    const report = folder.path("report");
    const args = ["--task", task, "--backend", "onnx:fp32", "--backend", "onnx:int8", "--report", report];
    const { code, stdout, stderr } = await evaluate(...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^task +\S+task, 12 queries, 96 pairs, candidates of candidates\.trec$/m);
    expect(stdout).toMatch(/^model +\S+tiny, cross-encoder$/m);
    // The rows that are always there, and what ran.
    for (const row of [
      "random",
      "constant",
      "first stage",
      String.raw`onnx:fp32 \(reference\)`,
      "onnx:int8",
    ]) {
      expect(stdout).toMatch(new RegExp(`^${row} +\\d\\.\\d{4} `, "m"));
    }
    expect(stdout).toMatch(
      /^onnx:int8 +onnx int8 [0-9a-f]{12} +[\d,.]+ +[\d,.]+ +[\d.]+ ms +[\d.]+ ms +\d+\.\d MB$/m,
    );
    expect(stdout).toMatch(/^onnx:int8: noise\. /m);
    expect(readdirSync(report).sort()).toEqual([
      "junit.xml",
      "mteb",
      "report.html",
      "report.json",
      "report.md",
      "runs",
      "scores",
    ]);
    expect(readdirSync(join(report, "runs")).sort()).toEqual([
      "first-stage.trec",
      "onnx-fp32.trec",
      "onnx-int8.trec",
    ]);
    expect(readdirSync(join(report, "mteb")).sort()).toEqual(["onnx-fp32.json", "onnx-int8.json"]);
    const first = await writtenTo(report);
    const scores = await readFile(join(report, "scores", "onnx-fp32.jsonl"), "utf8");
    const gated = await evaluate(...args, "--gate", "0.5");
    expect({ code: gated.code, stderr: gated.stderr }).toEqual({ code: 0, stderr: "" });
    expect(gated.stdout).toMatch(/^PASS {2}onnx:int8: L3 ndcg@10 passed: /m);
    const second = await writtenTo(report);
    expect(await readFile(join(report, "scores", "onnx-fp32.jsonl"), "utf8")).toBe(scores);
    expect(second.systems.map(({ metrics }) => metrics)).toEqual(first.systems.map(({ metrics }) => metrics));
    expect(second.systems.at(-1)?.memory?.wholeRun).toBe(false);

    const other = ["--task", task, "--backend", "onnx:fp32", "--report", report, "--max-length", "30"];
    const refused = await evaluate(...other);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(
      /onnx-fp32\.jsonl are of another run: maximum length was 128 and is 30; .*--fresh/,
    );
    expect((await evaluate(...other, "--fresh")).code).toBe(0);
  });

  it("finds candidates with BM25 where the task has none, and prints Markdown", async () => {
    const bare = await writeTask(folder, "bare", { queries: 6, candidates: 0, words: 12 });
    const to = folder.path("bare-report");
    const args = ["--backend", "onnx:fp32", "--depth", "3", "--report", to, "--format", "markdown"];
    const { code, stdout } = await evaluate("--task", bare, ...args);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\|.*\|$/m);
    const report = await writtenTo(to);
    expect(report.task.candidates?.origin).toMatch(/^BM25 .*top 3/);
    expect(report.task.candidates?.depth.maximum).toBe(3);
  });

  it("searches the corpus with a bi-encoder, and refuses to with another model", async () => {
    const bare = await writeTask(folder, "corpus", { queries: 6, candidates: 0, words: 12 });
    const found = await evaluateJson("--task", bare, "--model", fixture("bi-encoder"));
    expect(found.task).toMatchObject({ kind: "retrieval", candidates: null });
    const forced = await evaluateJson("--task", task, "--model", fixture("bi-encoder"), "--retrieve");
    expect(forced.task.kind).toBe("retrieval");
    const { code, stderr } = await evaluate("--task", task, "--retrieve");
    expect(code).toBe(1);
    expect(stderr).toMatch(/is a cross-encoder, and only a bi-encoder can search a corpus/);
  });
});

describe("a gate of eval", () => {
  it("fails what does not rank alike, with exit code 1, and says by how much and whether the sample could have seen it", async () => {
    // What fp32 puts first is right, so that every change of order is a loss.
    const runs = folder.path("ideal-run");
    const ideal = await writeTask(folder, "ideal-source", { queries: 30, candidates: 12, words: 9 });
    await evaluateJson("--task", ideal, "--backend", "onnx:fp32", "--report", runs);
    const best = new Map<string, number>();
    for (const line of readFileSync(join(runs, "runs", "onnx-fp32.trec"), "utf8").split("\n")) {
      const [query, , document, rank] = line.split(" ");
      if (rank === "1") best.set(query ?? "", Number(document?.slice(1)));
    }
    const strict = await writeTask(folder, "ideal", {
      queries: 30,
      candidates: 12,
      words: 9,
      relevant: (query) => best.get(`q${query}`) ?? 0,
    });
    const file = await folder.write(
      "gate.json",
      JSON.stringify({ scores: { tau: 0.9999 }, quality: { retention: 0.5 }, margin: 0 }),
    );
    const args = ["--task", strict, "--backend", "onnx:fp32", "--backend", "onnx:int8"];
    const { code, stdout, stderr } = await evaluate(...args, "--gate", file);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^crossrank: \d gates? failed\. onnx:int8: L2 τ-b failed: 0\.\d+ is below the least allowed, 0\.9999, by 0\.\d+ /,
    );
    expect(stdout).toMatch(/^FAIL {2}onnx:int8: L2 τ-b failed/m);
    expect(stdout).toMatch(/^PASS {2}onnx:int8: L3 ndcg@10 retention passed/m);
    expect(stdout).toMatch(/L3 ndcg@10 \w+: it changes by .* over 30 queries.*A drop of 0 could go unseen/);
  });

  it.each([
    ["nonsense.json", "not json", 1, /cannot read --gate .*it is not JSON/],
    ["unknown.json", '{"margn": 1}', 1, /--gate .*unknown\.json: The gate's margn is not known/],
  ])("refuses %s", async (name, content, expected, message) => {
    const file = await folder.write(name, content);
    const { code, stdout, stderr } = await evaluate(
      "--task",
      task,
      "--backend",
      "onnx:fp32",
      "--backend",
      "onnx:fp16",
      "--gate",
      file,
    );
    expect({ code, stdout }).toEqual({ code: expected, stdout: "" });
    expect(stderr).toMatch(message);
  });
});

describe("an eval that ends early", () => {
  let long = "";
  beforeAll(async () => {
    long = await writeTask(folder, "long", { queries: 20, candidates: 60, words: 100 });
  });

  /** Runs until so many queries are stored, then does what `stop` does. */
  async function stopped(
    report: string,
    queries: number,
    stop: (child: ChildProcess) => void,
  ): Promise<Outcome & { rows: StoredRow[] }> {
    const path = join(report, "scores", "onnx-fp32.jsonl");
    let child: ChildProcess | undefined;
    const ended = crossrank(
      [
        "eval",
        "--model",
        model(),
        "--threads",
        "1",
        "--workers",
        "1",
        "--task",
        long,
        "--backend",
        "onnx:fp32",
        "--report",
        report,
      ],
      {
        onStart: (started) => {
          child = started;
        },
      },
    );
    let over = false;
    void ended.then(() => {
      over = true;
    });
    while (!over && storedRows(path).length < queries) await sleep(2);
    if (child !== undefined) stop(child);
    const outcome = await ended;
    return { ...outcome, rows: storedRows(path) };
  }

  it("by kill −9 or SIGINT goes on where it was, and scores nothing twice", async () => {
    const report = folder.path("killed");
    const { code, rows } = await stopped(report, 2, (child) => child.kill("SIGKILL"));
    expect(code).toBeNull();
    expect(rows.length).toBeGreaterThanOrEqual(2);
    expect(rows.length).toBeLessThan(20);
    const path = join(report, "scores", "onnx-fp32.jsonl");
    // In the middle of a line, where a kill can come, too.
    await writeFile(path, `${readFileSync(path, "utf8").replace(/[^\n]*$/, "")}{"query":"q11","logi`);

    const { rows: more, ...interrupted } = await stopped(report, rows.length + 2, (child) =>
      child.kill("SIGINT"),
    );
    expect(interrupted).toEqual({
      code: 130,
      stdout: "",
      stderr: `crossrank: stopped; what was scored is in ${report}; the same command goes on\n`,
    });
    expect(more.length).toBeGreaterThan(rows.length);
    expect(more.length).toBeLessThan(20);
    expect(more.slice(0, rows.length)).toEqual(rows);

    const resumed = await evaluateJson("--task", long, "--backend", "onnx:fp32", "--report", report);
    const all = storedRows(path);
    expect(all.slice(0, more.length)).toEqual(more);
    expect(all.map(({ query }) => query).sort()).toEqual(
      Array.from({ length: 20 }, (_, index) => `q${index}`).sort(),
    );
    expect(resumed.systems.at(-1)?.metrics[0]?.values).toHaveLength(20);
    expect(resumed.systems.at(-1)?.memory?.wholeRun).toBe(false);

    const whole = await evaluateJson("--task", long, "--backend", "onnx:fp32");
    expect(resumed.systems.map(({ metrics }) => metrics)).toEqual(
      whole.systems.map(({ metrics }) => metrics),
    );
  });
});

describe("eval fails in one line", () => {
  const failing: [string, () => readonly string[], number, RegExp][] = [
    ["without a task", () => [], 2, /required option '-t, --task <source>' not specified/],
    ["for a folder that is no task", () => ["--task", model()], 1, /Looked for .*There is: /],
    [
      "for a run file that is not there",
      () => ["--task", task, "--candidates", "nowhere.trec"],
      1,
      /cannot read --candidates nowhere\.trec: there is no such file/,
    ],
    [
      "for one backend twice",
      () => ["--task", task, "-b", "onnx:fp32", "-b", "onnx:fp32"],
      2,
      /--backend onnx:fp32 is given twice/,
    ],
    [
      "for a precision that is not there",
      () => ["--task", task, "-b", "onnx:q4"],
      1,
      /has no onnx\/model_q4\.onnx/,
    ],
    [
      "for a precision that does not exist",
      () => ["--task", task, "-b", "onnx:fp7"],
      2,
      /--backend must be one of fp32/,
    ],
    [
      "for a metric that does not exist",
      () => ["--task", task, "--metric", "ndgc@10"],
      1,
      /"ndgc@10" is no metric/,
    ],
    [
      "for a gate without a second backend",
      () => ["--task", task, "--gate", "0.005"],
      2,
      /--gate holds a backend against the reference/,
    ],
    [
      "for a gate beyond 1",
      () => ["--task", task, "-b", "onnx:fp32", "-b", "onnx:fp16", "--gate", "5"],
      2,
      /--gate 5 must be a loss from 0 to 1/,
    ],
    [
      "for a length that the model does not have",
      () => ["--task", task, "--max-length", "9999"],
      2,
      /--max-length must be a whole number from \d+ to 128/,
    ],
    [
      "for candidates and a search",
      () => ["--task", task, "--retrieve", "--candidates", "x.trec"],
      2,
      /give one of them/,
    ],
  ];
  it.each(failing)("%s", async (_, args, expected, message) => {
    const { code, stdout, stderr } = await evaluate(...args());
    expect({ code, stdout }).toEqual({ code: expected, stdout: "" });
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  it("for a model that gives NaN, before any metric", async () => {
    const poisoned = await writeTask(folder, "poisoned", { queries: 3, candidates: 3, words: 5 });
    const corpus = join(poisoned, "corpus.jsonl");
    await writeFile(corpus, readFileSync(corpus, "utf8").replace('"title":"dog"', '"title":"poison"'));
    const report = folder.path("poisoned-report");
    const { code, stdout, stderr } = await evaluate(
      "--task",
      poisoned,
      "--model",
      fixture("cross-encoder-nan"),
      "--report",
      report,
    );
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(
      /^crossrank: onnx gave NaN for document "d1" of query "q0"\. Nothing is computed from such scores/,
    );
    expect(readdirSync(report)).toEqual(["scores"]);
  });

  it("when the hidden command is called by hand", async () => {
    // One of several in turn has a channel to who started it, which this command looks for.
    const { code, stderr } = await inProcessOfItsOwn(["scoring-process"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/started by crossrank eval and compare/);
    expect((await crossrank(["--help"])).stdout).not.toContain("scoring-process");
  });
});
