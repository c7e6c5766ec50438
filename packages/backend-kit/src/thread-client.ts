import { Worker } from "node:worker_threads";
import { abortable, onAbort } from "./abortable.js";
import {
  type AnswerMessage,
  type CallOptions,
  type CallTable,
  type MortalClient,
  RuntimeFailure,
} from "./calls.js";
import { messageOf, shortageOf } from "./failure-text.js";
import { closeNativeSection, openNativeSection } from "./native-section.js";
import { PendingCalls } from "./pending-calls.js";

/**
 * A runtime in a worker thread of this process. The thread keeps the process alive only while a call is under way, so a
 * program that forgets to dispose still ends.
 */
export class ThreadClient<Calls extends CallTable<Calls>> implements MortalClient<Calls> {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #pending: PendingCalls<Calls> = new PendingCalls();
  #isAbandoned = false;

  /** @param entry the program that the thread runs: one that calls `serveCalls`. */
  constructor({ entry, runtime }: { readonly entry: URL; readonly runtime: string }) {
    const nativeSection = openNativeSection();
    // Without the parent's flags: a loader or debugger given to the program is not meant for this thread.
    this.#worker = new Worker(entry, { name: runtime, execArgv: [], workerData: nativeSection });
    this.#worker.on("message", (message: AnswerMessage<Calls>) => {
      this.#pending.settle(message);
      if (this.#pending.size === 0) this.#worker.unref();
    });
    const fail = (error: unknown): void => {
      const shortage = shortageOf(error);
      const failure =
        shortage === undefined
          ? new RuntimeFailure("crash", `${runtime}'s thread failed (${messageOf(error)})`, { cause: error })
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
        closeNativeSection(nativeSection);
        this.#pending.end(new RuntimeFailure("crash", `${runtime}'s thread ended with code ${code}`));
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
      return await abortable(answer, signal);
    } finally {
      stopWaiting();
    }
  }

  /** The thread ends itself, see native-section.ts. */
  async close(): Promise<void> {
    if (this.#pending.death === undefined) {
      // A worker that dies meanwhile has freed its memory too.
      await this.call("release", undefined).catch(() => undefined);
      if (!this.#isAbandoned) this.#worker.ref();
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
