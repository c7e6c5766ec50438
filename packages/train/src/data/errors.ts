import { CrossrankError } from "@crossrank/core";

/**
 * What is wrong with a row: `malformed` (not JSON, not UTF-8, not of its file's form), `empty` (a text without
 * content), `too-large`, `bad-label` (no finite number in its range), `contradiction` (the same query and document
 * with another label than before).
 */
export type RowFault = "malformed" | "empty" | "too-large" | "bad-label" | "contradiction";

export interface BadRow {
  /** As the caller named it. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly fault: RowFault;
  /** A clause, e.g. `"label" is NaN`. */
  readonly problem: string;
}

/** Most rows that are named in a message or a report; the others are counted. */
export const mostNamed = 20;

/** Rows that nothing may be trained on. Nothing was trained. */
export class TrainingDataError extends CrossrankError<"training-data"> {
  static override readonly code = "training-data";

  /** The first ones, at most {@link mostNamed}; none where the file as a whole is meant. */
  readonly rows: readonly BadRow[];
  /** All of them. */
  readonly count: number;

  constructor(
    facts: { problem: string; fix: string; rows?: readonly BadRow[]; count?: number },
    options?: { cause?: unknown },
  ) {
    const { rows = [], count = rows.length } = facts;
    const named = rows.slice(0, mostNamed);
    const list = named.map(({ file, line, problem }) => `\n  ${file}:${line}: ${problem}`).join("");
    const more = count > named.length ? `\n  and ${count - named.length} more` : "";
    super("training-data", `${facts.problem}. ${facts.fix}${list}${more}`, options);
    this.rows = named;
    this.count = count;
  }
}
