import { startClock } from "./clock.js";
import { RuntimeStartError } from "./errors.js";

/** A program that serves a runtime's calls. */
export interface ProgramFacts {
  readonly entry: URL;
  /** The runtime's name, for messages. */
  readonly runtime: string;
  /** What to do when it does not start, as sentences. */
  readonly fix: string;
  readonly deadlines: { readonly start: number };
}

/** Until the first message of a process or thread: what goes wrong before it is no model's fault. */
export class ProgramStart {
  readonly #facts: ProgramFacts;
  readonly #place: "process" | "thread";
  readonly #stopClock: () => void;
  #isUp = false;

  /** @param late called when the program did not come up in time. */
  constructor(facts: ProgramFacts, place: "process" | "thread", late: (error: RuntimeStartError) => void) {
    this.#facts = facts;
    this.#place = place;
    let left = facts.deadlines.start;
    this.#stopClock = startClock((passed) => {
      left -= passed;
      if (left > 0) return;
      this.stop();
      const error = this.failure(`gave no sign of life within ${facts.deadlines.start / 1000} s`);
      if (error !== undefined) late(error);
    });
  }

  succeeded(): void {
    this.#isUp = true;
    this.stop();
  }

  stop(): void {
    this.#stopClock();
  }

  /** Why no answers come, where the program was not up yet; undefined where it was. */
  failure(how: string, cause?: unknown): RuntimeStartError | undefined {
    if (this.#isUp) return undefined;
    const { runtime, fix } = this.#facts;
    return new RuntimeStartError({ runtime, problem: `its ${this.#place} ${how}`, fix }, { cause });
  }
}
