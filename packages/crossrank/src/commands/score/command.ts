import { type Command, InvalidArgumentError } from "commander";
import type { Context } from "../../context.js";
import { UsageError } from "../../failure.js";
import { wholeNumber } from "../../options.js";
import type { ScoreCommandOptions } from "./run.js";
import { addScorerOptions, requireScorerChoices } from "./scorer-options.js";

const help = `
Input:
  JSONL or Parquet, told by the content: a row has a "query", and its document as "document" or
  "text", a "title" before it; --query-field and --text-field name others. An "id" goes along.
  Blank lines are no rows.

Output:
  manifest.json says with what the job was begun: the model, its settings, the pairs. shards/ has
  the scores of --shard-pairs rows a file. When all are there scores.jsonl has a line a row, in
  the order of the input, errors.jsonl those rows without a score, and summary.json the counts.
  A run that was stopped or killed goes on with the same command, and ends with the same bytes.
  Another model, other options or changed pairs are refused.

Workers:
  With --queue the shards go to \`crossrank worker\` processes, on any number of machines, which find
  the pairs and the folder under the same names. This command waits for them and joins the scores.

Examples:
  $ crossrank score --pairs pairs.jsonl --output scored
  $ crossrank score --pairs pairs.parquet --output scored --model ./my-model --backend onnx:int8
  $ crossrank score --pairs candidates.jsonl --output scored --query-field question --text-field title,body
  $ crossrank score --pairs /shared/pairs.jsonl --output /shared/scored --queue redis://queue:6379
  $ crossrank score --output /shared/scored --queue redis://queue:6379 --status

Exit code: 0 scored, 1 failed, 2 wrong usage, 130 interrupted.`;

export function addScoreCommand(program: Command, context: Context): void {
  const command = program
    .command("score")
    .summary("score a file of pairs, of any length, into a folder")
    .description("Scores every pair of a file, shard by shard, and goes on where it was stopped.")
    .option("-p, --pairs <file>", "pairs, as JSONL or Parquet; a file or s3://bucket/name")
    .requiredOption(
      "-o, --output <folder>",
      "where the scores go, a folder or s3://bucket/name; one that has a job goes on with it",
    )
    .option(
      "--queue <address>",
      "have workers score, which listen to Redis or Valkey, e.g. redis://localhost:6379",
    )
    .option("--status", "say how far the job of --output is, and score nothing")
    .option("--retry", "put shards that have failed for good back into the queue, and score nothing")
    .option("--query-field <name>", "field of a row that is its query (default: query)")
    .option(
      "--text-field <names>",
      "fields of a row that are its document's text, e.g. title,body (default: document, or title and text)",
      fieldNames,
    )
    .option("--shard-pairs <n>", "pairs of a shard, which is scored in whole (default: 1000)", wholeNumber)
    .option("--batch-pairs <n>", "most pairs of one call of the model (default: 256)", wholeNumber);
  addScorerOptions(command);
  command.addHelpText("after", help).action(async (options: ScoreCommandOptions) => {
    requireScorerChoices(options);
    if (options.status === true && options.retry === true) {
      throw new UsageError("--status and --retry do different things; give one of them");
    }
    if (options.retry === true && options.queue === undefined) {
      throw new UsageError("--retry is of a queue. Name it with --queue");
    }
    if (options.status === true || options.retry === true) {
      const { status } = await import("./status.js");
      return status(options, context);
    }
    if (options.pairs === undefined)
      throw new UsageError("there is nothing to score; name a file with --pairs");
    const { score } = await import("./run.js");
    await score(options, context);
  });
}

function fieldNames(value: string): readonly string[] {
  const names = value.split(",").map((name) => name.trim());
  if (names.some((name) => name === ""))
    throw new InvalidArgumentError("Write names with commas between them.");
  return names;
}
