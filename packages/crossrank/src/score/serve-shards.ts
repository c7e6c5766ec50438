import { openScorer } from "../commands/score/open-scorer.js";
import { CommandError } from "../failure.js";
import { createProgress } from "../progress.js";
import { sendError } from "../scoring-process.js";
import { requireAllowed } from "./allowed-places.js";
import { ScoreJobError } from "./errors.js";
import { storageOf } from "./queue-package.js";
import {
  type JobScorer,
  openJob,
  requireSameJob,
  runShard,
  type ScoreJob,
  scorerOf,
  shardIdentity,
} from "./score-job.js";
import {
  type NumberedShardRequest,
  type OpenedShardModel,
  type ShardReply,
  type ShardRequest,
  shardCommand,
} from "./shard-protocol.js";

/** Jobs whose index is in memory. */
const mostJobs = 4;

/** Scores the shards that a worker asks for, until it is asked to close or the worker is gone. */
export async function serveShards(): Promise<void> {
  if (process.send === undefined) {
    throw new CommandError(`${shardCommand} is started by crossrank worker, and is of no use alone`);
  }
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    // A terminal sends them to all its processes; the worker is who decides when this one ends.
    process.removeAllListeners(name);
    process.on(name, () => undefined);
  }
  const stop = new AbortController();
  const jobs = new Map<string, ScoreJob>();
  let scorer: JobScorer | undefined;
  let files: readonly string[] = [];
  let close: (() => Promise<void>) | undefined;
  const reply = (message: ShardReply): void => {
    process.send?.(message);
  };

  await new Promise<void>((resolve) => {
    // Nobody is left to answer: also when the worker was killed.
    process.once("disconnect", () => process.exit(0));
    process.on("message", (request: NumberedShardRequest) => {
      if (request.ask === "stop") return stop.abort(new Error("the worker ends"));
      const { number } = request;
      void (async () => {
        try {
          reply({ number, reply: "done", value: await answer(request) });
        } catch (error) {
          reply({ number, reply: "failed", error: sendError(error) });
        }
        if (request.ask === "close") resolve();
      })();
    });
  });
  process.disconnect?.();

  async function answer(request: ShardRequest): Promise<unknown> {
    switch (request.ask) {
      case "open":
        return open(request);
      case "shard":
        return score(request);
      default:
        await close?.();
        return undefined;
    }
  }

  async function open(request: Extract<ShardRequest, { ask: "open" }>): Promise<OpenedShardModel> {
    files = request.files;
    const progress = createProgress(process.stderr);
    const opened = await openScorer(request.choices, { signal: stop.signal, progress });
    close = () => opened.dispose();
    scorer = await scorerOf(opened.reranker, opened.call).catch((error: unknown) => {
      throw opened.translate(error);
    });
    const { model, backend } = scorer.facts;
    const { format, dtype } = model.artifact;
    return { fingerprint: model.fingerprint, name: `${model.id}, ${format} ${dtype}, ${backend.name}` };
  }

  async function score({ output, shard, id }: Extract<ShardRequest, { ask: "shard" }>): Promise<unknown> {
    if (scorer === undefined) throw new CommandError("no model is open");
    const known = jobs.get(output);
    // A folder that was emptied may hold another job by now: it is opened anew.
    const isKnown =
      known !== undefined &&
      (await requireSameJob(known).then(
        () => true,
        () => false,
      ));
    const job = isKnown ? known : await openAllowed(scorer, output);
    jobs.delete(output);
    jobs.set(output, job);
    for (const [oldest] of jobs) if (jobs.size > mostJobs) jobs.delete(oldest);
    try {
      if (shard >= job.manifest.shards || shardIdentity(job, shard) !== id) {
        throw new ScoreJobError("output", output, "holds another job than the one that this shard is of");
      }
      return await runShard(job, scorer, shard, stop.signal);
    } catch (error) {
      // Another try reads the job anew: it may have been the file that was not there for a moment.
      jobs.delete(output);
      throw error;
    }
  }

  async function openAllowed(own: JobScorer, output: string): Promise<ScoreJob> {
    await requireAllowed(output, files);
    return openJob(
      own,
      output,
      { storageOf, requireInput: (place) => requireAllowed(place, files) },
      stop.signal,
    );
  }
}
