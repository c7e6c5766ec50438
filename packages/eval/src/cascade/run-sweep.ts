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
import { type CascadeSweep, sweepCascade, withCosts } from "./sweep.js";
import { type CascadeCalls, type CascadeTiming, documentCostOf, timingsOf } from "./timing.js";

export interface RunCascadeSweepOptions
  extends Pick<
    RunEvaluationOptions,
    "task" | "folder" | "fresh" | "limit" | "seed" | "environment" | "signal" | "onProgress"
  > {
  readonly small: SystemSource;
  readonly large: SystemSource;
  /** What cascades are held against. Default: the large model alone. */
  readonly reference?: SystemSource | undefined;
  readonly metric?: string | undefined;
  readonly margin: number;
  readonly keeps?: readonly number[] | undefined;
  /**
   * Times whole calls of the small model, the large one, and cascades with each `keep`, in turns. Called after everything
   * is scored, with the pairs of a few queries, a query's together, and the smallest safe `keep` or those that were asked
   * for.
   */
  readonly measure?:
    | ((lists: readonly (readonly Pair[])[], keeps: readonly number[]) => Promise<CascadeCalls>)
    | undefined;
}

export interface CascadeReport extends CascadeSweep {
  readonly task: string;
  /** Names of the systems. */
  readonly systems: { readonly small: string; readonly large: string };
  readonly seed: number;
  /** Queries whose documents were timed; 0 where none were. */
  readonly timedQueries: number;
  /** Whole calls of the smallest safe `keep`, or of those that were asked for; none where nothing was timed. */
  readonly timings: readonly CascadeTiming[];
}

/** Queries whose documents are timed: enough for an interval, few beside the scoring. */
const timed = 8;

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
      small: await listsOf(small, task, options),
      large: await listsOf(large, task, options),
      reference:
        options.reference === undefined ? undefined : await listsOf(options.reference, task, options),
    };
    const { metric, margin, keeps } = options;
    const sweep = sweepCascade({ qrels: task.qrels, ...lists, metric, margin, keeps, seed });
    const pairs = measure === undefined ? [] : await timedPairs(task);
    const longest = sweep.rows.at(-1)?.keep ?? 0;
    const asked = keeps === undefined ? [sweep.smallestSafe] : [...new Set(keeps)];
    const calls =
      pairs.length < 2
        ? undefined
        : await measure?.(
            pairs,
            asked.filter((keep) => keep < longest),
          );
    const cost = calls === undefined ? undefined : documentCostOf(calls);
    return {
      task: task.id,
      systems: { small: small.name, large: large.name },
      seed,
      timedQueries: calls === undefined ? 0 : pairs.length,
      timings: calls === undefined ? [] : timingsOf(calls, seed),
      ...(cost === undefined ? sweep : withCosts(sweep, cost)),
    };
  } finally {
    await release();
  }
}

/** Of queries that are spread over the task, since neighbours are often alike. */
async function timedPairs(task: RunCascadeSweepOptions["task"]): Promise<Pair[][]> {
  const lists = [...(task.candidates?.queries ?? [])].filter(
    ([query, { documents }]) => documents.length > 0 && task.queries.has(query),
  );
  const pairs: Pair[][] = [];
  for (let place = 0; place < Math.min(timed, lists.length); place += 1) {
    const one = lists[Math.floor((place * lists.length) / Math.min(timed, lists.length))];
    if (one === undefined) continue;
    const [query, { documents }] = one;
    const texts = await task.documents.texts(documents);
    pairs.push(texts.map((document) => ({ query: task.queries.get(query) ?? "", document })));
  }
  return pairs;
}

async function listsOf(
  source: SystemSource,
  task: RunCascadeSweepOptions["task"],
  options: RunCascadeSweepOptions,
): Promise<ScoredLists> {
  const {
    task: whole,
    folder,
    fresh = false,
    small,
    large,
    reference,
    environment,
    signal,
    onProgress,
  } = options;
  const names = [small, large, ...(reference === undefined ? [] : [reference])].map(({ name }) => name);
  const fileName = fileNamesOf(names).get(source.name) ?? source.name;
  const scorer = await source.open({ signal });
  try {
    const identity = {
      system: source.name,
      // Of the whole task: a run without a limit goes on where a limited one was.
      ...taskIdentity(whole, false),
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
