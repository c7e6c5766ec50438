import { type Job, Queue } from "bullmq";
import type { Redis } from "ioredis";
import { answerWithin, connect, patience, restartPatience } from "./connection.js";

/** What the queue carries of a shard: where it is, and none of its texts. */
export interface ShardReference {
  /** Folder of the job, or `s3://bucket/prefix`. */
  readonly output: string;
  readonly shard: number;
  readonly firstRow: number;
  readonly rows: number;
}

export interface QueuedShard extends ShardReference {
  /** The same shard of the same job has the same, and is not added twice. */
  readonly id: string;
}

/** Shards of a queue by their state; `workers` are processes that are connected. */
export interface QueueCounts {
  readonly waiting: number;
  readonly active: number;
  readonly delayed: number;
  readonly failed: number;
  readonly workers: number;
}

/** A shard whose tries are used up. */
export interface FailedShard {
  readonly id: string;
  readonly reference: ShardReference;
  readonly tries: number;
  readonly reason: string;
}

export interface ShardQueue {
  readonly name: string;
  add(shards: Iterable<QueuedShard>): Promise<void>;
  counts(): Promise<QueueCounts>;
  /** Dead letters; at most `most`. */
  failed(most: number): Promise<FailedShard[]>;
  /** Puts dead letters back, with all tries before them. */
  retry(ids: readonly string[]): Promise<void>;
  /** Takes shards out that nobody has begun. */
  remove(ids: Iterable<string>): Promise<void>;
  close(): Promise<void>;
}

/** Tries of a shard, and milliseconds before the second; each later pause is twice as long. */
export const attempts = 5;
const firstPause = 2000;

/** Jobs that are sent at once. */
const bulk = 1000;

/** Keys of BullMQ begin so. */
export const prefix = "bull";

/** Events that the server keeps, which nobody reads. */
const keptEvents = 100;

/**
 * Each of its methods has `answerSeconds` for an answer of the server (`add` and `retry` for each of their questions), by
 * default 60, and then fails with a {@link QueueError} whose reason is `unreachable`.
 * @throws {QueueError}
 */
export async function openShardQueue({
  url,
  name,
  answerSeconds = restartPatience / 1000,
}: {
  readonly url: string;
  readonly name: string;
  readonly answerSeconds?: number | undefined;
}): Promise<ShardQueue> {
  const redis = await connect(url);
  const queue = openQueue(redis, name);
  const answered = <Answer>(answer: Promise<Answer>): Promise<Answer> =>
    answerWithin(url, answerSeconds * 1000, answer);
  return {
    name,
    async add(shards) {
      let pending: Parameters<typeof queue.addBulk>[0] = [];
      const send = async (): Promise<void> => {
        if (pending.length > 0) await answered(queue.addBulk(pending));
        pending = [];
      };
      for (const { id, ...reference } of shards) {
        pending.push({ name: "shard", data: reference, opts: { jobId: id } });
        if (pending.length >= bulk) await send();
      }
      await send();
    },
    counts: () => answered(countsOf(queue)),
    async failed(most) {
      const jobs = await answered(queue.getFailed(0, most - 1));
      return jobs.map((job) => ({
        id: job.id ?? "",
        reference: job.data,
        tries: job.attemptsMade,
        reason: job.failedReason ?? "",
      }));
    },
    async retry(ids) {
      for (const id of ids) {
        const job = await answered(queue.getJob(id));
        if (job !== undefined && (await answered(job.isFailed()))) {
          await answered(job.retry("failed", { resetAttemptsMade: true, resetAttemptsStarted: true }));
        }
      }
    },
    async remove(ids) {
      for (const id of ids) await answered(queue.remove(id));
    },
    async close() {
      // Whose server is gone has nothing to say to it.
      await answerWithin(url, patience, queue.close()).catch(() => undefined);
      redis.endAll();
    },
  };
}

export function openQueue(redis: Redis, name: string): Queue<ShardReference> {
  const queue = new Queue<ShardReference>(name, {
    connection: redis,
    prefix,
    streams: { events: { maxLen: keptEvents } },
    defaultJobOptions: {
      attempts,
      backoff: { type: "exponential", delay: firstPause },
      // What was scored lies in the folder; what failed stays until somebody looks at it.
      removeOnComplete: true,
      removeOnFail: false,
      stackTraceLimit: 1,
    },
  });
  // A connection that is lost comes back.
  queue.on("error", () => undefined);
  return queue;
}

export async function countsOf(queue: Queue<ShardReference>): Promise<QueueCounts> {
  const counts = await queue.getJobCounts("wait", "prioritized", "active", "delayed", "failed");
  const of = (name: string): number => counts[name] ?? 0;
  const workers = await queue.getWorkersCount();
  return {
    waiting: of("wait") + of("prioritized"),
    active: of("active"),
    delayed: of("delayed"),
    failed: of("failed"),
    workers,
  };
}

export type ShardJob = Job<ShardReference>;
