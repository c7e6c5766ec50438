import { UnrecoverableError, WaitingError, Worker } from "bullmq";
import { answerWithin, connect, describeAddress, patience, restartPatience } from "./connection.js";
import { QueueError } from "./errors.js";
import {
  countsOf,
  openQueue,
  prefix,
  type QueueCounts,
  type QueuedShard,
  type ShardJob,
  type ShardReference,
} from "./shard-queue.js";

/** What a worker tells of a shard. */
export type ShardEvent =
  | { readonly event: "started"; readonly reference: ShardReference }
  | {
      readonly event: "done";
      readonly reference: ShardReference;
      readonly seconds: number;
      readonly rows: number;
      readonly failed: number;
    }
  | {
      readonly event: "failed";
      readonly reference: ShardReference;
      readonly error: Error;
      readonly isLast: boolean;
    }
  | { readonly event: "returned"; readonly reference: ShardReference };

export interface ShardWorkerOptions {
  readonly url: string;
  readonly name: string;
  /**
   * Scores one shard. Must leave the event loop free, or its lock runs out and another worker scores it, too.
   * @throws {@link GiveUpError} where another try would fail as well.
   */
  readonly run: (
    reference: QueuedShard,
    signal: AbortSignal,
  ) => Promise<{ readonly rows: number; readonly failed: number }>;
  /** Seconds after which a shard whose worker is gone goes to another. Default 30. */
  readonly lockSeconds?: number | undefined;
  /**
   * How often a shard may lose its worker before it counts as failed. Default 1000: a shard is not guilty of the machines
   * that were taken away under it, and BullMQ's own default of 1 loses shards.
   */
  readonly maxStalledCount?: number | undefined;
  readonly onEvent?: ((event: ShardEvent) => void) | undefined;
}

export interface ShardWorker {
  /** @throws {QueueError} where the server has not answered for a minute. */
  counts(): Promise<QueueCounts>;
  /**
   * Takes no more shards, and ends with the one under way; that one goes back where it takes longer than `seconds`. Ends
   * ten seconds later in any case: a shard that the server then does not hear of goes to another worker when its lock
   * has run out.
   */
  close(seconds: number): Promise<void>;
}

/** Another try would fail as this one did. */
export class GiveUpError extends UnrecoverableError {}

export const defaultMaxStalledCount = 1000;
export const defaultLockSeconds = 30;

/** @throws {QueueError} */
export async function startShardWorker(options: ShardWorkerOptions): Promise<ShardWorker> {
  const { url, name, run, onEvent } = options;
  const lockDuration = (options.lockSeconds ?? defaultLockSeconds) * 1000;
  const redis = await connect(url);
  const queue = openQueue(redis, name);
  const giveBack = new AbortController();
  const worker = new Worker<ShardReference>(
    name,
    async (job: ShardJob, token?: string) => {
      const reference = job.data;
      const start = performance.now();
      onEvent?.({ event: "started", reference });
      try {
        const counts = await run({ ...reference, id: job.id ?? "" }, giveBack.signal);
        onEvent?.({ event: "done", reference, seconds: (performance.now() - start) / 1000, ...counts });
      } catch (error) {
        if (giveBack.signal.aborted) {
          onEvent?.({ event: "returned", reference });
          await job.moveToWait(token);
          throw new WaitingError();
        }
        throw error;
      }
    },
    {
      connection: redis,
      prefix,
      concurrency: 1,
      lockDuration,
      // Also of shards that other workers have left.
      stalledInterval: lockDuration,
      maxStalledCount: options.maxStalledCount ?? defaultMaxStalledCount,
      removeOnComplete: { count: 0 },
      // Not before whoever started it holds it: a start that fails leaves no shard under way.
      autorun: false,
    },
  );
  // Of the connection, which comes back; a shard's own errors are "failed".
  worker.on("error", () => undefined);
  worker.on("failed", (job, error) => {
    if (job === undefined) return;
    const isLast = error instanceof UnrecoverableError || job.attemptsMade >= (job.opts.attempts ?? 1);
    onEvent?.({ event: "failed", reference: job.data, error, isLast });
  });
  try {
    await answerWithin(url, patience, worker.waitUntilReady());
  } catch (cause) {
    redis.endAll();
    await answerWithin(url, patience, worker.close(true)).catch(() => undefined);
    if (cause instanceof QueueError) throw cause;
    const { message } = cause as Error;
    throw new QueueError(
      "unreachable",
      `${describeAddress(url)} went away while the worker started (${message}). Start the worker again`,
      { cause },
    );
  }
  // What goes wrong with its connection it says as "error".
  worker.run().catch(() => undefined);
  return {
    counts: () => answerWithin(url, restartPatience, countsOf(queue)),
    async close(seconds) {
      const timer = setTimeout(() => giveBack.abort(new Error("the worker ends")), seconds * 1000);
      try {
        const closed = (async () => {
          await worker.close();
          await queue.close();
        })();
        await answerWithin(url, seconds * 1000 + patience, closed).catch(() => undefined);
      } finally {
        clearTimeout(timer);
        redis.endAll();
      }
    },
  };
}
