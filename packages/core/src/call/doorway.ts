import { DrainingError } from "../contract/errors.js";
import type { DrainOptions } from "../contract/reranker.js";
import { untilAborted } from "../run/abort.js";
import { readSignal } from "./input.js";
import { type OptionNames, requireKnownOptions } from "./option-names.js";

const names: OptionNames<DrainOptions> = { signal: true };

/** Where calls go in: counted, and none any more once it drains. */
export class Doorway {
  readonly #inside = new Set<Promise<unknown>>();
  #isClosed = false;

  /** @throws {DrainingError} */
  async through<T>(call: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new DrainingError();
    const answer = call();
    this.#inside.add(answer);
    try {
      return await answer;
    } finally {
      this.#inside.delete(answer);
    }
  }

  /** @throws the signal's reason, once aborted. @throws {InvalidInputError} */
  async drain(options: DrainOptions = {}): Promise<void> {
    requireKnownOptions(options, names, "drain");
    const signal = readSignal(options.signal);
    this.#isClosed = true;
    await untilAborted(async () => void (await Promise.allSettled(this.#inside)), signal);
  }
}
