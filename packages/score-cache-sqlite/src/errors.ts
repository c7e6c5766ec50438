import { CrossrankError } from "@crossrank/core";

/** A file of scores cannot be used. */
export class ScoreCacheFileError extends CrossrankError<"score-cache-file"> {
  static override readonly code = "score-cache-file";

  readonly path: string;
  /**
   * - `not-a-cache`: the file is something else, and stays as it is.
   * - `newer`: it was written by a later version.
   * - `damaged`: what it holds is not what was written.
   * - `locked`: other processes were writing for as long as this one waits.
   * - `unusable`: the system does not let it be opened, read or written.
   */
  readonly reason: "not-a-cache" | "newer" | "damaged" | "locked" | "unusable";
  constructor(
    facts: { path: string; reason: ScoreCacheFileError["reason"]; problem: string; fix: string },
    options?: { cause?: unknown },
  ) {
    super("score-cache-file", `${facts.path}: ${facts.problem}. ${facts.fix}.`, options);
    this.path = facts.path;
    this.reason = facts.reason;
  }
}

/** What SQLite says, as a typed error. What it did not say is itself. */
export function asFileError(path: string, error: unknown): unknown {
  const code = error instanceof Error ? String(Reflect.get(error, "code") ?? "") : "";
  const problem = error instanceof Error ? error.message : String(error);
  const fail = (reason: ScoreCacheFileError["reason"], why: string, fix: string): ScoreCacheFileError =>
    new ScoreCacheFileError({ path, reason, problem: why, fix }, { cause: error });
  if (/^SQLITE_(CORRUPT|NOTADB|FORMAT)/.test(code)) {
    return fail("damaged", `the score cache is damaged (${problem})`, damagedFix);
  }
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) return fail("locked", "other processes kept on writing", lockedFix);
  if (/^SQLITE_FULL/.test(code)) {
    return fail("unusable", "the disk is full", "Make room, or choose a file on another disk");
  }
  if (/^SQLITE_(READONLY|CANTOPEN|IOERR|PERM|AUTH|NOLFS)/.test(code) || /ConnectionFailed/.test(problem)) {
    return fail("unusable", `the system does not let it be used (${problem})`, "Choose another file");
  }
  return error;
}

export const damagedFix =
  "Delete it, with the files that have its name and -wal and -shm behind: its scores are computed again";
export const lockedFix = "Try again, or give this process a file of its own";

/** Whether somebody else holds the file just now. */
export function isBusy(error: unknown): boolean {
  return error instanceof Error && /^SQLITE_(BUSY|LOCKED)/.test(String(Reflect.get(error, "code") ?? ""));
}
