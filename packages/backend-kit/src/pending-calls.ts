import { type AnswerMessage, type CallTable, RuntimeFailure } from "./calls.js";

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** Milliseconds until the answer is overdue. */
  left: number;
  readonly limit: number;
}

/** Calls that were sent and not answered yet, for one process or thread that answers them. */
export class PendingCalls<Calls extends CallTable<Calls>> {
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  #death: Error | undefined;

  get size(): number {
    return this.#pending.size;
  }

  /** Why no more answers come; undefined while they do. */
  get death(): Error | undefined {
    return this.#death;
  }

  /**
   * @param send sends the call with its id. When it throws, nothing waits.
   * @param limit milliseconds that the call may take by itself. It has to wait for those before it, too.
   * @returns the id, and the answer to come.
   */
  add<Kind extends keyof Calls>(
    send: (id: number) => void,
    limit: number = Number.POSITIVE_INFINITY,
  ): { readonly id: number; readonly answer: Promise<Calls[Kind]["result"]> } {
    const id = this.#nextId++;
    send(id);
    const left = limit * (this.#pending.size + 1);
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, left, limit });
    });
    return { id, answer: answer as Promise<Calls[Kind]["result"]> };
  }

  settle(message: AnswerMessage<Calls>): void {
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if ("failure" in message) {
      pending?.reject(new RuntimeFailure(message.failure.stage, message.failure.message));
    } else {
      pending?.resolve(message.result);
    }
  }

  /** So many milliseconds passed. @returns the limit of a call that is overdue; undefined when none is. */
  age(passed: number): number | undefined {
    let overdue: number | undefined;
    for (const call of this.#pending.values()) {
      call.left -= passed;
      if (call.left <= 0) overdue = call.limit;
    }
    return overdue;
  }

  /** No more answers come: all that wait for one fail. The first reason stays. */
  end(reason: unknown): void {
    this.#death ??= reason instanceof Error ? reason : new Error(String(reason));
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(this.#death);
  }
}
