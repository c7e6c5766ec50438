import { CrossrankError } from "@crossrank/core";

/** A matrix that cannot be run as it is described. */
export class MatrixConfigError extends CrossrankError<"matrix-config"> {
  static override readonly code = "matrix-config";

  /** Everything that is wrong, each with its place, e.g. `"tasks[0].limit must be a whole number above 0"`. */
  readonly faults: readonly string[];

  /** @param path of the configuration, as messages call it. */
  constructor(path: string, faults: readonly string[]) {
    super("matrix-config", `${path}: ${faults.join("; ")}`);
    this.faults = faults;
  }
}

/** A baseline that is not there, or is none. */
export class BaselineFileError extends CrossrankError<"baseline-file"> {
  static override readonly code = "baseline-file";

  readonly path: string;
  /** Whether there is no file of this name. */
  readonly isMissing: boolean;

  constructor(facts: { path: string; problem: string; isMissing: boolean }, options?: { cause?: unknown }) {
    super("baseline-file", `cannot read the baseline ${facts.path}: ${facts.problem}`, options);
    this.path = facts.path;
    this.isMissing = facts.isMissing;
  }
}
