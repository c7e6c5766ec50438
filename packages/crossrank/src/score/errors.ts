import { CrossrankError } from "@crossrank/core";

/**
 * - `input`: the pairs cannot be read, or are not what they were when the job began.
 * - `output`: the folder holds something else than a job, or a damaged one.
 * - `model`: the job was begun with another model, other settings or another version.
 * - `options`: the job was begun with other options.
 * - `busy`: another process scores the same job.
 * - `unfinished`: shards have failed, so that there is nothing whole to join.
 */
export type ScoreJobProblem = "input" | "output" | "model" | "options" | "busy" | "unfinished";

/** A job of `score` cannot go on. What it has scored stays. */
export class ScoreJobError extends CrossrankError<"score-job"> {
  static override readonly code = "score-job";

  readonly reason: ScoreJobProblem;
  /** The file or folder that it is about. */
  readonly path: string;

  constructor(reason: ScoreJobProblem, path: string, problem: string, options?: { cause?: unknown }) {
    super("score-job", `${path}: ${problem}`, options);
    this.reason = reason;
    this.path = path;
  }
}
