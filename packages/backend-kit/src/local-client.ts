import { abortable } from "./abortable.js";
import type { CallTable, Handlers, RuntimeClient } from "./calls.js";

/** A runtime in this process. */
export class LocalClient<Calls extends CallTable<Calls>> implements RuntimeClient<Calls> {
  readonly #handlers: Handlers<Calls>;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(handlers: Handlers<Calls>) {
    this.#handlers = handlers;
  }

  async call<Kind extends keyof Calls>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
    signal?: AbortSignal | undefined,
  ): Promise<Calls[Kind]["result"]> {
    const work = Promise.resolve(this.#handlers[kind](argument, signal));
    this.#underWay.add(work);
    const settled = (): void => void this.#underWay.delete(work);
    work.then(settled, settled);
    return abortable(work, signal);
  }

  async close(): Promise<void> {
    // A model that is still loading is released once it is there.
    await Promise.allSettled(this.#underWay);
    await this.#handlers.release(undefined, undefined);
  }

  async abandon(): Promise<void> {
    this.close().catch(() => undefined);
  }
}
