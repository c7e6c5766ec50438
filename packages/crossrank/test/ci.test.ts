import { appendFile, cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { openReranker } from "../src/index.js";
import {
  crossrankInTurn as crossrank,
  fixture,
  crossrank as inProcessOfItsOwn,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();
const int8 = fileURLToPath(new URL("../../eval/test/run-data/model_int8.onnx", import.meta.url));
const examples = fileURLToPath(new URL("../../../examples", import.meta.url));

interface Overview {
  readonly passed: boolean | null;
  readonly problems: readonly string[];
  readonly notes: readonly string[];
  readonly cells: readonly {
    readonly name: string;
    readonly folder: string;
    readonly outcome: string;
    readonly problems: readonly string[];
    readonly systems: readonly { readonly name: string; readonly passed: boolean | null }[];
    readonly baseline: {
      readonly outcome: string;
      readonly systems: readonly { readonly name: string; readonly notes: readonly string[] }[];
    } | null;
  }[];
}

interface TaskShape {
  readonly queries: number;
  readonly candidates: number;
  /** Which of a query's candidates is right, by position. */
  readonly right?: number;
}

const words = "cat dog river bank money water rain snow sun moon star city engine motor bread tea".split(" ");
const lines = (rows: readonly string[]): string => rows.map((row) => `${row}\n`).join("");

/** A folder with a model at three precisions, a task for each shape, and a configuration. */
async function scene(
  name: string,
  tasks: Readonly<Record<string, TaskShape>>,
  config: object,
): Promise<{ root: string; config: string; report: string; file: (path: string) => string }> {
  const root = folder.path(name);
  const onnx = join(root, "tiny", "onnx");
  await cp(fixture("cross-encoder"), join(root, "tiny"), { recursive: true });
  await cp(join(fixture("cross-encoder-fp16"), "onnx", "model.onnx"), join(onnx, "model_fp16.onnx"));
  await cp(int8, join(onnx, "model_int8.onnx"));
  for (const [task, shape] of Object.entries(tasks)) await writeTask(join(root, task), shape);
  const path = join(root, "crossrank.config.json");
  await writeFile(path, JSON.stringify(config));
  return { root, config: path, report: join(root, "report"), file: (part) => join(root, part) };
}

async function writeTask(root: string, { queries, candidates, right = 6 }: TaskShape): Promise<void> {
  const documents = Array.from({ length: 40 }, (_, index) => ({
    _id: `d${index}`,
    text: `the ${words[index % words.length]} and the ${words[(index * 3 + 1) % words.length]} in the old ${words[(index * 7 + 2) % words.length]} ${index}`,
  }));
  const pool = (query: number, rank: number): string => `d${(query * 3 + rank * 7) % 40}`;
  const ids = Array.from({ length: queries }, (_, query) => query);
  await mkdir(join(root, "qrels"), { recursive: true });
  await writeFile(join(root, "corpus.jsonl"), lines(documents.map((one) => JSON.stringify(one))));
  await writeFile(
    join(root, "queries.jsonl"),
    lines(
      ids.map((query) =>
        JSON.stringify({ _id: `q${query}`, text: `where is the ${words[query % words.length]} ${query}` }),
      ),
    ),
  );
  await writeFile(
    join(root, "qrels", "test.tsv"),
    lines(["query-id\tcorpus-id\tscore", ...ids.map((query) => `q${query}\t${pool(query, right)}\t1`)]),
  );
  await writeFile(
    join(root, "candidates.trec"),
    lines(
      ids.flatMap((query) =>
        Array.from(
          { length: candidates },
          (_, rank) => `q${query} Q0 ${pool(query, rank)} ${rank + 1} ${candidates - rank} made`,
        ),
      ),
    ),
  );
}

const run = (one: { config: string; report: string }, ...more: readonly string[]): Promise<Outcome> =>
  crossrank(["ci", "--config", one.config, "--report", one.report, "--format", "json", ...more]);

const overviewOf = ({ stdout, stderr }: Outcome): Overview => {
  expect(stdout, stderr).not.toBe("");
  return JSON.parse(stdout) as Overview;
};

/** Of each system of a cell, whether all of its scores are of this run. */
async function wholeRunsIn(one: { readonly report: string }, cell: string): Promise<unknown[]> {
  const { systems } = JSON.parse(await text(join(one.report, cell, "report.json")));
  return systems.flatMap(({ memory }: { memory: { wholeRun: boolean } | null }) =>
    memory === null ? [] : [memory.wholeRun],
  );
}

const tinyTask: TaskShape = { queries: 12, candidates: 8 };
const backends = ["onnx:fp32", "onnx:fp16"];
const text = (path: string): Promise<string> => readFile(path, "utf8");

describe("crossrank ci", () => {
  it("runs two precisions on two tasks, judges them, and writes every report", async () => {
    const one = await scene(
      "matrix",
      { first: tinyTask, second: { ...tinyTask, right: 3 } },
      {
        models: [{ model: "./tiny", threads: 1, workers: 1 }],
        backends,
        tasks: ["./first", { task: "./second", limit: 6, gates: { margin: 0.1, quality: false } }],
        metrics: ["ndcg@10", "mrr@10"],
        seed: 7,
        baseline: "crossrank.baseline.json",
      },
    );
    const stepSummary = await folder.write("step-summary.md", "before\n");
    const outcome = await crossrank(
      ["ci", "--config", one.config, "--report", one.report, "--format", "json", "--update-baseline"],
      { environment: { GITHUB_STEP_SUMMARY: stepSummary } },
    );
    expect(outcome.code, outcome.stderr).toBe(0);
    const overview = overviewOf(outcome);
    expect(overview.passed).toBe(true);
    expect(overview.cells.map(({ name, outcome: how }) => [name, how])).toEqual([
      ["tiny on first", "passed"],
      ["tiny on second", "passed"],
    ]);
    expect(overview.cells[0]?.systems.map(({ name, passed }) => [name, passed])).toEqual([
      ["onnx:fp32", null],
      ["onnx:fp16", true],
    ]);
    for (const { folder: cell } of overview.cells) {
      const report = JSON.parse(await text(join(one.report, cell, "report.json")));
      expect(report.settings.seed).toBe(7);
      expect(report.settings.metrics).toEqual(["ndcg@10", "mrr@10"]);
      expect(report.task.counts.queries).toBe(cell === "tiny-on-first" ? 12 : 6);
      expect(report.settings.margin).toBe(cell === "tiny-on-first" ? 0.005 : 0.1);
      expect(await text(join(one.report, cell, "report.html"))).toContain("<!doctype html>");
      expect(await text(join(one.report, cell, "report.md"))).toContain("passed");
      expect(await text(join(one.report, cell, "junit.xml"))).toContain("<testsuites");
      const mteb = JSON.parse(await text(join(one.report, cell, "mteb", "onnx-fp16.json")));
      expect(mteb.scores.test[0].main_score).toBe(
        report.systems.find((system: { name: string }) => system.name === "onnx:fp16").mteb.ndcg_at_10,
      );
      expect((await text(join(one.report, cell, "runs", "onnx-fp32.trec"))).split("\n").length).toBe(
        report.task.counts.pairs + 1,
      );
    }
    const index = await text(join(one.report, "index.html"));
    expect(index).toContain('href="tiny-on-first/report.html"');
    expect(index).toContain('href="tiny-on-second/report.html"');
    const summary = await text(join(one.report, "summary.md"));
    expect(summary).toContain("✅ passed");
    expect(await text(stepSummary)).toBe(`before\n${summary}`);
    const junit = await text(join(one.report, "junit.xml"));
    expect(junit).toContain('<testsuite name="tiny on first"');
    expect(junit).toContain('failures="0" errors="0"');
    expect(JSON.parse(await text(join(one.report, "report.json")))).toEqual(overview);

    // As eval finds it.
    const metrics = (report: { systems: readonly { metrics: unknown }[] }): unknown[] =>
      report.systems.map((system) => system.metrics);
    const evaluation = await crossrank([
      ...["eval", "--task", one.file("first"), "--model", one.file("tiny"), "--threads", "1"],
      ...[
        "--backend",
        "onnx:fp32",
        "--metric",
        "ndcg@10",
        "--metric",
        "mrr@10",
        "--seed",
        "7",
        "--format",
        "json",
      ],
    ]);
    const [first] = overview.cells;
    const ofFirst = JSON.parse(await text(join(one.report, first?.folder ?? "", "report.json")));
    const alone = ofFirst.systems.filter(({ name }: { name: string }) => name !== "onnx:fp16");
    expect(metrics({ systems: alone }), evaluation.stderr).toEqual(metrics(JSON.parse(evaluation.stdout)));

    // Both systems are held against their own rows of the baseline; what is scored stays, and gives the same numbers.
    const ownReport = async () => JSON.parse(await text(join(one.report, "tiny-on-second", "report.json")));
    const stored = (): Promise<string[]> =>
      Promise.all(
        ["onnx-fp32", "onnx-fp16"].map((system) =>
          text(join(one.report, "tiny-on-second", "scores", `${system}.jsonl`)),
        ),
      );
    const before = { stored: await stored(), report: await ownReport() };
    const second = await run(one, "--filter", "SECOND");
    expect(await stored()).toEqual(before.stored);
    expect(metrics(await ownReport())).toEqual(metrics(before.report));
    expect(second.stdout).not.toContain("tiny on first");
    const [held] = overviewOf(second).cells;
    expect(held?.baseline?.outcome).toBe("passed");
    expect(held?.baseline?.systems.map(({ name }) => name)).toEqual(expect.arrayContaining(backends));

    // By itself a second run scores nothing.
    expect(await wholeRunsIn(one, "tiny-on-second")).toEqual([false, false]);
  });

  it("holds a cascade against the large model alone and its baseline, as the cascade itself ranks", async () => {
    const small = { model: "nano", keep: 3, backend: "onnx:int8", workers: 1 };
    const config = (cascade: object) => ({
      models: [{ model: "./tiny", workers: 1, cascade }],
      backends: ["onnx:fp32"],
      tasks: [{ task: "./first", gates: { margin: 0.9 } }],
      baseline: "crossrank.baseline.json",
    });
    const one = await scene("cascade", { first: { queries: 5, candidates: 7 } }, config(small));
    const name = "onnx:fp32 after nano on onnx:int8 keep 3";
    const first = await run(one, "--update-baseline");
    expect(first.code, first.stderr).toBe(0);
    const [cell] = overviewOf(first).cells;
    expect(cell?.systems.map((system) => [system.name, system.passed])).toEqual([
      ["onnx:fp32", null],
      [name, true],
    ]);
    const read = async () => JSON.parse(await text(join(one.report, "tiny-on-first", "report.json")));
    const system = (await read()).systems.find((each: { name: string }) => each.name === name);
    expect(system.scores).toBeNull();
    expect(system.gates).toHaveLength(1);
    expect(system.model.cascade).toMatchObject({
      keep: [3],
      stages: [{ model: { id: "nano" }, precision: "8-bit" }],
    });

    // The run file has every document, in the order that the cascade gives it.
    await using both = await openReranker(one.file("tiny"), {
      ...{ backend: "onnx:fp32", workers: 1, cascade: small },
    });
    const rows = (await text(join(one.report, "tiny-on-first", system.runFile))).trim().split("\n");
    const corpus = new Map(
      (await text(one.file("first/corpus.jsonl")))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as { _id: string; text: string })
        .map((each) => [each._id, each.text]),
    );
    for (const query of (await text(one.file("first/queries.jsonl"))).trim().split("\n").slice(0, 3)) {
      const { _id: id, text: asked } = JSON.parse(query) as { _id: string; text: string };
      const own = rows.map((row) => row.split(" ")).filter(([of]) => of === id);
      const pool = (await text(one.file("first/candidates.trec")))
        .split("\n")
        .map((row) => row.split(" "))
        .flatMap(([of, , document]) => (of === id && document !== undefined ? [document] : []));
      const { results } = await both.rerank({
        query: asked,
        documents: pool.map((document) => corpus.get(document) ?? ""),
      });
      expect(own.map(([, , document]) => document)).toEqual(results.map(({ index }) => pool[index]));
    }

    // Nothing is scored again, and its baseline holds.
    const again = await run(one);
    expect(again.code, again.stderr).toBe(0);
    expect(overviewOf(again).cells[0]?.baseline?.outcome).toBe("passed");
    const memory = (await read()).systems.find((each: { name: string }) => each.name === name).memory;
    expect(memory.wholeRun).toBe(false);

    // Another small model under the same name makes its scores anew, and is no comparison.
    await writeFile(one.config, JSON.stringify(config({ ...small, maxLength: 16 })));
    const other = await run(one);
    expect(other.code).toBe(1);
    expect(other.stderr).toContain("are of another cascade, and are made again");
    expect(other.stderr).toContain("stage 1's maximum length was 256 and is 16");
  });

  it.each([
    [{ model: "nano" }, "models[0].cascade.keep"],
    [{ model: "nano", keep: 0 }, "models[0].cascade.keep"],
    [{ model: "nano", keep: 3, backend: "onyx" }, "models[0].cascade.backend"],
    [{ model: "nano", keep: 3, large: ["onnx:int8"] }, "models[0].cascade.large[0]"],
    [{ model: "./nowhere", keep: 3 }, "models[0].cascade.model"],
    [{ model: "nano", keep: 3, instruction: "a" }, "models[0].cascade"],
    [[{ model: "nano", keep: 3 }], "models[0].cascade"],
  ])("refuses the cascade %j before anything is scored", async (cascade, place) => {
    const path = folder.path("refused-cascade.json");
    await writeFile(
      path,
      JSON.stringify({ models: [{ model: "nano", cascade }], tasks: [`${examples}/task`] }),
    );
    const { code, stderr } = await crossrank(["ci", "--config", path]);
    expect([code, stderr.includes(place)], stderr).toEqual([2, true]);
  });

  it("goes on where it was killed or interrupted, and scores nothing twice", async () => {
    const one = await scene(
      "resume",
      { small: { queries: 3, candidates: 4 }, large: { queries: 40, candidates: 7 } },
      {
        models: [{ model: "nano", threads: 1, workers: 1 }],
        backends: ["onnx:int8"],
        tasks: ["./small", "./large"],
      },
    );
    const scores = (cell: string): string => join(one.report, `nano-on-${cell}`, "scores", "onnx-int8.jsonl");
    const rows = async (cell: string): Promise<string[]> =>
      (await text(scores(cell)).catch(() => "")).split(/(?<=\n)/).filter((line) => line.endsWith("\n"));

    /** Stops the command when the large task has that many queries. */
    const stopAt = async (queries: number, signal: NodeJS.Signals): Promise<Outcome> => {
      let watch: NodeJS.Timeout | undefined;
      const outcome = await crossrank(["ci", "--config", one.config, "--report", one.report], {
        onStart: (child) => {
          watch = setInterval(() => {
            void rows("large").then(({ length }) => {
              if (length <= queries) return;
              // Once: who interrupts twice does not wait for the note.
              clearInterval(watch);
              child.kill(signal);
            });
          }, 10);
        },
      });
      clearInterval(watch);
      return outcome;
    };

    expect((await stopAt(4, "SIGKILL")).code).toBe(null);
    const killed = await rows("large");
    const small = await text(scores("small"));
    expect(killed.length).toBeGreaterThan(4);
    expect(killed.length).toBeLessThan(41);
    await expect(text(join(one.report, "summary.md"))).rejects.toThrow("ENOENT");

    const interrupted = await stopAt(killed.length + 2, "SIGINT");
    expect(interrupted.code, interrupted.stderr).toBe(130);
    expect(interrupted.stderr).toContain("the same command goes on");
    const more = await rows("large");
    expect(more.length).toBeGreaterThan(killed.length);
    expect(more.length).toBeLessThan(41);
    expect(more.slice(0, killed.length)).toEqual(killed);

    const whole = await run(one);
    expect(whole.code, whole.stderr).toBe(0);
    const all = await rows("large");
    expect(all.slice(0, more.length)).toEqual(more);
    const queries = all
      .slice(1)
      .flatMap(
        (line) => (JSON.parse(line.slice(line.indexOf(" "))) as { scores: { query: string }[] }).scores,
      )
      .map(({ query }) => query);
    expect(new Set(queries).size).toBe(40);
    expect(queries.length).toBe(40);
    expect(await text(scores("small"))).toBe(small);
  }, 120_000);

  it("fails with the gate's sentence, and one broken cell hides no other", async () => {
    const one = await scene(
      "gates",
      { fine: tinyTask, strict: tinyTask, broken: tinyTask },
      {
        models: [{ model: "./tiny", threads: 1, workers: 1 }],
        backends: ["onnx:fp32", "onnx:int8"],
        tasks: [
          { task: "./broken", split: "dev" },
          { task: "./strict", gates: { scores: { tau: 1, topOne: 1 }, quality: false } },
          { task: "./fine", gates: 0.9 },
        ],
      },
    );
    const outcome = await run(one);
    expect(outcome.code).toBe(1);
    const { cells, passed } = overviewOf(outcome);
    expect(passed).toBe(false);
    expect(cells.map(({ outcome: how }) => how)).toEqual(["error", "failed", "passed"]);
    expect(cells[0]?.problems[0]).toContain("dev");
    expect(cells[1]?.problems[0]).toMatch(/onnx:int8: L2 τ-b .*failed/);
    expect(outcome.stderr).toContain("3 cells: 1 passed, 1 failed, 1 without a result.");
    expect(outcome.stderr).toContain(cells[1]?.problems[0]);
    const junit = await text(join(one.report, "junit.xml"));
    expect(junit).toMatch(/<testsuites name="crossrank" tests="\d+" failures="\d+" errors="1">/);
    expect(junit).toContain('classname="crossrank.tiny on strict.onnx:int8"');
    expect(await text(join(one.report, "summary.md"))).toContain("❌ failed");
    expect(await text(join(one.report, "index.html"))).toContain("tiny on broken");
  });

  it("measures the other backends of a cell when one cannot be run", async () => {
    const one = await scene(
      "backends",
      { task: tinyTask },
      {
        models: [{ model: "./tiny", threads: 1, workers: 1 }],
        backends: ["onnx:fp32", "onnx:q4", "onnx:fp16"],
        tasks: ["./task"],
        gates: { margin: 0.5, scores: false, quality: false, systems: { "onnx:q4": { margin: 0.9 } } },
      },
    );
    const outcome = await run(one);
    expect(outcome.code).toBe(1);
    const [cell] = overviewOf(outcome).cells;
    expect(cell?.outcome).toBe("failed");
    expect(cell?.problems).toHaveLength(1);
    expect(cell?.problems[0]).toMatch(/^onnx:q4 has no result: .*q4/);
    expect(cell?.systems.map(({ name, passed }) => [name, passed])).toEqual([
      ["onnx:fp32", null],
      ["onnx:fp16", true],
    ]);
    const junit = await text(join(one.report, "junit.xml"));
    expect(junit).toContain('classname="crossrank.tiny on task.onnx:q4" name="evaluation"');
    expect(junit).toContain('failures="0" errors="1"');
    // What the reference had scored when the other one failed was not scored again.
    const scores = (await text(join(one.report, "tiny-on-task", "scores", "onnx-fp32.jsonl"))).trim();
    expect(scores.split("\n")).toHaveLength(13);
    expect((await text(join(one.report, "summary.md"))).match(/onnx:q4/g)?.length).toBeGreaterThan(1);
  });

  it("writes a baseline, compares with it, and refuses what cannot be compared", async () => {
    const one = await scene(
      "baseline",
      { task: tinyTask, other: tinyTask },
      {
        models: [{ model: "./tiny", threads: 1, workers: 1 }],
        backends: ["onnx:int8"],
        tasks: ["./task", "./other"],
        gates: 0.9,
        baseline: "crossrank.baseline.json",
      },
    );
    const path = one.file("crossrank.baseline.json");

    const none = await run(one);
    expect(none.code).toBe(2);
    expect(none.stderr).toContain("--update-baseline writes it");

    expect((await run(one, "--update-baseline")).code).toBe(0);
    const written = await text(path);
    const names = Object.keys(JSON.parse(written).cells);
    expect(names).toEqual(["tiny on other", "tiny on task"]);

    // Another artifact is what a baseline is for: its scores are made again, and compared.
    // The same graph with a doc_string (field 6 of ModelProto) is other bytes.
    await appendFile(one.file(join("tiny", "onnx", "model_int8.onnx")), Buffer.from([0x32, 1, 0x78]));
    const changed = await run(one, "--filter", "task");
    expect(changed.code, changed.stderr).toBe(0);
    expect(changed.stderr).toContain("are of another artifact, and are made again");
    const notes = overviewOf(changed).cells[0]?.baseline?.systems.flatMap((system) => system.notes) ?? [];
    expect(notes.join(" ")).toContain("The artifact was");
    const ownReport = (name: string): Promise<string> => text(join(one.report, "tiny-on-task", name));
    expect(await ownReport("report.md")).toContain("**Baseline**");
    expect(await ownReport("report.html")).toContain("Against the baseline");
    expect(await ownReport("junit.xml")).toMatch(/<testcase[^>]*baseline/);

    // Only the cell that was run is written anew.
    expect((await run(one, "--filter", "task", "--update-baseline")).code).toBe(0);
    const updated = JSON.parse(await text(path)).cells;
    expect(updated["tiny on other"]).toEqual(JSON.parse(written).cells["tiny on other"]);
    expect(updated["tiny on task"].systems["onnx:int8"].artifact).not.toEqual(
      updated["tiny on other"].systems["onnx:int8"].artifact,
    );

    // A cell without a result keeps its baseline; one that the configuration no longer has loses it.
    const config = JSON.parse(await text(one.config));
    await writeFile(
      one.config,
      JSON.stringify({
        ...config,
        tasks: [
          { task: "./task", split: "dev" },
          { task: "./other", name: "new" },
        ],
      }),
    );
    const partly = await run(one, "--update-baseline");
    expect(partly.code).toBe(1);
    const parts = JSON.parse(await text(path)).cells;
    expect(Object.keys(parts)).toEqual(["tiny on new", "tiny on task"]);
    expect(parts["tiny on task"]).toEqual(updated["tiny on task"]);
    await writeFile(one.config, JSON.stringify(config));

    await writeTask(one.file("task"), { ...tinyTask, candidates: 7 });
    const other = await run(one, "--filter", "task");
    expect(other.code).toBe(1);
    expect(overviewOf(other).cells[0]?.outcome).toBe("failed");
    expect(overviewOf(other).cells[0]?.problems[0]).toMatch(
      /^Not comparable with the baseline: the sha256 of the candidates was/,
    );
    expect(await text(join(one.report, "junit.xml"))).toContain('name="baseline"');
  });

  it("fails for a loss against the baseline, by the gate's margin", async () => {
    const config = {
      models: [{ model: "./tiny", threads: 1, workers: 1 }],
      backends: ["onnx:fp32"],
      tasks: ["./task"],
      gates: 0.001,
      baseline: "crossrank.baseline.json",
    };
    const one = await scene("loss", { task: tinyTask }, config);
    expect((await run(one, "--update-baseline")).code).toBe(0);
    // A baseline that was better at every query, as an earlier artifact could have been.
    const path = one.file("crossrank.baseline.json");
    const baseline = JSON.parse(await text(path));
    const { metrics } = baseline.cells["tiny on task"].systems["onnx:fp32"];
    metrics["ndcg@10"].values = metrics["ndcg@10"].values.map((value: number) => value + 0.2);
    await writeFile(path, JSON.stringify(baseline));
    const worse = await run(one, "--fresh");
    expect(worse.code).toBe(1);
    expect(await wholeRunsIn(one, "tiny-on-task")).toEqual([true]);
    expect(overviewOf(worse).cells[0]?.problems[0]).toMatch(/^onnx:fp32 against the baseline: .*0\.001/);

    await writeFile(one.config, JSON.stringify({ ...config, gates: 0.5 }));
    expect((await run(one)).code).toBe(0);

    await writeFile(one.config, JSON.stringify({ ...config, tasks: [{ task: "./task", name: "renamed" }] }));
    const renamed = await run(one);
    expect(renamed.code).toBe(1);
    expect(renamed.stderr).toContain("Nothing could be compared");
    expect(renamed.stderr).toContain("the configuration has it no longer");
  });

  it("names every fault of a configuration by its place, and runs nothing", async () => {
    const one = await scene("faults", { task: tinyTask }, {});
    const faultsOf = async (config: unknown): Promise<string> => {
      await writeFile(one.config, typeof config === "string" ? config : JSON.stringify(config));
      const { code, stdout, stderr } = await run(one);
      expect(code, stderr).toBe(2);
      expect(stdout).toBe("");
      expect(stderr.split("\n").length, stderr).toBe(2);
      return stderr;
    };
    const good = { models: ["./tiny"], backends, tasks: ["./task"] };
    expect(await faultsOf({})).toContain("tasks is missing");
    expect(await faultsOf({ ...good, task: [] })).toContain('has "task", which is not known');
    const two = await faultsOf({
      ...good,
      tasks: [{ task: "./task", limit: 0 }],
      models: [{ model: "./tiny", treads: 2 }],
    });
    expect(two).toContain("tasks[0].limit must be a whole number above 0, found 0");
    expect(two).toContain('models[0] has "treads", which is not known');
    expect(await faultsOf({ ...good, tasks: ["./nowhere"] })).toContain(
      "tasks[0].task is ./nowhere, and there is no such folder",
    );
    expect(await faultsOf({ ...good, models: ["mini"] })).toContain("models[0].model is mini");
    expect(await faultsOf({ ...good, backends: ["onnx:fp32", "tpu"] })).toContain("backends[1] is tpu");
    expect(await faultsOf({ ...good, metrics: ["ndcg@10", "accuracy"] })).toContain("metrics[1]");
    expect(await faultsOf({ ...good, gates: { margni: 1 } })).toContain("gates.margni is not known");
    expect(await faultsOf({ ...good, tasks: [{ task: "./task", gates: 2 }] })).toContain(
      "tasks[0].gates must be a loss from 0 to 1, found 2",
    );
    expect(await faultsOf({ ...good, gates: { systems: { "onnx:int8": { margin: 0.1 } } } })).toContain(
      "gates.systems.onnx:int8 names no backend that is judged; there is: onnx:fp16",
    );
    expect(await faultsOf({ ...good, backends: ["onnx:fp32"], gates: 0.01 })).toContain(
      "gates judges nothing",
    );
    expect(await faultsOf({ ...good, exclude: [{ task: "tsak" }] })).toContain("exclude[0].task is tsak");
    expect(await faultsOf({ ...good, exclude: [{ backend: "onnx:fp32" }] })).toContain(
      "exclude takes the reference onnx:fp32 out of tiny on task",
    );
    expect(await faultsOf({ ...good, tasks: ["./task", "./task"] })).toContain(
      "tasks[1] has the name of tasks[0], task",
    );
    expect(await faultsOf("{")).toContain("it is not JSON");
    await writeFile(one.config, JSON.stringify(good));
    const filter = await run(one, "--filter", "nothing");
    expect(filter.code).toBe(2);
    expect(filter.stderr).toContain("--filter: nothing is in the name of no cell; there is: tiny on task");
    expect((await crossrank(["ci", "--config", one.file("none.json")])).code).toBe(2);
    await expect(text(join(one.report, "summary.md"))).rejects.toThrow("ENOENT");
  });

  it("takes a TypeScript configuration from the working directory, with include and exclude", async () => {
    const one = await scene("typed", { first: tinyTask, second: tinyTask }, {});
    await rm(one.config);
    await writeFile(
      one.file("crossrank.config.ts"),
      `import { type CrossrankConfig, defineConfig } from "crossrank";
const tasks: CrossrankConfig["tasks"] = ["./first", "./second"];
export default defineConfig({
  models: [{ model: "./tiny", threads: 1, workers: 1 }],
  backends: ["onnx:fp32", "onnx:fp16"],
  tasks,
  gates: 0.9,
  exclude: [{ task: "second", backend: "onnx:fp16" }],
  include: [
    { model: "tiny", task: "second", backends: ["onnx:int8"] },
    { model: { model: "./tiny", name: "short", maxLength: 16, threads: 1, workers: 1 }, task: "first", backends: ["onnx:fp32"] },
  ],
});
`,
    );
    const here = (...args: readonly string[]): Promise<Outcome> => crossrank(args, { folder: one.root });
    const outcome = await here("ci", "--format", "json");
    expect(outcome.code, outcome.stderr).toBe(0);
    expect(
      overviewOf(outcome).cells.map(({ name, systems }) => [name, systems.map((system) => system.name)]),
    ).toEqual([
      ["tiny on first", ["onnx:fp32", "onnx:fp16"]],
      ["tiny on second", ["onnx:fp32", "onnx:int8"]],
      ["short on first", ["onnx:fp32"]],
    ]);
    const report = JSON.parse(await text(one.file("crossrank-report/short-on-first/report.json")));
    expect(report.settings.maxLength).toBe(16);
    // No path of the machine is in a report.
    expect(JSON.stringify(report)).not.toContain(one.root);

    await writeFile(one.file("crossrank.config.json"), "{}");
    const ambiguous = await here("ci");
    expect(ambiguous.code).toBe(2);
    expect(ambiguous.stderr).toContain("crossrank.config.ts and crossrank.config.json");
    await rm(one.file("crossrank.config.json"));
    await writeFile(one.file("crossrank.config.ts"), "export const config = {};\n");
    // In a process of its own: one that has loaded the file does not load it again.
    const nothing = await inProcessOfItsOwn(["ci"], { folder: one.root });
    expect(nothing.code).toBe(2);
    expect(nothing.stderr).toContain("it has no default export");
  });

  it("runs the example of the repository", async () => {
    const report = folder.path("example");
    const outcome = await crossrank([
      "ci",
      "--config",
      join(examples, "crossrank.config.json"),
      "--report",
      report,
    ]);
    expect(outcome.code, outcome.stderr).toBe(0);
    expect(outcome.stdout).toContain("2 cells: 2 passed.");
    const cell = JSON.parse(await text(join(report, "nano-on-task", "report.json")));
    const value = (role: string): number =>
      cell.systems.find((system: { role: string }) => system.role === role).metrics[0].expected;
    expect(value("reference")).toBeGreaterThan(0.85);
    expect(value("random")).toBeLessThan(0.5);
  });
});
