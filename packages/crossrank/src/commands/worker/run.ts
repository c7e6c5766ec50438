import { setTimeout as sleep } from "node:timers/promises";
import type { ShardEvent } from "@crossrank/queue";
import type { Context } from "../../context.js";
import { isTyped } from "../../failure.js";
import { loadQueuePackage, queueName } from "../../score/queue-package.js";
import { openShardProcess } from "../../score/shard-process.js";
import { toSingleLine } from "../../text.js";
import type { ScorerChoices } from "../score/scorer-options.js";

export interface WorkerCommandOptions extends ScorerChoices {
  readonly queue: string;
  readonly files?: readonly string[];
  readonly lockSeconds?: number;
  readonly maxStalled?: number;
  readonly drainSeconds?: number;
  readonly metricsPort?: number;
  readonly metricsHost?: string;
  readonly untilEmpty?: true;
}

/** Seconds for the shard under way: below the 30 that Kubernetes gives by itself. */
const defaultDrainSeconds = 25;

/** Milliseconds beside the shard's own, for what comes after it. */
const grace = 15_000;

/** Milliseconds between two looks whether the queue is empty. */
const lookInterval = 500;

export async function work(
  options: WorkerCommandOptions,
  { signal, endWithin, log }: Context,
): Promise<void> {
  const { queue: url, lockSeconds, maxStalled, drainSeconds = defaultDrainSeconds } = options;
  const { createWorkerMetrics, describeAddress, GiveUpError, serveMetrics, startShardWorker } =
    await loadQueuePackage("crossrank worker");
  endWithin(drainSeconds * 1000 + grace);
  const shardProcess = await openShardProcess(options, options.files ?? [process.cwd()], signal);
  try {
    const name = queueName(shardProcess.model.fingerprint);
    const metrics = createWorkerMetrics(async () => worker.counts());
    const onEvent = (event: ShardEvent): void => {
      metrics.record(event);
      const line = describeEvent(event);
      if (event.event === "started") log(line);
      else process.stderr.write(`${line}\n`);
    };
    const worker = await startShardWorker({
      url,
      name,
      lockSeconds,
      maxStalledCount: maxStalled,
      onEvent,
      run: async (reference, stopping) => {
        try {
          return await shardProcess.score(reference, stopping);
        } catch (error) {
          // What the job is like, another try finds, too.
          if (isTyped(error) && (error as { code?: string }).code === "score-job") {
            throw new GiveUpError((error as Error).message);
          }
          throw error;
        }
      },
    });
    const serving =
      options.metricsPort === undefined
        ? undefined
        : await serveMetrics(metrics, {
            port: options.metricsPort,
            host: options.metricsHost ?? "127.0.0.1",
          });
    process.stderr.write(
      `worker: ${shardProcess.model.name}; shards of ${name} on ${describeAddress(url)}` +
        `${serving === undefined ? "" : `; metrics on port ${serving.port}`}\n`,
    );
    try {
      await untilAsked(signal, options.untilEmpty === true ? worker : undefined);
    } finally {
      if (signal.aborted) process.stderr.write("worker: ending with the shard under way\n");
      await worker.close(drainSeconds);
      await serving?.close();
    }
  } finally {
    await shardProcess.close();
  }
}

/** Until a signal comes, or the queue is empty. */
async function untilAsked(
  signal: AbortSignal,
  watched: { counts(): Promise<{ waiting: number; active: number; delayed: number }> } | undefined,
): Promise<void> {
  const pause = (milliseconds: number): Promise<unknown> =>
    sleep(milliseconds, undefined, { signal }).catch(() => undefined);
  // A server that is away answers late, and who asks the worker to end does not wait for it.
  const asked = new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  while (!signal.aborted) {
    await pause(lookInterval);
    if (watched === undefined) continue;
    const counts = await Promise.race([watched.counts(), asked]);
    if (counts !== undefined && counts.waiting + counts.active + counts.delayed === 0) return;
  }
}

function describeEvent(event: ShardEvent): string {
  const { output, shard } = event.reference;
  const what = `worker: shard ${shard} of ${output}`;
  switch (event.event) {
    case "started":
      return `${what} begins`;
    case "done": {
      const failed = event.failed === 0 ? "" : `, ${event.failed} of them without a score`;
      return `${what}: ${event.rows} rows in ${event.seconds.toFixed(1)} s${failed}`;
    }
    case "returned":
      return `${what} goes back into the queue`;
    case "failed":
      return toSingleLine(
        `${what} failed${event.isLast ? " for good" : ", and is tried again"}: ${event.error.message}`,
      );
  }
}
