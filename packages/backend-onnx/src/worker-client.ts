import { Worker } from "node:worker_threads";
import { PendingCalls } from "@crossrank/backend-kit";
import type { AnswerMessage } from "@crossrank/backend-kit/runtime";
import { closeNativeSection, openNativeSection } from "./native-section.js";
import type { Calls } from "./protocol.js";

/**
 * The main thread's side of one worker thread. The thread keeps the process alive only while a call is under
 * way, so a program that forgets to dispose still ends.
 */
export class WorkerClient {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #pending: PendingCalls<Calls> = new PendingCalls();

  constructor() {
    const nativeSection = openNativeSection();
    // Without the parent's flags: a loader or debugger given to the program is not meant for this thread.
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), {
      name: "crossrank-onnx",
      execArgv: [],
      workerData: nativeSection,
    });
    this.#worker.on("message", (message: AnswerMessage<Calls>) => {
      this.#pending.settle(message);
      if (this.#pending.size === 0) this.#worker.unref();
    });
    this.#worker.on("messageerror", (error) => {
      this.#pending.end(error);
      void this.#worker.terminate();
    });
    this.#worker.on("error", (error) => this.#pending.end(error));
    this.#exited = new Promise((resolve) => {
      this.#worker.on("exit", (code) => {
        closeNativeSection(nativeSection);
        this.#pending.end(new Error(`the worker thread ended with code ${code}`));
        resolve();
      });
    });
    this.#worker.unref();
  }

  /** Calls sent and not answered yet. */
  get underWay(): number {
    return this.#pending.size;
  }

  /** Why the thread is gone; undefined while it lives. */
  get death(): Error | undefined {
    return this.#pending.death;
  }

  /** @throws {RuntimeFailure} when the call fails inside the worker; another error when the worker dies. */
  async call<Kind extends keyof Calls>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<Calls[Kind]["result"]> {
    if (this.#pending.death !== undefined) throw this.#pending.death;
    const { answer } = this.#pending.add<Kind>((id) => {
      this.#worker.postMessage({ id, kind, argument }, transfer);
      this.#worker.ref();
    });
    return answer;
  }

  /**
   * Ends the thread after the calls under way. It ends itself, see native-section.ts.
   */
  async close(): Promise<void> {
    if (this.#pending.death === undefined) {
      // A worker that dies meanwhile has freed its memory too.
      await this.call("release", undefined).catch(() => undefined);
      this.#worker.ref();
    }
    await this.#exited;
  }
}
