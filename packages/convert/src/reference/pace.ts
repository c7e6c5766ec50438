import { setImmediate as nextTurn } from "node:timers/promises";

/** Milliseconds of arithmetic between two turns of the event loop. */
const longestStretch = 25;

/** Lets others run during long arithmetic, and notices an abort. */
export class Pace {
  readonly #signal: AbortSignal | undefined;
  #last: number = Number.NEGATIVE_INFINITY;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  /**
   * To be called where the arithmetic can rest; cheap when it has just done so. The first call always rests.
   * @throws the signal's reason, once aborted.
   */
  async rest(): Promise<void> {
    if (performance.now() - this.#last < longestStretch) return;
    await nextTurn();
    this.#signal?.throwIfAborted();
    this.#last = performance.now();
  }
}
