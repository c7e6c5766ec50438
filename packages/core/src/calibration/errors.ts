import { CrossrankError } from "../contract/errors.js";

/** The judged pairs give no calibration. */
export class CalibrationError extends CrossrankError<"calibration"> {
  static override readonly code = "calibration";

  /**
   * - `too-few`: fewer pairs, or fewer of one class, than a fit can be trusted with.
   * - `one-class`: all pairs are relevant, or none is.
   * - `no-order`: relevant documents do not score above the others, so that no calibration keeps the order.
   * - `no-convergence`: the fit found no minimum within its bound of iterations.
   */
  readonly reason: "too-few" | "one-class" | "no-order" | "no-convergence";
  readonly pairs: number;
  /** How many of them are relevant. */
  readonly relevant: number;
  constructor(facts: {
    reason: CalibrationError["reason"];
    pairs: number;
    relevant: number;
    problem: string;
    fix: string;
  }) {
    super("calibration", `No calibration: ${facts.problem}. ${facts.fix}.`);
    this.reason = facts.reason;
    this.pairs = facts.pairs;
    this.relevant = facts.relevant;
  }
}
