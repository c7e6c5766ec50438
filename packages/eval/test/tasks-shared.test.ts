import { existsSync } from "node:fs";
import { join } from "node:path";
import { openFolder } from "@crossrank/hub";
import { describe, expect, it } from "vitest";
import { evaluate } from "../src/metrics/evaluate.js";
import { type Candidates, candidatesRun, openTask, type Task, withFirstStage } from "../src/tasks/index.js";
import { counts } from "./task-data/scene.js";

/** The evaluation data lies beside the repository where a maintainer has it; it is no part of it. */
const data = join(import.meta.dirname, "..", "..", "..", "..", "shared", "data", "eval");
const present = existsSync(data);
if (!present) console.warn(`SKIPPED: no evaluation data at ${data}; the six real tasks were not opened.`);

interface Expected {
  readonly task: string;
  readonly queries: number;
  readonly documents: number;
  readonly judgements: number;
  readonly candidates: number;
  /** nDCG@10 of the candidates' own order by trec_eval's rules, to four digits. */
  readonly firstStage: number;
  readonly warnings?: Record<string, number>;
}

const expected: Expected[] = [
  {
    task: "scifact",
    queries: 300,
    documents: 5183,
    judgements: 339,
    candidates: 30_000,
    firstStage: 0.6618,
  },
  {
    task: "xquad-en",
    queries: 1185,
    documents: 240,
    judgements: 1185,
    candidates: 23_693,
    firstStage: 0.9599,
  },
  {
    task: "xquad-de",
    queries: 1181,
    documents: 240,
    judgements: 1181,
    candidates: 23_480,
    firstStage: 0.9157,
  },
  {
    task: "feedbackqa",
    queries: 1992,
    documents: 2364,
    judgements: 1992,
    candidates: 99_600,
    // Over all orders of equal scores it is .5054.
    firstStage: 0.5056,
  },
  {
    task: "noveleval",
    queries: 21,
    documents: 420,
    judgements: 420,
    candidates: 420,
    firstStage: 0.6503,
  },
];

async function open(task: string): Promise<Task & { readonly candidates: Candidates }> {
  const opened = await openTask(await openFolder(join(data, task)));
  const { candidates } = opened;
  if (candidates === undefined) throw new Error(`${task} has no candidates`);
  return { ...opened, candidates };
}

function ndcg(task: Task, candidates: Candidates): number {
  const [result] = evaluate(task.qrels, candidatesRun(candidates), ["ndcg@10"]).results;
  return result?.mean.trec ?? Number.NaN;
}

function sizes(lists: ReadonlyMap<string, { readonly size: number }>): number {
  return [...lists.values()].reduce((sum, { size }) => sum + size, 0);
}

describe.skipIf(!present)("the real task", () => {
  it.each(expected)("$task opens with its counts and the first stage of its table", async (row) => {
    await using task = await open(row.task);
    expect(task.kind).toBe("reranking");
    expect(task.provenance).toMatchObject({ layout: "beir", split: "test" });
    expect({
      queries: task.queries.size,
      documents: task.documents.size,
      judgements: sizes(task.qrels),
      candidates: sizes(candidatesRun(task.candidates)),
      ranked: task.candidates.ranked,
      warnings: counts(task),
    }).toEqual({
      queries: row.queries,
      documents: row.documents,
      judgements: row.judgements,
      candidates: row.candidates,
      ranked: true,
      warnings: {},
    });
    expect(ndcg(task, task.candidates)).toBeCloseTo(row.firstStage, 4);
  });

  it("liveqa-med counts each of its 168 repeated candidates once", async () => {
    await using task = await open("liveqa-med");
    expect([task.queries.size, task.documents.size]).toEqual([103, 1935]);
    // 2479 lines in both files; the same 168 pairs stand twice in both, in the judgements with two grades.
    expect(sizes(task.qrels)).toBe(2479 - 168);
    expect(sizes(candidatesRun(task.candidates))).toBe(2479 - 168);
    expect(task.candidates.ranked).toBe(false);
    expect(counts(task)).toMatchObject({ "duplicate-candidates": 168, "contradictory-judgements": 168 });
  });

  // The depth of each task's own candidates.
  it.each([
    ["scifact", 100],
    ["xquad-en", 20],
    ["xquad-de", 20],
    ["feedbackqa", 50],
  ])("%s has the candidates that our BM25 finds, in the same order", async (name, depth) => {
    await using task = await open(name);
    const { candidates } = await withFirstStage(task, { depth });
    if (candidates === undefined) throw new Error("no candidates");
    expect(candidates.sha256).toBe(task.candidates.sha256);
    let largest = 0;
    for (const [query, { scores }] of task.candidates.queries) {
      const own = candidates.queries.get(query)?.scores;
      scores.forEach((score, index) => {
        largest = Math.max(largest, Math.abs(score - (own?.[index] ?? Number.NaN)));
      });
    }
    // Theirs have six digits behind the point.
    expect(largest).toBeLessThan(5.1e-7);
    expect(ndcg(task, candidates)).toBe(ndcg(task, task.candidates));
  });
});
