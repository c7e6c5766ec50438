import { CrossrankError } from "@crossrank/core";

/** A program that the reference execution does not cover. It is refused: a guess would be a score of something else. */
export class UntranslatableProgramError extends CrossrankError<"untranslatable-program"> {
  static override readonly code = "untranslatable-program";

  /** Type of the operation at fault, e.g. `"conv"`; undefined where the program as a whole is. */
  readonly operation: string | undefined;
  /** Name of the value that it makes. */
  readonly value: string | undefined;
  /** What is wrong, as a clause. */
  readonly problem: string;
  /** What to do, as a sentence without its full stop. */
  readonly fix: string;

  constructor(facts: { operation?: string; value?: string; problem: string; fix?: string }) {
    const { operation, value, problem, fix = usualFix } = facts;
    const place = operation === undefined ? "the program" : `${operation} "${value}"`;
    super("untranslatable-program", `${place}: ${problem}. ${fix}.`);
    this.operation = operation;
    this.value = value;
    this.problem = problem;
    this.fix = fix;
  }
}

const usualFix =
  "The reference execution covers what crossrank and coremltools write for encoders: convert the model with " +
  "`crossrank convert --to mlpackage`, or run this package on a Mac";

/**
 * The backend that computes the translated program comes with no package that is installed. Fields and code are those
 * of the `crossrank` package's error for any backend that is not installed, so that a program asks for one code.
 */
export class BackendNotInstalledError extends CrossrankError<"backend-not-installed"> {
  static override readonly code = "backend-not-installed";

  readonly backend: string;
  /** npm packages that have to be installed. */
  readonly install: readonly string[];

  constructor(facts: { backend: string; install: readonly string[] }, options?: { cause?: unknown }) {
    const { backend, install } = facts;
    const message = `backend ${backend} is not installed. Install it: npm install ${install.join(" ")}`;
    super("backend-not-installed", message, options);
    this.backend = backend;
    this.install = install;
  }
}
