import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openFolder } from "@crossrank/hub";
import { describe, expect, it } from "vitest";
import {
  evaluate,
  limitQueries,
  openTask,
  runEvaluation,
  type Task,
  TaskDataError,
  withFirstStage,
} from "../src/index.js";
import { drawPool, type Pool } from "./random-pools.js";
import { environment, source, useModels } from "./run-data/scene.js";
import { beir, counts, jsonl, lines, plain, useFolders } from "./task-data/scene.js";

const folders = useFolders();
const models = useModels();

// Written by lab/eval/build_pool_goldens.py from trec_eval's own code.
interface Goldens {
  readonly firstSeed: number;
  readonly metrics: readonly string[];
  readonly values: readonly (readonly (readonly number[])[])[];
}
const goldens: Goldens = JSON.parse(readFileSync(new URL("./goldens/pools.json", import.meta.url), "utf8"));

/** As TREC gives it: texts of a run's documents, judgements of a whole collection in four columns. */
function filesOf({ documents, qrels, run }: Pool): Record<string, string> {
  const judged = [...qrels].flatMap(([query, row]) =>
    Array.from(row, ([document, grade]) => `${query} 0 ${document} ${grade}`),
  );
  return {
    "collection.jsonl": jsonl(...documents.map((id) => ({ id, text: `text ${id}` }))),
    "topics.jsonl": jsonl(...Array.from(qrels.keys(), (id) => ({ id, text: `question ${id}` }))),
    "qrels.txt": lines(...judged),
    "mine.run": lines(...runLines(run)),
  };
}

function runLines(run: Pool["run"]): string[] {
  return [...run].flatMap(([query, row]) =>
    Array.from(row, ([document, score], index) => `${query} Q0 ${document} ${index + 1} ${score} x`),
  );
}

function outsideOf({ documents, qrels }: Pool): { outside: number; all: number } {
  const judged = [...qrels.values()].flatMap((row) => [...row.keys()]);
  return { outside: judged.filter((id) => !documents.includes(id)).length, all: judged.length };
}

describe("a pool", () => {
  it("counts in the ideal ranking as in trec_eval, whatever is judged without a text", async () => {
    expect(goldens.values.length).toBeGreaterThanOrEqual(120);
    let pools = 0;
    for (const [number, golden] of goldens.values.entries()) {
      const pool = drawPool(goldens.firstSeed + number);
      const { outside, all } = outsideOf(pool);
      const task = await folders.open(filesOf(pool));
      pools += outside > all * 0.05 ? 1 : 0;
      const { results } = evaluate(task.qrels, pool.run, goldens.metrics);
      [...pool.qrels.keys()].forEach((query, row) => {
        const values = results.map((result) => result.queries.get(query)?.trec ?? Number.NaN);
        values.forEach((value, index) => {
          expect(value, `pool ${number} ${query} ${goldens.metrics[index]}`).toBeCloseTo(
            golden[row]?.[index] ?? Number.NaN,
            10,
          );
        });
      });
      expect(counts(task)["unknown-judged-documents"]).toBe(outside === 0 ? undefined : outside);
    }
    expect(pools).toBeGreaterThan(100);
  });

  it("is refused where no run gives the candidates, and read where one is named", async () => {
    for (let number = 0; number < 12; number += 1) {
      const pool = drawPool(goldens.firstSeed + number);
      const { "mine.run": run = "", ...rest } = filesOf(pool);
      const { outside, all } = outsideOf(pool);
      expect(outside).toBeGreaterThan(all * 0.05);
      const error = (await folders.failure(rest)) as Error;
      expect(error).toMatchObject({ code: "task-data", fault: "unknown-document", file: "qrels.txt" });
      expect(error.message).toContain(`${outside} of ${all} judgements`);
      expect(error.message).toContain("rerank the documents of a run");
      const path = join(await folders.write({}), "own.run");
      await writeFile(path, run);
      const task = await folders.open(rest, { run: path });
      expect(task.candidates?.origin).toBe("own.run");
      expect(plain(task).qrels).toEqual(
        Object.fromEntries(Array.from(pool.qrels, ([query, row]) => [query, Object.fromEntries(row)])),
      );
    }
  });

  it("is also one beside lists of candidates, and beside a run in place of the task's own", async () => {
    const { "candidates.trec": own, ...rest } = beir;
    const judged = lines("q1\td1\t2", "q1\tp1\t3", "q1\tp2\t1", "q2\tp1\t1");
    const listed = {
      ...rest,
      "qrels/test.tsv": judged,
      "top_ranked.jsonl": jsonl(
        { "query-id": "q1", "corpus-ids": ["d1", "d2"] },
        { "query-id": "q2", "corpus-ids": ["d2"] },
      ),
    };
    expect(counts(await folders.open(listed))).toEqual({ "unknown-judged-documents": 3 });
    const path = join(await folders.write({}), "other.run");
    await writeFile(path, lines("q1 Q0 d2 1 1 x", "q2 Q0 d2 1 1 x"));
    const replaced = await folders.open(
      { ...rest, "candidates.trec": own, "qrels/test.tsv": judged },
      { run: path },
    );
    expect(replaced.candidates?.origin).toBe("other.run");
    expect(replaced.warnings).toEqual([
      {
        code: "unknown-judged-documents",
        count: 3,
        message:
          "3 of 4 judgements are of documents that the corpus lacks: nothing can find these, and they count in the ideal ranking, as in trec_eval (e.g. p1, p2, p1).",
      },
    ]);
  });

  it("of which no document has a text is another corpus", async () => {
    const many = Array.from({ length: 20 }, (_, index) => `q1\tp${index}\t1`);
    const files = { ...beir, "qrels/test.tsv": lines(...many) };
    expect(await folders.failure(files)).toMatchObject({ fault: "unknown-document", line: 1 });
    expect(counts(await folders.open({ ...beir, "qrels/test.tsv": lines(...many, "q1\td1\t1") }))).toEqual({
      "unknown-judged-documents": 20,
      "unjudged-queries": 1,
      "unjudged-candidates": 2,
    });
  });

  it("has every candidate's text: a run of other documents is refused", async () => {
    const pool = drawPool(goldens.firstSeed);
    const files = filesOf(pool);
    const outside = [...(pool.qrels.get("q0")?.keys() ?? [])].find((id) => id.startsWith("p"));
    const run = `${files["mine.run"]}q0 Q0 ${outside} 1 99 x\n`;
    expect(await folders.failure({ ...files, "mine.run": run })).toMatchObject({
      fault: "unknown-document",
      file: "mine.run",
    });
  });

  it("is not searched, neither by words nor by a model", async () => {
    const task: Task = await folders.open(filesOf(drawPool(goldens.firstSeed)));
    await expect(withFirstStage(task)).rejects.toThrow(/is a pool, which cannot be searched/);
    const searched = runEvaluation({
      task,
      systems: [source("onnx", models.tiny)],
      folder: models.folder("searched"),
      environment,
      search: true,
    });
    await expect(searched).rejects.toBeInstanceOf(TaskDataError);
  });

  it("is evaluated by a model, and the report says how many judgements lie outside", async () => {
    const number = goldens.values.findIndex((rows) => rows.length > 2);
    const pool = drawPool(goldens.firstSeed + number);
    const { outside, all } = outsideOf(pool);
    const task = await folders.open(filesOf(pool));
    const report = await runEvaluation({
      task,
      systems: [source("onnx", models.tiny, { dtype: "fp32" })],
      folder: models.folder("pool"),
      environment,
      metrics: [...goldens.metrics],
    });
    expect(report.warnings.map(({ message }) => message)).toContainEqual(
      expect.stringContaining(`${outside} of ${all} judgements`),
    );
    // The first stage's row is the run that the numbers are of.
    const row = report.systems.find(({ role }) => role === "first-stage");
    const golden = goldens.values[number] ?? [];
    row?.metrics.forEach(({ trec }, index) => {
      const mean = golden.reduce((total, values) => total + (values[index] ?? 0), 0) / golden.length;
      expect(trec).toBeCloseTo(mean, 10);
    });
    expect(row?.metrics).toHaveLength(goldens.metrics.length);
    const limited = limitQueries(task, 1);
    expect(limited.qrels.get("q0")).toEqual(task.qrels.get("q0"));
  });

  it("leaves no open files behind when its run cannot be read", async () => {
    const files = await openFolder(await folders.write(filesOf(drawPool(goldens.firstSeed))));
    await expect(openTask(files, { run: "nowhere.run" })).rejects.toMatchObject({ code: "ENOENT" });
  });
});
