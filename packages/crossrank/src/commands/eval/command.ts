import { type Command, Option } from "commander";
import { parseFirstStage } from "../../cascade-options.js";
import type { Context } from "../../context.js";
import { addSystemOptions, addTaskOptions } from "../../evaluation-options.js";
import { defaultModel } from "../../model.js";
import { wholeNumber } from "../../options.js";
import type { EvalCommandOptions } from "./run.js";

const help = `
Task:
  A folder (BEIR, MTEB, or a TREC run with text) or a dataset's id on the hub. What it
  brings as candidates is reranked; where it brings none, BM25's best are (--depth), and
  a bi-encoder searches the whole corpus (--retrieve does so in any case).

Rows:
  random and constant (one score for all) are what a broken model looks like; the first
  stage is the order before reranking; the others are held against the reference. Ties
  count with their expected value. The interval is of 95 %, Δ is paired by query with
  its one-sided lower bound, p is of a randomisation test, after Holm.

Gate:
  0.005 is a loss of the first metric that is accepted: the lower bound of Δ must lie
  above −0.005. A JSON file can hold more: {"margin": 0.005, "scores": {"tau": 0.95,
  "topOne": 0.92}, "quality": {"retention": 0.99}, "systems": {"onnx:q4": {…}}}; what it
  leaves out has the bound of the precision, false is not judged. "change": 0.005 holds
  the change of the mean to a bound on either side.

Cascade:
  --cascade nano scores the task with nano and with --model, and holds cascades of the two
  against --model alone: the smallest --keep whose lower bound of Δ lies above the loss of
  --gate (default 0.005), with every larger one. Times are processor time of a document,
  of both models in turns. --report has cascade.html with a plot, and cascade.json.

Report:
  --report DIR keeps every score as it comes: a run that was stopped or killed goes on
  where it was. In it are report.json, .md, .html, junit.xml, mteb/*.json (each system's
  result in MTEB's form) and runs/*.trec.

Examples:
  $ crossrank eval --task ./scifact --backend onnx:fp32 --backend onnx:int8 --gate 0.005
  $ crossrank eval --task ./scifact --model ./my-model -b onnx:fp32 -b coreml:reference --gate 0.005
  $ crossrank eval --task mteb/scifact --model ./my-model --report ./report --limit 50
  $ crossrank eval --task ./scifact --model ./my-model --cascade nano --gate 0.003 --report ./report
  $ crossrank eval --task ./scifact --model ./my-bi-encoder --retrieve --metric ndcg@10

Exit code: 0 done, 1 failed or a gate failed, 2 wrong usage, 130 interrupted.`;

export function addEvalCommand(program: Command, context: Context): void {
  const command = program
    .command("eval")
    .summary("measure a model on a task, on one or several backends")
    .description(
      "Scores a task with every backend and holds them against each other, with intervals and gates.",
    )
    .requiredOption("-t, --task <source>", "folder, or a dataset's id");
  addTaskOptions(command)
    .option("--depth <n>", "candidates of a query where BM25 finds them (default: 100)", wholeNumber)
    .option("--retrieve", "search the whole corpus; for bi-encoders")
    .option("--exclude-identical-ids", "no document for a query of the same id (ArguAna, Quora)")
    .option("-m, --model <source>", "folder, repository id, or nano, the embedded model", defaultModel);
  addSystemOptions(command)
    .option(
      "--metric <name>",
      "ndcg@k, map, mrr@k, recall@k, precision@k, success@k; several times, the first one counts most",
      (value: string, before: readonly string[] = []) => [...before, value],
    )
    .addOption(
      new Option(
        "--cascade <model>",
        "small model before the --model, also with settings as in nano,backend=onnx:int8: finds how few documents may go on",
      ).argParser(parseFirstStage),
    )
    .option(
      "--keep <n>",
      "with --cascade, how many documents go on; several times (default: a sweep)",
      (value: string, before: readonly number[] = []) => [...before, wholeNumber(value)],
    )
    .option("--gate <rules>", "accepted loss of the first metric, e.g. 0.005, or a JSON file")
    .option("--seed <n>", "of what is drawn at random (default: 1)", wholeNumber)
    .option("--report <folder>", "keep scores and write the report here")
    .option("--fresh", "score again what is in the report's folder")
    .addOption(
      new Option("-f, --format <format>", "table for people, json for programs, markdown for a pull request")
        .choices(["table", "json", "markdown"])
        .default("table"),
    )
    .addHelpText("after", help)
    .action(async (options: EvalCommandOptions) => {
      // Loaded when it is asked for: the other commands have no use for it.
      const { runEvalCommand } = await import("./run.js");
      await runEvalCommand(options, context);
    });
}
