import { Redis, type RedisOptions } from "ioredis";
import { QueueError } from "./errors.js";

/** Milliseconds for the first answer of a server. */
const patience = 10_000;

/** Milliseconds between tries to reach a server that was there. */
const longestPause = 5000;

/**
 * A connection that also ends when it is ended between two tries to come back. ioredis then clears the next try and says
 * nothing, and BullMQ, which makes a copy to wait on, waits for that word without end.
 */
class EndingRedis extends Redis {
  override duplicate<Override extends Partial<RedisOptions> | undefined = undefined>(
    override?: Override,
  ): ReturnType<typeof Redis.prototype.duplicate<Override>> {
    return new EndingRedis({ ...this.options, ...override } as Partial<RedisOptions> & {
      readonly replyMapping?: never;
    }) as never;
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
export async function connect(url: string): Promise<Redis> {
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
