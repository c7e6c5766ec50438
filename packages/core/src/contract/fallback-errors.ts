import { CrossrankError } from "./errors.js";
import type { StepDown } from "./result.js";

/** The call's time budget ran out, and `whenExceeded` was `"throw"`. */
export class TimeBudgetExceededError extends CrossrankError<"time-budget-exceeded"> {
  static override readonly code = "time-budget-exceeded";

  /** The budget. */
  readonly milliseconds: number;
  constructor(milliseconds: number) {
    super(
      "time-budget-exceeded",
      `The call was not done within its time budget of ${milliseconds} ms. Rerank fewer or shorter documents, ` +
        'allow more time, or ask for whenExceeded "partial" or "passthrough".',
    );
    this.milliseconds = milliseconds;
  }
}

/** No variant is left, and `whenExhausted` was `"throw"`. */
export class VariantsExhaustedError extends CrossrankError<"variants-exhausted"> {
  static override readonly code = "variants-exhausted";

  /** Why each of them fell out, in order. */
  readonly fallbacks: readonly StepDown[];
  constructor(fallbacks: readonly StepDown[]) {
    const reasons = fallbacks.map(({ variant, error }) => `${variant}: ${error.message}`);
    super("variants-exhausted", `No variant works. ${reasons.join(" ")}`, { cause: fallbacks.at(-1)?.error });
    this.fallbacks = fallbacks;
  }
}
