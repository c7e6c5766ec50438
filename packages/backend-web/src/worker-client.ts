import {
  type CallOptions,
  type CallTable,
  type MortalClient,
  PendingCalls,
  startClock,
} from "@crossrank/backend-kit";
import { type AnswerMessage, messageOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { onAbort, untilAborted } from "@crossrank/core";

export interface WorkerFacts {
  readonly start: () => Worker;
  /** The runtime's name, for messages. */
  readonly runtime: string;
  readonly deadlines: { readonly load: number; readonly run: number };
}

/**
 * A runtime in a web worker. One that does not answer in time is terminated, whatever it is at, and calls fail with
 * stage `deadline`; one whose script fails makes them fail with stage `crash`, or `runtime` before its first answer.
 */
export class WorkerClient<Calls extends CallTable<Calls>> implements MortalClient<Calls> {
  readonly #worker: Worker;
  readonly #facts: WorkerFacts;
  readonly #pending: PendingCalls<Calls> = new PendingCalls();
  #stopClock: (() => void) | undefined;
  #hasAnswered = false;

  /** @throws {RuntimeFailure} of stage `runtime`, when the worker cannot be started. */
  constructor(facts: WorkerFacts) {
    this.#facts = facts;
    try {
      this.#worker = facts.start();
    } catch (cause) {
      throw new RuntimeFailure("runtime", `its worker does not start (${messageOf(cause)})`, { cause });
    }
    this.#worker.addEventListener("message", ({ data }: MessageEvent<AnswerMessage<Calls>>) => {
      this.#hasAnswered = true;
      this.#pending.settle(data);
      const isCrash = "failure" in data && data.failure.stage === "crash";
      if (isCrash) this.#end(new RuntimeFailure("crash", data.failure.message));
      if (this.#pending.size === 0) this.#watch(false);
    });
    const failed = (event: Event): void => {
      // Handled here: it need not be reported as an error of the page.
      event.preventDefault();
      const said = "message" in event && typeof event.message === "string" ? event.message : "";
      const why = said === "" ? "its script cannot be loaded or run" : said;
      this.#end(
        this.#hasAnswered
          ? new RuntimeFailure("crash", `${facts.runtime}'s worker failed (${why})`)
          : new RuntimeFailure("runtime", `its worker does not start (${why})`),
      );
    };
    this.#worker.addEventListener("error", failed);
    this.#worker.addEventListener("messageerror", failed);
  }

  get death(): Error | undefined {
    return this.#pending.death;
  }

  async call<Kind extends keyof Calls>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
    { signal, transfer = [] }: CallOptions = {},
  ): Promise<Calls[Kind]["result"]> {
    signal?.throwIfAborted();
    if (this.#pending.death !== undefined) throw this.#pending.death;
    const { load, run } = this.#facts.deadlines;
    const { id, answer } = this.#pending.add<Kind>(
      (next) => this.#worker.postMessage({ id: next, kind, argument }, [...transfer]),
      kind === "load" ? load : run,
    );
    this.#watch(true);
    const stopWaiting = signal && onAbort(signal, () => this.#worker.postMessage({ id, kind: "cancel" }));
    try {
      return await untilAborted(answer, signal);
    } finally {
      stopWaiting?.();
    }
  }

  async close(): Promise<void> {
    if (this.#pending.death !== undefined) return;
    // A worker that dies meanwhile has freed its memory too.
    await this.call("release", undefined).catch(() => undefined);
    this.#end(new RuntimeFailure("crash", `${this.#facts.runtime}'s worker was released`));
  }

  /** Terminates the worker, whatever it is at. */
  async abandon(): Promise<void> {
    this.#end(
      new RuntimeFailure("crash", `${this.#facts.runtime}'s worker was ended, because it was not needed`),
    );
  }

  #end(reason: Error): void {
    this.#worker.terminate();
    this.#watch(false);
    this.#pending.end(reason);
  }

  #watch(pending: boolean): void {
    if (!pending) {
      this.#stopClock?.();
      this.#stopClock = undefined;
      return;
    }
    this.#stopClock ??= startClock((passed) => {
      const limit = this.#pending.age(passed);
      if (limit === undefined) return;
      const late = `${this.#facts.runtime} did not answer within ${limit / 1000} s, so its worker was ended`;
      this.#end(new RuntimeFailure("deadline", late));
    });
  }
}
