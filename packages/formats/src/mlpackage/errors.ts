import { CrossrankError } from "@crossrank/core";

/** A Core ML package or model file cannot be read or written: damaged, hostile, beyond a limit, or of a kind that is not supported. */
export class ModelPackageError extends CrossrankError<"model-package"> {
  static override readonly code = "model-package";

  /** The package, or the file in it that is at fault. */
  readonly path: string;
  /** What is wrong, as a clause. */
  readonly problem: string;
  /** What to do, as a sentence without its full stop. */
  readonly fix: string;

  constructor(facts: { path: string; problem: string; fix: string }, options?: { cause?: unknown }) {
    super("model-package", `${facts.path}: ${facts.problem}. ${facts.fix}.`, options);
    this.path = facts.path;
    this.problem = facts.problem;
    this.fix = facts.fix;
  }
}
