import type { Reranker } from "@crossrank/core";
import { type Context, print } from "../../context.js";
import { CommandError } from "../../failure.js";
import { createProgress } from "../../progress.js";
import type { ScoreSummary } from "../../score/join-scores.js";
import { loadQueuePackage, queueName, storageOf } from "../../score/queue-package.js";
import { planJob, scorerOf } from "../../score/score-job.js";
import { readScoreOptions, type ScorePairsOptions, scorePairs } from "../../score/score-pairs.js";
import { scoreThroughQueue } from "../../score/score-through-queue.js";
import { openScorer } from "./open-scorer.js";
import { createPaceLine } from "./pace-line.js";
import type { ScorerChoices } from "./scorer-options.js";

export interface ScoreCommandOptions extends ScorerChoices {
  readonly pairs?: string;
  readonly queue?: string;
  readonly status?: true;
  readonly retry?: true;
  readonly output: string;
  readonly queryField?: string;
  readonly textField?: readonly string[];
  readonly shardPairs?: number;
  readonly batchPairs?: number;
}

export async function score(options: ScoreCommandOptions, { signal, log }: Context): Promise<void> {
  const progress = createProgress(process.stderr);
  const line = createPaceLine(process.stderr, progress);
  const scorer = await openScorer(options, { signal, progress });
  try {
    log(`scoring ${options.pairs} into ${options.output}`);
    const given = {
      ...scorer.call,
      pairs: options.pairs ?? "",
      output: options.output,
      queryField: options.queryField,
      textFields: options.textField,
      shardPairs: options.shardPairs,
      batchPairs: options.batchPairs,
      signal,
      onProgress: line,
    };
    const running =
      options.queue === undefined
        ? scorePairs(scorer.reranker, given)
        : scoreWithWorkers(scorer.reranker, given, options.queue, signal);
    const summary = await running.catch((error: unknown) => {
      throw scorer.translate(error);
    });
    progress.clear();
    await printSummary(summary);
  } finally {
    progress.clear();
    await scorer.dispose();
  }
}

/** The model is open here for what it is, and scores nothing. */
async function scoreWithWorkers(
  reranker: Reranker,
  given: ScorePairsOptions,
  url: string,
  signal: AbortSignal,
): Promise<ScoreSummary> {
  const { plan, call } = readScoreOptions(given);
  const { openShardQueue } = await loadQueuePackage("--queue");
  const scorer = await scorerOf(reranker, call);
  const name = queueName(scorer.facts.model.fingerprint);
  const queue = await openShardQueue({ url, name });
  try {
    const storage = { input: await storageOf(plan.pairs), output: await storageOf(plan.output) };
    const onRead = (completed: number, total: number): void =>
      given.onProgress?.({ step: "reading", completed, total });
    const job = await planJob(scorer, storage, { ...plan, onRead });
    return await scoreThroughQueue(job, queue, {
      signal,
      onProgress: given.onProgress,
      onNoWorkers: () =>
        process.stderr.write(
          `note: no worker listens to ${name}. Start crossrank worker --queue with this model and its options\n`,
        ),
    });
  } finally {
    await queue.close();
  }
}

/** @throws {CommandError} where no row has a score. */
export async function printSummary(summary: ScoreSummary): Promise<void> {
  const { output, rows, scored, failed } = summary;
  if (failed > 0) {
    process.stderr.write(`note: ${failed} of ${rows} rows have no score; ${output}/errors.jsonl says why\n`);
  }
  if (rows > 0 && scored === 0) {
    throw new CommandError(
      `no row of the pairs has a score: ${output}/errors.jsonl says why. Name the fields with --query-field and --text-field`,
    );
  }
  await print(`${JSON.stringify(summary)}\n`);
}
