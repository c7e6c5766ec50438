import { untilAborted } from "@crossrank/core";
import {
  type CallOptions,
  type CallTable,
  type MortalClient,
  type RuntimeClient,
  RuntimeFailure,
} from "./calls.js";
import { endsWithin } from "./clock.js";
import { type Deadlines, releaseDeadline, usualDeadlines } from "./deadlines.js";
import { messageOf } from "./failure-text.js";

export interface RestartingHostFacts<Calls extends CallTable<Calls>> {
  /** The runtime's name, for messages. */
  readonly runtime: string;
  readonly deadlines?: Deadlines | undefined;
  /** Starts the runtime. */
  readonly open: (deadlines: Readonly<Record<keyof Deadlines, number>>) => MortalClient<Calls>;
  /** Before a model is loaded once more. @throws where it is not what was loaded first. */
  readonly checkUnchanged?: (() => Promise<void>) | undefined;
}

/** Deaths in a row after which a host rests before it starts its runtime again, and for how many milliseconds. */
const mostDeaths = 3;
const rest = 60_000;

/**
 * A runtime somewhere else than on the caller's thread, started by the first call. When it dies, calls under way fail,
 * and the next one starts it anew and loads its model again; one that dies three times in a row without an answered call
 * is left alone for a minute.
 */
export class RestartingHost<Calls extends CallTable<Calls>> implements RuntimeClient<Calls> {
  readonly #facts: RestartingHostFacts<Calls>;
  readonly #deadlines: Readonly<Record<keyof Deadlines, number>>;
  #client: MortalClient<Calls> | undefined;
  #restart: Promise<MortalClient<Calls>> | undefined;
  #loaded: { readonly argument: Calls["load"]["argument"] } | undefined;
  #underWay = 0;
  #deaths = 0;
  #restUntil = Number.NEGATIVE_INFINITY;
  #lastDeath: Error | undefined;
  #isClosed = false;

  constructor(facts: RestartingHostFacts<Calls>) {
    this.#facts = facts;
    const given = facts.deadlines;
    this.#deadlines = {
      load: given?.load ?? usualDeadlines.load,
      run: given?.run ?? usualDeadlines.run,
      close: given?.close ?? usualDeadlines.close,
    };
  }

  /** Calls whose answer somebody waits for. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Whether it died too often to be started again now. */
  get isResting(): boolean {
    return this.#deaths >= mostDeaths && performance.now() < this.#restUntil;
  }

  async call<Kind extends keyof Calls>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
    options: CallOptions = {},
  ): Promise<Calls[Kind]["result"]> {
    options.signal?.throwIfAborted();
    this.#underWay += 1;
    try {
      const client = await this.#living(options.signal);
      const result = await client.call(kind, argument, options);
      if (kind === "load") this.#loaded = { argument };
      else this.#deaths = 0;
      return result;
    } finally {
      this.#underWay -= 1;
    }
  }

  /**
   * Ends the runtime after the calls under way, or at the deadline `close`; calls that are under way then fail.
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    const patience =
      this.#underWay > 0 ? this.#deadlines.close : Math.min(this.#deadlines.close, releaseDeadline);
    const closing = async (): Promise<void> => {
      await this.#restart?.catch(() => undefined);
      await this.#client?.close();
    };
    if (!(await endsWithin(closing(), patience))) await this.#client?.abandon();
  }

  async abandon(): Promise<void> {
    this.#isClosed = true;
    await this.#client?.abandon();
  }

  async #living(signal: AbortSignal | undefined): Promise<MortalClient<Calls>> {
    if (this.#isClosed) throw new RuntimeFailure("crash", `${this.#facts.runtime} was released`);
    if (this.#client === undefined) this.#client = this.#open();
    if (this.#client.death === undefined && this.#restart === undefined) return this.#client;
    // Whoever loads for the first time learns of the death itself.
    if (this.#loaded === undefined) throw this.#client.death;
    this.#restart ??= this.#start(this.#loaded.argument).finally(() => {
      this.#restart = undefined;
    });
    return untilAborted(this.#restart, signal);
  }

  async #start(argument: Calls["load"]["argument"]): Promise<MortalClient<Calls>> {
    const death = this.#client?.death;
    // Of calls that die together only the first to come back counts.
    if (death !== undefined && death !== this.#lastDeath) this.#countDeath(death);
    if (this.isResting) {
      const { runtime } = this.#facts;
      throw new RuntimeFailure(
        "crash",
        `${runtime} died ${this.#deaths} times in a row and is not started again for a minute; the last time: ` +
          messageOf(this.#lastDeath),
      );
    }
    await this.#facts.checkUnchanged?.();
    if (this.#isClosed) throw new RuntimeFailure("crash", `${this.#facts.runtime} was released`);
    const client = this.#open();
    // From here on `abandon` reaches it.
    this.#client = client;
    try {
      await client.call("load", argument);
    } catch (error) {
      await client.abandon();
      this.#countDeath(client.death ?? (error as Error));
      throw error;
    }
    return client;
  }

  #countDeath(death: Error): void {
    this.#lastDeath = death;
    this.#deaths += 1;
    this.#restUntil = performance.now() + rest;
  }

  #open(): MortalClient<Calls> {
    return this.#facts.open(this.#deadlines);
  }
}
