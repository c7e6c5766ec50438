import { type Context, print } from "../../context.js";
import { CommandError } from "../../failure.js";
import { createProgress } from "../../progress.js";
import type { ScoreSummary } from "../../score/join-scores.js";
import { scorePairs } from "../../score/score-pairs.js";
import { openScorer } from "./open-scorer.js";
import { createPaceLine } from "./pace-line.js";
import type { ScorerChoices } from "./scorer-options.js";

export interface ScoreCommandOptions extends ScorerChoices {
  readonly pairs: string;
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
    const summary = await scorePairs(scorer.reranker, {
      ...scorer.call,
      pairs: options.pairs,
      output: options.output,
      queryField: options.queryField,
      textFields: options.textField,
      shardPairs: options.shardPairs,
      batchPairs: options.batchPairs,
      signal,
      onProgress: line,
    }).catch((error: unknown) => {
      throw scorer.translate(error);
    });
    progress.clear();
    await printSummary(summary);
  } finally {
    progress.clear();
    await scorer.dispose();
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
