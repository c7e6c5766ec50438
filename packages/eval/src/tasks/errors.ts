import { CrossrankError } from "@crossrank/core";

/** The files are of no layout that is known, or lack a part of the one that they seem to be. */
export class TaskLayoutError extends CrossrankError<"task-layout"> {
  static override readonly code = "task-layout";

  /** Dataset id or folder. */
  readonly task: string;
  /** What was looked for, one a layout or part. */
  readonly expected: readonly string[];
  /** What is there: files, splits or subsets, as far as it helps. */
  readonly found: readonly string[];

  constructor(facts: {
    task: string;
    problem: string;
    expected: readonly string[];
    found: readonly string[];
    fix: string;
  }) {
    const found = facts.found.length === 0 ? "nothing" : facts.found.join(", ");
    super(
      "task-layout",
      `${facts.task} ${facts.problem}. Looked for ${facts.expected.join("; or ")}. There is: ${found}. ${facts.fix}`,
    );
    this.task = facts.task;
    this.expected = facts.expected;
    this.found = facts.found;
  }
}

/**
 * What is wrong with a row: `malformed` (not of the form that its file has), `duplicate` (an id that stands for two
 * different things), `unknown-query`, `unknown-document` (an id that no file of the task explains), `empty` (a text or
 * a list without content), `non-finite` (a score that is no finite number).
 */
export type TaskFault =
  | "malformed"
  | "duplicate"
  | "unknown-query"
  | "unknown-document"
  | "empty"
  | "non-finite";

/** A row of a task's file that cannot be used. Nothing is evaluated on the rest. */
export class TaskDataError extends CrossrankError<"task-data"> {
  static override readonly code = "task-data";

  readonly fault: TaskFault;
  /** Relative to the task, or as the caller named it. */
  readonly file: string;
  /** From 1; in a parquet file the row. Undefined where the file as a whole is meant. */
  readonly line: number | undefined;

  constructor(
    facts: { fault: TaskFault; file: string; line?: number | undefined; problem: string; fix?: string },
    options?: { cause?: unknown },
  ) {
    const place = facts.line === undefined ? facts.file : `${facts.file}:${facts.line}`;
    const fix = facts.fix ?? "Correct the line, or get the file anew.";
    super("task-data", `${place}: ${facts.problem}. ${fix}`, options);
    this.fault = facts.fault;
    this.file = facts.file;
    this.line = facts.line;
  }
}
