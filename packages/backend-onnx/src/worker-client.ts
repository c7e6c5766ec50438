import { Worker } from "node:worker_threads";
import { closeNativeSection, openNativeSection } from "./native-section.js";
import { type AnswerMessage, type CallKind, type Calls, WorkerFailure } from "./protocol.js";

interface Pending {
  readonly resolve: (result: Calls[CallKind]["result"]) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The main thread's side of one worker thread. The thread keeps the process alive only while a call is under
 * way, so a program that forgets to dispose still ends.
 */
export class WorkerClient {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  #death: Error | undefined;

  constructor() {
    const nativeSection = openNativeSection();
    // Without the parent's flags: a loader or debugger given to the program is not meant for this thread.
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), {
      name: "crossrank-onnx",
      execArgv: [],
      workerData: nativeSection,
    });
    this.#worker.on("message", (message: AnswerMessage) => this.#answer(message));
    this.#worker.on("messageerror", (error) => {
      this.#die(error);
      void this.#worker.terminate();
    });
    this.#worker.on("error", (error) => this.#die(error));
    this.#exited = new Promise((resolve) => {
      this.#worker.on("exit", (code) => {
        closeNativeSection(nativeSection);
        this.#die(new Error(`the worker thread ended with code ${code}`));
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
    return this.#death;
  }

  /** @throws {WorkerFailure} when the call fails inside the worker; another error when the worker dies. */
  call<Kind extends CallKind>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<Calls[Kind]["result"]> {
    if (this.#death !== undefined) {
      return Promise.reject(this.#death);
    }
    const id = this.#nextId++;
    this.#worker.postMessage({ id, kind, argument }, transfer);
    this.#worker.ref();
    return new Promise<Calls[CallKind]["result"]>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
    }) as Promise<Calls[Kind]["result"]>;
  }

  /**
   * Ends the thread after the calls under way. It ends itself, see native-section.ts.
   */
  async close(): Promise<void> {
    if (this.#death === undefined) {
      // A worker that dies meanwhile has freed its memory too.
      await this.call("release", undefined).catch(() => undefined);
      this.#worker.ref();
    }
    await this.#exited;
  }

  #answer(message: AnswerMessage): void {
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if (this.#pending.size === 0) {
      this.#worker.unref();
    }
    if ("failure" in message) {
      pending?.reject(new WorkerFailure(message.failure.stage, message.failure.message));
    } else {
      pending?.resolve(message.result);
    }
  }

  #die(error: unknown): void {
    this.#death ??= error instanceof Error ? error : new Error(String(error));
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) {
      reject(this.#death);
    }
  }
}
