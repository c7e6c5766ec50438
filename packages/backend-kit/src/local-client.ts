import { untilAborted } from "@crossrank/core";
import type { CallOptions, CallTable, Handlers, MortalClient } from "./calls.js";

/** A runtime in this process, on threads of its own. */
export class LocalClient<Calls extends CallTable<Calls>> implements MortalClient<Calls> {
  readonly death: undefined;
  readonly #handlers: Handlers<Calls>;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(handlers: Handlers<Calls>) {
    this.#handlers = handlers;
  }

  async call<Kind extends keyof Calls>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
    { signal }: CallOptions = {},
  ): Promise<Calls[Kind]["result"]> {
    signal?.throwIfAborted();
    const work = Promise.resolve(this.#handlers[kind](argument, signal));
    this.#underWay.add(work);
    const settled = (): void => void this.#underWay.delete(work);
    work.then(settled, settled);
    return untilAborted(work, signal);
  }

  async close(): Promise<void> {
    // A model that is still loading is released once it is there.
    await Promise.allSettled(this.#underWay);
    try {
      await this.#handlers.release(undefined, undefined);
    } catch {
      // What cannot be freed is freed with the process.
    }
  }

  async abandon(): Promise<void> {
    void this.close();
  }
}
