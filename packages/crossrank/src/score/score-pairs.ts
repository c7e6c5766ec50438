import { InvalidInputError, type OptionNames, type Reranker, requireKnownOptions } from "@crossrank/core";
import { tryExclude } from "@crossrank/disk";
import { ScoreJobError } from "./errors.js";
import { makeFolderOf } from "./folder-storage.js";
import { joinScores, readSummary, type ScoreSummary } from "./join-scores.js";
import { manifestName, type ScoreCallOptions } from "./manifest.js";
import { isObjectPlace, storageOf } from "./queue-package.js";
import { doneShards, type PlanOptions, planJob, rowsOf, runShard, scorerOf } from "./score-job.js";

/** How far a job is. */
export interface ScorePairsProgress {
  readonly step: "reading" | "scoring" | "joining";
  /** Of `reading` bytes, else rows. */
  readonly completed: number;
  readonly total: number;
  /** Rows a second since this run began; undefined before the first. */
  readonly perSecond?: number | undefined;
  /** Until all rows are scored, at that pace. */
  readonly secondsLeft?: number | undefined;
}

export interface ScorePairsOptions extends ScoreCallOptions {
  /**
   * A file of pairs, JSONL or Parquet by its content, or s3://bucket/name with @crossrank/queue installed: `query`, and the document as `document` or `text`, a `title` before
   * it. An `id` goes into the output.
   */
  readonly pairs: string;
  /** The folder of the job, or s3://bucket/name. One that holds a job goes on with it. */
  readonly output: string;
  /** Pairs of a shard, which is scored whole or not at all. 1 to 1,000,000, default 1000. */
  readonly shardPairs?: number | undefined;
  /** Most pairs of one call of the model. 1 to 65,536, default 256. */
  readonly batchPairs?: number | undefined;
  /** Default `query`. */
  readonly queryField?: string | undefined;
  /** Fields that make the document's text, joined with a space. */
  readonly textFields?: readonly string[] | undefined;
  /** Ends the run after the batch under way; run again it goes on with the shard. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ScorePairsProgress) => void) | undefined;
}

const names: OptionNames<ScorePairsOptions> = {
  pairs: "string",
  output: "string",
  shardPairs: "number",
  batchPairs: "number",
  queryField: "name",
  textFields: true,
  activation: true,
  instruction: true,
  longDocuments: true,
  signal: "AbortSignal",
  onProgress: "function",
};

/**
 * Scores a file of pairs, shard by shard, into a folder: scores.jsonl has a line a row in the order of the file, and
 * errors.jsonl those rows that have no score. What is done stays done: after an abort or a kill the same call goes on, and
 * ends with the same bytes.
 *
 * @throws {ScoreJobError} when the pairs cannot be read, when the folder holds a job of other pairs, another model or
 * other options, or another process runs it; {InvalidInputError} for a bad option, and for a listwise model;
 * {FileWriteError}; the signal's reason.
 */
export async function scorePairs(reranker: Reranker, options: ScorePairsOptions): Promise<ScoreSummary> {
  const { plan, call } = readScoreOptions(options);
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  const scorer = await scorerOf(reranker, call);
  const storage = { input: await storageOf(plan.pairs), output: await storageOf(plan.output) };
  const { place } = await storage.output.openOutput(plan.output);
  const release = await excludeOthers(place);
  try {
    const onRead = (completed: number, total: number): void =>
      onProgress?.({ step: "reading", completed, total });
    const job = await planJob(scorer, storage, { ...plan, onRead });
    const { manifest } = job;
    const total = manifest.input.rows;
    const { isDone, count } = await doneShards(job);
    const joined = count === manifest.shards ? await readSummary(job) : undefined;
    if (joined !== undefined) return joined;
    const pace = paceOf(total);
    let completed = 0;
    for (let shard = 0; shard < manifest.shards; shard += 1)
      if (isDone(shard)) completed += rowsOf(manifest, shard);
    const before = completed;
    onProgress?.({ step: "scoring", ...pace(before, completed) });
    for (let shard = 0; shard < manifest.shards; shard += 1) {
      signal?.throwIfAborted();
      if (isDone(shard)) continue;
      const start = completed;
      await runShard(job, scorer, shard, signal, ({ rows }) => {
        completed = start + rows;
        onProgress?.({ step: "scoring", ...pace(before, completed) });
      });
    }
    onProgress?.({ step: "joining", completed: total, total });
    const summary = await joinScores(job, signal);
    // Nobody else joins it here: what a kill in the middle of that left is nobody's.
    await job.output.removeUnfinished(".");
    return summary;
  } finally {
    await release();
  }
}

/**
 * Of a folder on this machine. In S3 the second one wastes its work: what stands there stays, and is the same.
 * @throws {ScoreJobError}
 */
async function excludeOthers(place: string): Promise<() => Promise<void>> {
  if (isObjectPlace(place)) return async () => undefined;
  const path = `${place}/${manifestName}`;
  await makeFolderOf(path);
  const release = await tryExclude(path);
  if (release !== undefined) return release;
  const problem = "is being scored into by another process. Wait, or name another folder";
  throw new ScoreJobError("busy", place, problem);
}

/** @throws {InvalidInputError} */
export function readScoreOptions(options: ScorePairsOptions): {
  readonly plan: PlanOptions;
  readonly call: ScoreCallOptions;
} {
  requireKnownOptions(options, names, "scorePairs");
  const { shardPairs = 1000, batchPairs = 256, queryField = "query", textFields } = options;
  for (const name of ["pairs", "output"] as const) {
    if (typeof options[name] !== "string" || options[name] === "") {
      throw new InvalidInputError(name, `must be a ${name === "pairs" ? "file" : "folder"}`);
    }
  }
  requireCount("shardPairs", shardPairs, 1_000_000);
  requireCount("batchPairs", batchPairs, 65_536);
  const isFields =
    textFields === undefined ||
    (Array.isArray(textFields) &&
      textFields.length > 0 &&
      textFields.every((field) => typeof field === "string" && field !== ""));
  if (!isFields)
    throw new InvalidInputError("textFields", 'must be names of fields, such as ["title", "body"]');
  const { pairs, output, activation, instruction, longDocuments, signal } = options;
  return {
    plan: { pairs, output, queryField, textFields: textFields ?? null, shardPairs, batchPairs, signal },
    call: { activation, instruction, longDocuments },
  };
}

function requireCount(name: string, value: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return;
  throw new InvalidInputError(name, `must be a whole number from 1 to ${most}`);
}

/** Pace and time left, of rows that this run has scored. */
export function paceOf(
  total: number,
): (before: number, completed: number) => Omit<ScorePairsProgress, "step"> {
  const start = performance.now();
  return (before, completed) => {
    const seconds = (performance.now() - start) / 1000;
    const done = completed - before;
    if (done <= 0 || seconds <= 0) return { completed, total };
    const perSecond = done / seconds;
    return { completed, total, perSecond, secondsLeft: (total - completed) / perSecond };
  };
}
