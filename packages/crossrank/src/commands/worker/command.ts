import type { Command } from "commander";
import type { Context } from "../../context.js";
import { positiveNumber, wholeNumber } from "../../options.js";
import { addScorerOptions, requireScorerChoices } from "../score/scorer-options.js";
import type { WorkerCommandOptions } from "./run.js";

const help = `
A worker takes shards that \`crossrank score --queue\` has put into a queue, and writes their scores
into the folder of the job. Start as many as you like, on as many machines; give each the model
and the options of \`score\`. Workers of another model, version or settings listen to another queue.
The queue carries no texts: the pairs and the folder must be where every worker finds them, under
the same path or in S3 (s3://bucket/...).

On SIGTERM it takes no more shards and ends with the one under way. A worker that is killed leaves
its shard to another one after --lock-seconds. A shard that fails is tried five times in all, and
then stays as a dead letter until \`crossrank score --retry\`.

Examples:
  $ crossrank worker --queue redis://queue:6379 --files /shared
  $ crossrank worker --queue redis://queue:6379 --files s3://bucket/scores --model ./my-model
  $ crossrank worker --queue redis://queue:6379 --files /shared --metrics-port 9464

Exit code: 0 ended as asked, 1 failed, 2 wrong usage.`;

export function addWorkerCommand(program: Command, context: Context): void {
  const command = program
    .command("worker")
    .summary("score shards of a queue, beside other workers")
    .description("Scores shards that `crossrank score --queue` has put into a queue.")
    .requiredOption("--queue <address>", "Redis or Valkey, e.g. redis://localhost:6379")
    .option(
      "--files <places...>",
      "folders and prefixes of S3 that it may read and write; no job leads out of them (default: the working directory)",
    )
    .option(
      "--lock-seconds <n>",
      "seconds until the shard of a killed worker goes to another (default: 30)",
      wholeNumber,
    )
    .option(
      "--max-stalled <n>",
      "how often a shard may lose its worker before it counts as failed (default: 1000)",
      wholeNumber,
    )
    .option(
      "--drain-seconds <n>",
      "seconds for the shard under way once the worker is asked to end; then it goes back into the queue (default: 25)",
      positiveNumber,
    )
    .option("--metrics-port <n>", "serve /metrics for Prometheus and /health on this port", wholeNumber)
    .option("--metrics-host <name>", "address of /metrics (default: 127.0.0.1)")
    .option("--until-empty", "end when the queue has no shards");
  addScorerOptions(command);
  command.addHelpText("after", help).action(async (options: WorkerCommandOptions) => {
    requireScorerChoices(options);
    const { work } = await import("./run.js");
    await work(options, context);
  });
}
