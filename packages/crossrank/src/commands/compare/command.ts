import { type Command, Option } from "commander";
import type { Context } from "../../context.js";
import { addSystemOptions, addTaskOptions } from "../../evaluation-options.js";
import { UsageError } from "../../failure.js";
import { defaultModel } from "../../model.js";
import { wholeNumber } from "../../options.js";
import type { CompareCommandOptions } from "./run.js";

const help = `
Pairs:
  JSONL, one object a line: {"query": "…", "document": "…"} or {"query": "…", "documents":
  ["…", …]}; lines of one query count together. "relevant": true on a line with one
  document marks a right answer. Or a task: of each query its first candidates (--depth)
  and, for a bi-encoder, its relevant documents.

Output:
  The pairs whose logits differ most, statistics over all pairs, and what they amount to:
  same, noise, shifted head, squashed twice, collapsed, reversed, or not comparable. For
  a bi-encoder also what it finds among the documents that were compared, and the cosine
  of each text's vectors on the two backends.

Gate:
  --gate holds τ-b and top-1 overlap against the bounds of the precision, --gate FILE
  against its own, e.g. {"scores": {"tau": 0.95, "topOne": 0.92}}.

Examples:
  $ crossrank compare --pairs pairs.jsonl --model ./my-model --backend onnx:int8 --reference onnx:fp32
  $ crossrank compare --task ./scifact --limit 50 --model ./my-model --backend onnx:fp32 --backend onnx:int8

Exit code: 0 done, 1 failed or a gate failed, 2 wrong usage, 130 interrupted.`;

export function addCompareCommand(program: Command, context: Context): void {
  const command = program
    .command("compare")
    .summary("hold the scores of backends against each other")
    .description("Scores the same pairs with every backend and says how alike the scores are, and why not.")
    .addOption(new Option("--pairs <file>", "pairs to score").conflicts(["task", "candidates", "limit"]))
    .option("-t, --task <source>", "folder or dataset whose candidates to score")
    .option("-m, --model <source>", "folder, repository id, or nano, the embedded model", defaultModel);
  addTaskOptions(command).option("--depth <n>", "candidates of each query of a task", wholeNumber, 20);
  addSystemOptions(command)
    .option("--top <n>", "pairs to show, the most different ones first", wholeNumber, 20)
    .option("--gate [file]", "fail when scores differ too much")
    .addOption(
      new Option("-f, --format <format>", "table for people, json for programs")
        .choices(["table", "json"])
        .default("table"),
    )
    .addHelpText("after", help)
    .action(async (options: CompareCommandOptions) => {
      if (options.pairs === undefined && options.task === undefined) {
        throw new UsageError("give the pairs to score with --pairs, or a --task");
      }
      // Loaded when it is asked for: the other commands have no use for it.
      const { runCompareCommand } = await import("./run.js");
      await runCompareCommand(options, context);
    });
}
