import { InvalidInputError } from "../contract/errors.js";
import { TimeBudgetExceededError } from "../contract/fallback-errors.js";
import type { ScoreOptions, TimeBudget } from "../contract/reranker.js";
import type { PairScore, Status } from "../contract/result.js";
import type { CrossrankWarning } from "../contract/warnings.js";
import { type DerivedSignal, derive } from "../run/abort.js";

const endings: readonly TimeBudget["whenExceeded"][] = ["partial", "passthrough", "throw"];

/** The longest that a timer can wait; it fires at once for more. */
const mostMilliseconds = 2 ** 31 - 1;

type StopOptions = Pick<ScoreOptions, "signal" | "whenAborted" | "timeBudget">;

/** Gives the work a deadline, and takes its timer and listener away when it has settled. */
export async function withDeadline<T>(
  options: StopOptions,
  work: (deadline: Deadline) => Promise<T>,
): Promise<T> {
  const deadline = new Deadline(options);
  try {
    return await work(deadline);
  } finally {
    deadline.clear();
  }
}

/** What may stop a call before it is done: the caller's signal, and its time budget. */
export class Deadline {
  /** When the call began, on `performance.now`'s clock. */
  readonly started: number = performance.now();
  /** Aborted by whichever comes first. */
  readonly signal: AbortSignal | undefined;
  readonly #options: StopOptions;
  /** Resolves when the budget runs out; undefined where there is none. */
  readonly #expiry: Promise<void> | undefined;
  #exceeded: TimeBudgetExceededError | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Of the caller's signal, so that no listener of a runtime stays on that one. */
  readonly #derived: DerivedSignal | undefined;

  /** @throws {InvalidInputError} when the budget is none. */
  constructor(options: StopOptions) {
    const { signal, timeBudget } = options;
    this.#options = options;
    if (timeBudget !== undefined) requireBudget(timeBudget);
    if (signal === undefined && timeBudget === undefined) return;
    const derived = derive(signal);
    this.#derived = derived;
    this.signal = derived.signal;
    if (timeBudget === undefined) return;
    const { milliseconds } = timeBudget;
    this.#expiry = new Promise((resolve) => {
      this.#timer = setTimeout(() => {
        this.#exceeded = new TimeBudgetExceededError(milliseconds);
        // Resolved before the abort, so that the answer does not depend on how the work takes the abort.
        resolve();
        derived.abort(this.#exceeded);
      }, milliseconds);
    });
  }

  /** Whether the budget ran out, and before the caller aborted. */
  get exceeded(): boolean {
    return this.#exceeded !== undefined && this.signal?.reason === this.#exceeded;
  }

  /** Whether an error is only the deadline's own signal coming back. */
  isReason(error: unknown): boolean {
    return this.signal?.aborted === true && error === this.signal.reason;
  }

  /**
   * The work's own outcome; or, at the moment the budget runs out, `answer`'s. The work goes on until it notices the
   * signal, and nobody waits for that.
   *
   * @param onLateFailure told what the work rejects with after the answer, the signal's reason excepted. Must not throw.
   */
  async limit<T>(work: Promise<T>, answer: () => T, onLateFailure?: (error: unknown) => void): Promise<T> {
    if (this.#expiry === undefined) return work;
    const outcome = await Promise.race([work.then((value) => ({ value })), this.#expiry]);
    if (outcome !== undefined) return outcome.value;
    // Before the answer, which may throw.
    work.catch((error: unknown) => {
      if (!this.isReason(error)) onLateFailure?.(error);
    });
    return answer();
  }

  /** What a call that was stopped answers. @throws the signal's reason where the caller asked for that. */
  statusWhenStopped(): Exclude<Status, "reranked"> {
    const { timeBudget, whenAborted } = this.#options;
    if (this.exceeded) {
      if (timeBudget !== undefined && timeBudget.whenExceeded !== "throw") return timeBudget.whenExceeded;
    } else if (whenAborted === "partial") return "partial";
    throw this.signal?.reason;
  }

  /** What has to be said about scores that stand when the budget ran out; nothing where it did not. */
  warnings(scores: readonly PairScore[]): CrossrankWarning[] {
    const budget = this.#options.timeBudget;
    if (!this.exceeded || budget === undefined) return [];
    const scored = scores.filter(({ logit }) => logit !== null).length;
    return [
      {
        code: "time-budget-exceeded",
        message:
          `the time budget of ${budget.milliseconds} ms ran out: ${scored} of ${scores.length} documents have a ` +
          `score, ${budget.whenExceeded === "passthrough" ? "and the order is the caller's" : "the others rank last"}`,
        milliseconds: budget.milliseconds,
        scored,
        count: scores.length,
      },
    ];
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#derived?.release();
  }
}

/** @throws {InvalidInputError} */
export function requireBudget({ milliseconds, whenExceeded }: TimeBudget): void {
  if (!(typeof milliseconds === "number" && milliseconds > 0 && milliseconds <= mostMilliseconds)) {
    const found = typeof milliseconds === "number" ? milliseconds : typeof milliseconds;
    throw new InvalidInputError(
      "timeBudget.milliseconds",
      `must be a number above 0 and at most ${mostMilliseconds}, not ${found}`,
    );
  }
  if (!endings.includes(whenExceeded)) {
    throw new InvalidInputError(
      "timeBudget.whenExceeded",
      `must be one of ${endings.join(", ")}, not ${String(whenExceeded)}`,
    );
  }
}
