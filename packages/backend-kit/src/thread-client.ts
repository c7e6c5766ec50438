import { Worker } from "node:worker_threads";
import { onAbort, untilAborted } from "@crossrank/core";
import {
  type AnswerMessage,
  type CallOptions,
  type CallTable,
  type MortalClient,
  type ReadyMessage,
  RuntimeFailure,
} from "./calls.js";
import { endsWithin } from "./clock.js";
import { messageOf, shortageOf } from "./failure-text.js";
import { closeNativeSection, openNativeSection, type ThreadData } from "./native-section.js";
import { PendingCalls } from "./pending-calls.js";
import { type ProgramFacts, ProgramStart } from "./program-start.js";

/** For a thread that has released all to end by itself, in milliseconds. */
const endingPatience = 1000;

/**
 * A runtime in a worker thread of this process. The thread keeps the process alive only while a call is under way, so a
 * program that forgets to dispose still ends.
 */
export class ThreadClient<Calls extends CallTable<Calls>> implements MortalClient<Calls> {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #pending: PendingCalls<Calls> = new PendingCalls();
  #isAbandoned = false;

  /** @param facts.entry the program that the thread runs: one that calls `serveCalls`. */
  constructor(facts: ProgramFacts) {
    const { entry, runtime } = facts;
    const cells = openNativeSection();
    const workerData: ThreadData = { cells };
    // Without the parent's flags: a loader or debugger given to the program is not meant for this thread.
    this.#worker = new Worker(entry, { name: runtime, execArgv: [], workerData });
    const start = new ProgramStart(facts, "thread", (error) => {
      this.#pending.end(error);
      void this.#worker.terminate();
    });
    this.#worker.on("message", (message: AnswerMessage<Calls> | ReadyMessage) => {
      if ("ready" in message) return start.succeeded();
      this.#pending.settle(message);
      if (this.#pending.size === 0) this.#worker.unref();
    });
    const fail = (error: unknown): void => {
      const shortage = shortageOf(error);
      const failure =
        shortage === undefined
          ? (start.failure(`failed (${messageOf(error)})`, error) ??
            new RuntimeFailure("crash", `${runtime}'s thread failed (${messageOf(error)})`, { cause: error }))
          : new RuntimeFailure("limit", `${runtime}'s thread does not start: ${shortage}`, { cause: error });
      this.#pending.end(failure);
    };
    this.#worker.on("messageerror", (error) => {
      fail(error);
      void this.#worker.terminate();
    });
    this.#worker.on("error", fail);
    this.#exited = new Promise((resolve) => {
      this.#worker.on("exit", (code) => {
        closeNativeSection(cells);
        const how = `ended with code ${code}`;
        const failure = new RuntimeFailure("crash", `${runtime}'s thread ${how}`);
        this.#pending.end(start.failure(how) ?? failure);
        start.stop();
        resolve();
      });
    });
    this.#worker.unref();
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
    const { id, answer } = this.#pending.add<Kind>((next) => {
      this.#worker.postMessage({ id: next, kind, argument }, transfer);
      if (!this.#isAbandoned) this.#worker.ref();
    });
    if (signal === undefined) return answer;
    const stopWaiting = onAbort(signal, () => this.#worker.postMessage({ id, kind: "cancel" }));
    try {
      return await untilAborted(answer, signal);
    } finally {
      stopWaiting();
    }
  }

  /** The thread ends itself, see native-section.ts; where it cannot (Deno), it is ended once it has released all. */
  async close(): Promise<void> {
    if (this.#pending.death === undefined) {
      // A worker that dies meanwhile has freed its memory too.
      const isReleased = await this.call("release", undefined).then(
        () => true,
        () => false,
      );
      if (!this.#isAbandoned) this.#worker.ref();
      if (isReleased && !(await endsWithin(this.#exited, endingPatience))) await this.#worker.terminate();
    }
    await this.#exited;
  }

  /** The thread ends after the call under way. */
  async abandon(): Promise<void> {
    this.#isAbandoned = true;
    void this.close();
    this.#worker.unref();
  }
}
