import { untilAborted } from "@crossrank/core";

/** Runs one task a key at a time, within this process, in order of arrival. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /**
   * @throws what `task` throws, and the signal's reason when it aborts while waiting.
   */
  async run<Result>(
    key: string,
    signal: AbortSignal | undefined,
    task: () => Promise<Result>,
  ): Promise<Result> {
    const previous = this.#tails.get(key) ?? Promise.resolve();
    let release = (): void => {};
    const own = new Promise<void>((resolve) => {
      release = resolve;
    });
    const tail = previous.then(() => own);
    this.#tails.set(key, tail);
    try {
      await untilAborted(previous, signal);
      return await task();
    } finally {
      release();
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}
