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
