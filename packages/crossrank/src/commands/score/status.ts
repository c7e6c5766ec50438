import type { ShardQueue } from "@crossrank/queue";
import { type Context, print } from "../../context.js";
import { CommandError } from "../../failure.js";
import { jobIdentity, readManifest, type ScoreManifest } from "../../score/manifest.js";
import { loadQueuePackage, queueName, storageOf } from "../../score/queue-package.js";
import { doneShards } from "../../score/score-job.js";
import { failedShards } from "../../score/score-through-queue.js";
import type { ScoreCommandOptions } from "./run.js";

/** Failed shards that are listed one by one. */
const mostListed = 20;

/** Says how far a job is, as JSON, and puts back what has failed where that is asked for. Opens no model. */
export async function status(options: ScoreCommandOptions, { log }: Context): Promise<void> {
  const output = await (await storageOf(options.output)).openOutput(options.output);
  const manifest = await readManifest(output);
  if (manifest === undefined) {
    throw new CommandError(`${output.place} holds no job. Name the folder that score was given as --output`);
  }
  const done = await doneShards({ manifest, output });
  const shards = { shards: manifest.shards, done: done.count };
  if (options.queue === undefined) return print(`${JSON.stringify({ ...factsOf(manifest), ...shards })}\n`);
  const { openShardQueue } = await loadQueuePackage("--queue");
  const name = queueName(manifest.model.fingerprint);
  log(`asking ${name}`);
  const queue = await openShardQueue({ url: options.queue, name });
  try {
    const job = { id: jobIdentity(manifest, output.place), manifest, output };
    const failed = await failedShards(job, queue, done.isDone);
    const retried = options.retry === true ? await retry(queue, failed) : {};
    const counts = await queue.counts();
    await print(
      `${JSON.stringify({
        ...factsOf(manifest),
        ...shards,
        queue: { name, ...counts },
        ...retried,
        failed:
          options.retry === true
            ? []
            : failed.slice(0, mostListed).map(({ shard, reason }) => ({ shard, reason })),
      })}\n`,
    );
  } finally {
    await queue.close();
  }
}

async function retry(
  queue: ShardQueue,
  failed: readonly { readonly id: string }[],
): Promise<{ retried: number }> {
  await queue.retry(failed.map(({ id }) => id));
  return { retried: failed.length };
}

function factsOf({ model, input }: ScoreManifest): object {
  return { model: model.id, fingerprint: model.fingerprint, rows: input.rows };
}
