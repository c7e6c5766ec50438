import { setTimeout as sleep } from "node:timers/promises";
import type { QueueCounts, QueuedShard, ShardQueue } from "@crossrank/queue";
import { ScoreJobError } from "./errors.js";
import { joinScores, readSummary, type ScoreSummary } from "./join-scores.js";
import { doneShards, rowsOf, type ScoreJob, shardIdentity } from "./score-job.js";
import { paceOf, type ScorePairsProgress } from "./score-pairs.js";

/** Milliseconds between two looks at the queue, and at the folder; the latter also takes a share of the time at most. */
const queueInterval = 1000;
const folderInterval = 2000;
const folderShare = 20;

/** Dead letters that are looked through. */
const mostFailed = 10_000;

/** Looks at an idle queue with shards missing before they are put into it again, and how often that is done. */
const patience = 3;
const mostAgain = 10;

export interface ThroughQueueOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ScorePairsProgress) => void) | undefined;
  /** The queue has shards, and nobody scores. */
  readonly onNoWorkers?: (() => void) | undefined;
}

/** What the queue carries of a shard. */
export function queuedShard(job: ScoreJob, shard: number): QueuedShard {
  const { manifest, output } = job;
  const firstRow = shard * manifest.options.shardPairs;
  return {
    id: shardIdentity(job, shard),
    output: output.place,
    shard,
    firstRow,
    rows: rowsOf(manifest, shard),
  };
}

/**
 * Has the shards of a job scored by the workers of a queue, waits for them, and joins what they wrote. Stopped and called
 * again it goes on; what workers do meanwhile is kept.
 *
 * @throws {ScoreJobError} with the reason `unfinished` where shards have failed for good.
 */
export async function scoreThroughQueue(
  job: ScoreJob,
  queue: ShardQueue,
  { signal, onProgress, onNoWorkers }: ThroughQueueOptions,
): Promise<ScoreSummary> {
  const { manifest, output } = job;
  const total = manifest.input.rows;
  let done = await doneShards(job);
  const joined = done.count === manifest.shards ? await readSummary(job) : undefined;
  if (joined !== undefined) return joined;
  const missing = function* (): Generator<QueuedShard> {
    for (let shard = 0; shard < manifest.shards; shard += 1) {
      if (!done.isDone(shard)) yield queuedShard(job, shard);
    }
  };
  await queue.add(missing());
  const pace = paceOf(total);
  const rowsDone = (): number => Math.min(total, done.count * manifest.options.shardPairs);
  const before = rowsDone();
  let again = 0;
  let idle = 0;
  let lookedAt = performance.now();
  let cost = 0;
  let last = { progress: done.count, hasTold: false };
  onProgress?.({ step: "scoring", ...pace(before, rowsDone()) });
  while (done.count < manifest.shards) {
    await sleep(queueInterval, undefined, { signal });
    const counts = await queue.counts();
    const isIdle = counts.waiting + counts.active + counts.delayed === 0;
    const pause = Math.max(folderInterval, cost * folderShare);
    if (!isIdle && performance.now() - lookedAt < pause) continue;
    const start = performance.now();
    done = await doneShards(job);
    lookedAt = performance.now();
    cost = lookedAt - start;
    onProgress?.({ step: "scoring", ...pace(before, rowsDone()) });
    if (done.count === manifest.shards) break;
    if (counts.workers === 0 && !last.hasTold) {
      last = { ...last, hasTold: true };
      onNoWorkers?.();
    }
    if (counts.failed > 0) await requireNoneFailed(job, queue, counts, done.isDone);
    if (done.count > last.progress) {
      last = { ...last, progress: done.count };
      again = 0;
    }
    // A shard between the queue and its file is neither: only when it stays so has the queue lost it.
    idle = isIdle ? idle + 1 : 0;
    if (idle < patience) continue;
    idle = 0;
    again += 1;
    if (again > mostAgain) {
      throw new ScoreJobError(
        "unfinished",
        output.place,
        `${manifest.shards - done.count} shards are neither in the queue nor scored, and were put into it ${mostAgain} times. Look at what the workers say`,
      );
    }
    await queue.add(missing());
  }
  onProgress?.({ step: "joining", completed: total, total });
  return joinScores(job, signal);
}

/** Shards of a job that have failed for good; of another job that was in the same folder before, none. */
export async function failedShards(
  job: Pick<ScoreJob, "id" | "manifest" | "output">,
  queue: ShardQueue,
  isDone: (shard: number) => boolean,
): Promise<{ readonly id: string; readonly shard: number; readonly reason: string }[]> {
  const failed = await queue.failed(mostFailed);
  return failed
    .filter(({ id, reference: { shard } }) => shard < job.manifest.shards && id === shardIdentity(job, shard))
    .filter(({ reference }) => reference.output === job.output.place && !isDone(reference.shard))
    .map(({ id, reference, reason }) => ({ id, shard: reference.shard, reason }));
}

/** Ends the wait once nothing but failed shards is missing. */
async function requireNoneFailed(
  job: ScoreJob,
  queue: ShardQueue,
  counts: QueueCounts,
  isDone: (shard: number) => boolean,
): Promise<void> {
  const { manifest, output } = job;
  const failed = await failedShards(job, queue, isDone);
  const [first] = failed;
  if (first === undefined) return;
  let missing = 0;
  for (let shard = 0; shard < manifest.shards; shard += 1) if (!isDone(shard)) missing += 1;
  const isOver = missing <= failed.length || counts.waiting + counts.active + counts.delayed === 0;
  if (!isOver) return;
  throw new ScoreJobError(
    "unfinished",
    output.place,
    `${failed.length} of ${manifest.shards} shards have failed for good, first shard ${first.shard}: ${first.reason}. ` +
      "Mend the cause, then put them back with --retry, and run it again",
  );
}
