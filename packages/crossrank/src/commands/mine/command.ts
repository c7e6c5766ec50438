import { type Command, InvalidArgumentError, Option } from "commander";
import type { Context } from "../../context.js";
import { backendOption, conversionOption, tableOrJson, wholeNumber } from "../../options.js";
import type { MineCommandOptions } from "./run.js";

const help = `
Queries:
  JSONL of judged queries, in any form that crossrank train reads, e.g. {"query": "…",
  "positive": "…"}; or a task (a BEIR folder or a dataset's id), whose judged documents
  are the positives. Several by giving the option again.

Corpus:
  JSONL of documents, {"text": "…"} with or without "title", or the same forms as the
  queries, whose documents are taken; or a task. Default: the documents of --queries.

Negatives:
  BM25 finds --depth candidates. A judged positive is never among them, nor one that
  begins with it or that it begins with. The teacher scores them beside the positives.
  What comes within --margin of the weakest positive is likely relevant and is dropped;
  the hardest of the others are taken.

Output:
  Rows of {"query", "positive", "negative"}; of --form lists rows of {"query",
  "documents": [{"text", "label", "teacher"}]}, for distillation. The file appears when
  it is whole. Until then FILE.part lies beside it: the same command goes on with it.

Examples:
  $ crossrank mine --queries judged.jsonl --corpus corpus.jsonl --output triplets.jsonl
  $ crossrank mine --queries ./scifact --split train --corpus ./scifact --teacher ./big -o lists.jsonl --form lists
  $ crossrank mine --queries judged.jsonl --no-teacher --output easy.jsonl

Exit code: 0 written, 1 failed, 2 wrong usage, 130 interrupted.`;

export function addMineCommand(program: Command, context: Context): void {
  program
    .command("mine")
    .summary("find hard negatives for judged queries, to train on")
    .description("Finds documents that are near to relevant and are not, with BM25 and a teacher.")
    .requiredOption("-q, --queries <source>", "JSONL of judged queries, or a task; may be repeated", collect)
    .option("-c, --corpus <source>", "JSONL of documents, or a task; may be repeated", collect)
    .requiredOption("-o, --output <file>", "JSONL to write")
    .option("--split <name>", "split of a task's judgements (default: train)")
    .option("--subset <name>", "subset of a dataset that has several, e.g. a language")
    .option("--teacher <model>", "folder or repository id of a reranker or bi-encoder (default: nano)")
    .option("--no-teacher", "take BM25's order, and drop nothing by its score")
    .addOption(backendOption())
    .addOption(new Option("--form <name>", "triplets (default), or lists").choices(["triplets", "lists"]))
    .option("--negatives <n>", "of a query, at most (default: 4)", wholeNumber)
    .option("--depth <n>", "candidates that BM25 gives the teacher (default: 50)", wholeNumber)
    .option("--margin <n>", "in the teacher's unit (default: 1 logit, 0.05 of a cosine)", notNegative)
    .option(
      "--skip-top <n>",
      "best candidates to leave out whatever their score (default: 0)",
      notNegativeWhole,
    )
    .addOption(
      new Option("--pick <which>", "hardest (default), or random: drawn from what is left").choices([
        "hardest",
        "random",
      ]),
    )
    .option("--seed <n>", "of what is drawn at random (default: 0)", notNegativeWhole)
    .option("--skip-bad-rows", "leave out rows that cannot be used, up to a tenth")
    .option("--offline", "use what is in the cache, download nothing")
    .addOption(conversionOption())
    .addOption(tableOrJson())
    .addHelpText("after", help)
    .action(async (options: MineCommandOptions) => {
      // Loaded when it is asked for: --help has no use for it.
      const { runMineCommand } = await import("./run.js");
      await runMineCommand(options, context);
    });
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function notNegative(value: string): number {
  const number = Number(value);
  if (value.trim() === "" || !Number.isFinite(number) || number < 0) {
    throw new InvalidArgumentError("It must be a number of at least 0.");
  }
  return number;
}

function notNegativeWhole(value: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number >= 2 ** 32) {
    throw new InvalidArgumentError("It must be a whole number of at least 0.");
  }
  return number;
}
