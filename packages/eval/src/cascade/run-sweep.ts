import { join } from "node:path";
import type { Pair } from "@crossrank/core";
import { EvaluationSetupError } from "../run/errors.js";
import { lockFolder } from "../run/file-lock.js";
import {
  fileNamesOf,
  type RunEvaluationOptions,
  type SystemSource,
  systemIdentity,
  taskIdentity,
} from "../run/run-evaluation.js";
import { scoreCandidates } from "../run/score-candidates.js";
import type { ScoredLists } from "../run/scored-lists.js";
import { limitQueries } from "../tasks/candidates.js";
import { type CascadeSweep, type DocumentCost, sweepCascade } from "./sweep.js";

export interface RunCascadeSweepOptions
  extends Pick<
    RunEvaluationOptions,
    "task" | "folder" | "fresh" | "limit" | "seed" | "environment" | "signal" | "onProgress"
  > {
  readonly small: SystemSource;
  readonly large: SystemSource;
  readonly metric?: string | undefined;
  readonly margin: number;
  readonly keeps?: readonly number[] | undefined;
  /**
   * Milliseconds that a document of these lists takes each model, measured together; undefined where that cannot be
   * told. Called after everything is scored, with the pairs of a few queries, a query's together.
   */
  readonly measure?: ((lists: readonly (readonly Pair[])[]) => Promise<DocumentCost | undefined>) | undefined;
}

export interface CascadeReport extends CascadeSweep {
  readonly task: string;
  /** Names of the systems. */
  readonly systems: { readonly small: string; readonly large: string };
  readonly seed: number;
  /** Queries whose documents were timed; 0 where none were. */
  readonly timedQueries: number;
}

/** Queries whose documents are timed: enough for a mean of documents, few beside the scoring. */
const timed = 4;

/**
 * Scores a task's candidates with two models, as `runEvaluation` does, and says what cascades of them come to. Scores
 * are stored as they come, so that a run that was ended goes on where it was.
 *
 * @throws {EvaluationSetupError} for a task without candidates or judgements; otherwise as `runEvaluation`.
 */
export async function runCascadeSweep(options: RunCascadeSweepOptions): Promise<CascadeReport> {
  const { folder, small, large, seed = 1, limit, measure } = options;
  const task = limit === undefined ? options.task : limitQueries(options.task, limit);
  const candidates = task.candidates?.queries;
  if (candidates === undefined) {
    throw new EvaluationSetupError(
      `${task.id} has no candidates to rerank. Give it a run file or a first stage.`,
    );
  }
  if (task.qrels.size === 0) {
    throw new EvaluationSetupError(`${task.id} has no judgements, so that no loss can be measured.`);
  }
  if (small.name === large.name)
    throw new EvaluationSetupError(`${small.name} is both stages. Name two systems.`);
  const release = await lockFolder(join(folder, "scores", "lock"));
  try {
    const lists = {
      small: await listsOf(small, { ...options, task }),
      large: await listsOf(large, { ...options, task }),
    };
    const chosen = [...task.queries.keys()]
      .filter((query) => (candidates.get(query)?.documents.length ?? 0) > 0)
      .slice(0, timed);
    const pairs: Pair[][] = [];
    for (const query of measure === undefined ? [] : chosen) {
      const texts = await task.documents.texts(candidates.get(query)?.documents ?? []);
      pairs.push(texts.map((document) => ({ query: task.queries.get(query) ?? "", document })));
    }
    const milliseconds = pairs.length === 0 ? undefined : await measure?.(pairs);
    const { metric, margin, keeps } = options;
    return {
      task: task.id,
      systems: { small: small.name, large: large.name },
      seed,
      timedQueries: milliseconds === undefined ? 0 : pairs.length,
      ...sweepCascade({ qrels: task.qrels, ...lists, metric, margin, keeps, milliseconds, seed }),
    };
  } finally {
    await release();
  }
}

async function listsOf(source: SystemSource, options: RunCascadeSweepOptions): Promise<ScoredLists> {
  const { task, folder, fresh = false, small, large, environment, signal, onProgress } = options;
  const fileName = fileNamesOf([small.name, large.name]).get(source.name) ?? source.name;
  const scorer = await source.open({ signal });
  try {
    const identity = {
      system: source.name,
      ...taskIdentity(task, false),
      ...systemIdentity(scorer.description, source.packages ?? environment.packages),
    };
    const path = join(folder, "scores", `${fileName}.jsonl`);
    const scored = await scoreCandidates({
      ...{ system: source.name, scorer, identity, fresh, signal, onProgress, task, path },
    });
    return scored.lists;
  } finally {
    await scorer.close();
  }
}
