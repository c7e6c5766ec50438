/** The queue has no room for a request. */
export class QueueFullError extends Error {
  /** Seconds after which there may be room. */
  readonly retryAfter: number;
  constructor(retryAfter: number) {
    super("the queue is full");
    this.retryAfter = retryAfter;
  }
}

interface Waiting {
  readonly client: string;
  readonly tokens: number;
  /** Virtual time at which it would begin if every client got the same share. */
  readonly start: number;
  begin(): void;
  fail(error: unknown): void;
}

interface Share {
  /** Tokens that wait or run. */
  tokens: number;
  /** Virtual time at which the client's next request would begin. */
  nextStart: number;
}

/** A place of the queue that runs. */
export interface Turn {
  /** Milliseconds that it waited. */
  readonly waited: number;
  /** Gives the place back. Safe to call twice. */
  end(): void;
}

/** Seconds that a client is told to wait at most. */
const longestRetry = 60;
/** Milliseconds of work that the speed is measured over. */
const memory = 30_000;
/** Clients without a request that are kept, so that a share does not begin anew with each request. */
const rememberedClients = 1024;

/**
 * Requests of one model, a bounded number of tokens of them. Each client gets the same share of the tokens (start-time
 * fair queueing), however many requests it has waiting, and who has more than a share of a full queue makes room.
 */
export class TokenQueue {
  readonly #most: number;
  readonly #waiting: Waiting[] = [];
  readonly #shares = new Map<string, Share>();
  #virtualTime = 0;
  #tokens = 0;
  #running = 0;
  #concurrency = 1;
  #busySince = 0;
  #busy = 0;
  #done = 0;

  /** @param most tokens that wait or run. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Tokens that wait or run. */
  get tokens(): number {
    return this.#tokens;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get running(): number {
    return this.#running;
  }

  /** Tokens a second while anything runs; undefined before there is a measurement. */
  get speed(): number | undefined {
    const busy = this.#busy + (this.#running > 0 ? performance.now() - this.#busySince : 0);
    return this.#done > 0 && busy > 0 ? (this.#done / busy) * 1000 : undefined;
  }

  /** @param value requests that run at once; at least 1. */
  set concurrency(value: number) {
    this.#concurrency = Math.max(1, value);
    this.#next();
  }

  /**
   * Waits for a turn.
   *
   * @param tokens of the request, at most the queue's own bound.
   * @throws {QueueFullError} at once, or later, when a client with less than its share needs the room.
   * @throws the signal's reason.
   */
  async enter(client: string, tokens: number, signal: AbortSignal): Promise<Turn> {
    signal.throwIfAborted();
    const entered = performance.now();
    this.#makeRoom(client, tokens);
    await this.#place(client, tokens, signal);
    let isOver = false;
    return {
      waited: performance.now() - entered,
      end: () => {
        if (isOver) return;
        isOver = true;
        this.#measure(tokens);
        this.#leave(client, tokens);
        this.#next();
      },
    };
  }

  /** Seconds until `tokens` have been worked off, 1 to 60. */
  secondsFor(tokens: number): number {
    const { speed } = this;
    return speed === undefined ? 1 : Math.min(longestRetry, Math.max(1, Math.ceil(tokens / speed)));
  }

  #place(client: string, tokens: number, signal: AbortSignal): Promise<void> {
    const share = this.#shares.get(client) ?? { tokens: 0, nextStart: 0 };
    const start = Math.max(this.#virtualTime, share.nextStart);
    share.nextStart = start + tokens;
    share.tokens += tokens;
    this.#shares.set(client, share);
    this.#tokens += tokens;
    return new Promise<void>((resolve, reject) => {
      const stop = (): void => {
        this.#remove(one);
        one.fail(signal.reason);
      };
      const one: Waiting = {
        client,
        tokens,
        start,
        begin: () => {
          signal.removeEventListener("abort", stop);
          resolve();
        },
        fail: (error) => {
          signal.removeEventListener("abort", stop);
          this.#leave(client, tokens);
          reject(error);
        },
      };
      signal.addEventListener("abort", stop, { once: true });
      this.#waiting.push(one);
      this.#next();
    });
  }

  /** @throws {QueueFullError} */
  #makeRoom(client: string, tokens: number): void {
    if (this.#tokens + tokens <= this.#most) return;
    const others = [...this.#shares].filter(([name, share]) => name !== client && share.tokens > 0);
    const fair = this.#most / (others.length + 1);
    const own = this.#shares.get(client)?.tokens ?? 0;
    const victims: Waiting[] = [];
    let room = this.#most - this.#tokens;
    if (own + tokens <= fair) {
      const held = new Map(others.map(([name, share]) => [name, share.tokens]));
      // The newest first: who has waited longest keeps its place.
      for (const one of this.#waiting.toReversed()) {
        const theirs = held.get(one.client) ?? 0;
        if (room >= tokens) break;
        if (theirs <= fair) continue;
        held.set(one.client, theirs - one.tokens);
        victims.push(one);
        room += one.tokens;
      }
    }
    const retryAfter = this.secondsFor(tokens - (this.#most - this.#tokens));
    if (room < tokens) throw new QueueFullError(retryAfter);
    for (const one of victims) {
      this.#remove(one);
      one.fail(new QueueFullError(this.secondsFor(one.tokens)));
    }
  }

  #remove(one: Waiting): void {
    const at = this.#waiting.indexOf(one);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  #leave(client: string, tokens: number): void {
    this.#tokens -= tokens;
    const share = this.#shares.get(client);
    if (share !== undefined) share.tokens -= tokens;
    if (this.#tokens === 0) {
      this.#shares.clear();
      this.#virtualTime = 0;
    } else if (this.#shares.size > rememberedClients) {
      for (const [name, one] of this.#shares) {
        if (one.tokens === 0 && one.nextStart <= this.#virtualTime) this.#shares.delete(name);
      }
    }
  }

  #next(): void {
    while (this.#running < this.#concurrency) {
      let first: Waiting | undefined;
      for (const one of this.#waiting) if (first === undefined || one.start < first.start) first = one;
      if (first === undefined) return;
      this.#remove(first);
      this.#virtualTime = first.start;
      if (this.#running === 0) this.#busySince = performance.now();
      this.#running += 1;
      first.begin();
    }
  }

  #measure(tokens: number): void {
    const now = performance.now();
    this.#busy += now - this.#busySince;
    this.#busySince = now;
    this.#done += tokens;
    this.#running -= 1;
    if (this.#busy < memory) return;
    this.#busy /= 2;
    this.#done /= 2;
  }
}
