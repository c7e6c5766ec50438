import { Redis, type RedisOptions } from "ioredis";
import { QueueError } from "./errors.js";

/** Milliseconds for the first answer of a server, and for one that a worker waits for as it starts or ends. */
export const patience = 10_000;

/** Milliseconds for an answer of a server that was there: one that restarts reads its file first. */
export const restartPatience = 60_000;

/** Milliseconds between tries to reach a server that was there. */
const longestPause = 5000;

/**
 * A connection that also ends when it is ended between two tries to come back. ioredis then clears the next try and says
 * nothing, and BullMQ, which makes a copy to wait on, waits for that word without end.
 */
export class EndingRedis extends Redis {
  readonly #copies: EndingRedis[] = [];
  #hasEnded = false;

  override duplicate<Override extends Partial<RedisOptions> | undefined = undefined>(
    override?: Override,
  ): ReturnType<typeof Redis.prototype.duplicate<Override>> {
    const copy = new EndingRedis({ ...this.options, ...override } as Partial<RedisOptions> & {
      readonly replyMapping?: never;
    });
    this.#copies.push(copy);
    return copy as never;
  }

  /**
   * Ends this one and its copies for good. What waits for an answer on them is refused, and BullMQ, which connects a copy
   * again that it finds ended, is too.
   */
  endAll(): void {
    this.#hasEnded = true;
    for (const copy of this.#copies) copy.endAll();
    this.disconnect();
  }

  override async connect(callback?: Parameters<Redis["connect"]>[0]): Promise<void> {
    if (this.#hasEnded) throw new Error("the connection has been ended");
    return super.connect(callback);
  }

  override disconnect(reconnect = false): void {
    // A connection that was never begun is told to end without a socket, as this one has none.
    if (!reconnect && this.status === "reconnecting") this.status = "wait";
    super.disconnect(reconnect);
  }
}

/**
 * A connection that comes back by itself when the server does.
 * @throws {QueueError} where the server cannot be reached at first, or does not let us in.
 */
export async function connect(url: string): Promise<EndingRedis> {
  requireAddress(url);
  const redis = new EndingRedis(url, {
    lazyConnect: true,
    // A worker waits for a server that restarts.
    maxRetriesPerRequest: null,
    connectTimeout: patience,
    retryStrategy: (times) => Math.min(times * 100, longestPause),
  });
  // Nobody hears of it otherwise, and it would end the process.
  let problem: Error | undefined;
  redis.on("error", (error: Error) => {
    problem = error;
  });
  const timer = { id: undefined as NodeJS.Timeout | undefined };
  try {
    const late = new Promise<never>((_, reject) => {
      timer.id = setTimeout(() => reject(problem ?? new Error("no answer")), patience);
    });
    const refused = new Promise<never>((_, reject) => {
      // Without a server there is nothing to come back to.
      redis.once("error", reject);
    });
    await Promise.race([redis.connect().then(() => redis.ping()), late, refused]);
    return redis;
  } catch (cause) {
    redis.disconnect();
    const shown = describeAddress(url);
    const { message } = (cause ?? {}) as Error;
    if (/NOAUTH|WRONGPASS|NOPERM/.test(`${message} ${problem?.message}`)) {
      throw new QueueError(
        "refused",
        `${shown} does not let us in (${message}). Put user and password into the address`,
        {
          cause,
        },
      );
    }
    const said = problem?.message || message || "no answer";
    throw new QueueError(
      "unreachable",
      `${shown} does not answer (${said}). Start Redis or Valkey there, or name its address`,
      { cause },
    );
  } finally {
    clearTimeout(timer.id);
  }
}

/**
 * An answer of a server that may have gone, which the connection alone waits for without end.
 * @param milliseconds that it may take.
 * @throws {QueueError} where it takes longer.
 */
export async function answerWithin<Answer>(
  url: string,
  milliseconds: number,
  answer: Promise<Answer>,
): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const problem = `does not answer any more (nothing for ${milliseconds / 1000} s)`;
      const fix = "Start it again, or mend the network, and repeat the command: it goes on where it was";
      reject(new QueueError("unreachable", `${describeAddress(url)} ${problem}. ${fix}`));
    }, milliseconds);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
    // It may still fail, and nobody waits for it.
    answer.catch(() => undefined);
  }
}

/** @throws {QueueError} */
function requireAddress(url: string): void {
  const form = "Write redis://host:6379, or rediss://user:password@host:6380 with TLS";
  if (/^postgres(ql)?:/.test(url)) {
    throw new QueueError(
      "address",
      `${describeAddress(url)} is a Postgres server, which is not supported. ${form}`,
    );
  }
  if (!/^rediss?:\/\/\S+$/.test(url) || !URL.canParse(url)) {
    throw new QueueError("address", `${describeAddress(url)} is no address of a queue. ${form}`);
  }
}

/** An address without its password. */
export function describeAddress(url: string): string {
  if (!URL.canParse(url)) return url.replace(/\/\/[^@]*@/, "//");
  const parsed = new URL(url);
  parsed.username = "";
  parsed.password = "";
  return String(parsed);
}
