import { untilAborted } from "../run/abort.js";

/** What a caller's callback threw, or rejected with. Unwrapped where the call answers. */
export class CallbackFailure {
  readonly error: unknown;
  constructor(error: unknown) {
    this.error = error;
  }
}

/**
 * A caller's callback, under one rule: what it throws, or what a promise that it returns rejects with, fails the call
 * that it belongs to, and is never an unhandled rejection. A call waits for the promises of its callbacks before it
 * answers. What comes after the answer is dropped.
 */
export class Listener<Event> {
  readonly #callback: ((event: Event) => unknown) | undefined;
  readonly #onFailure: (failure: CallbackFailure) => void;
  readonly #pending = new Set<Promise<void>>();
  #failure: CallbackFailure | undefined;

  /** @param onFailure told at once, for work that can be stopped. Must not throw. */
  constructor(
    callback: ((event: Event) => unknown) | undefined,
    onFailure: (failure: CallbackFailure) => void = () => undefined,
  ) {
    this.#callback = callback;
    this.#onFailure = onFailure;
  }

  /** Calls back. Never throws: {@link check} does. */
  readonly tell = (event: Event): void => {
    if (this.#callback === undefined || this.#failure !== undefined) return;
    try {
      const answer = this.#callback(event);
      if (typeof answer !== "object" || answer === null || !("then" in answer)) return;
      const settled = Promise.resolve(answer).then(
        () => undefined,
        (error: unknown) => this.#fail(error),
      );
      this.#pending.add(settled);
      settled.then(() => this.#pending.delete(settled));
    } catch (error) {
      this.#fail(error);
    }
  };

  /** @throws {CallbackFailure} when a callback has failed by now. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Waits for the promises of all callbacks. @throws {CallbackFailure} @throws the signal's reason. */
  async settled(signal?: AbortSignal): Promise<void> {
    while (this.#failure === undefined && this.#pending.size > 0) {
      await untilAborted(() => Promise.race(this.#pending), signal);
    }
    this.check();
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = new CallbackFailure(error);
    this.#onFailure(this.#failure);
  }
}

/** The caller's own error in place of the wrapper, at the edge of the public methods. */
export async function unwrapped<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof CallbackFailure ? error.error : error;
  }
}
