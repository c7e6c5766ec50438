import { type Command, InvalidArgumentError, Option } from "commander";
import { backendNames, parseBackend } from "../../backend-names.js";
import { parseFirstStage } from "../../cascade-options.js";
import type { Context } from "../../context.js";
import { addTaskOptions, type SystemChoice } from "../../evaluation-options.js";
import { defaultModel } from "../../model.js";
import { conversionOption, modelOptions, positiveNumber, wholeNumber } from "../../options.js";
import type { PickCommandOptions } from "./run.js";

const help = `
Which runtime and which precision on this machine? All that work here are tried: what the
model has files for, and what its weights can be converted to (into the cache). Each is
scored on the task in a process of its own and held against the reference, the most exact
that works here. Those that pass are timed in turn, in rounds, on the task's own texts.

Gate:
  The lower 95 % bound of the change of nDCG@10 must lie above −max-loss: the gate of
  crossrank eval --gate. Few queries give a wide interval, and what they cannot show fails.

Choice:
  Two systems are level where the 95 % interval of their ratio contains 1. Of those that
  are level with the fastest the most exact is recommended.

Cascade:
  With --cascade nano the small model is scored too, and stands before what is recommended:
  the smallest keep that passes the gate with every larger one is found, and whole calls are
  timed in turns with the large model alone. It is recommended where it passes and is faster.

Time:
  --time is for all of it. Each candidate has its share, the cheap ones first; where there
  is no time for all queries, all are scored on the first ones. What was scored is kept:
  the same command goes on where it was stopped, killed, or out of time.

Examples:
  $ crossrank pick --model ./my-model --task ./scifact
  $ crossrank pick ./my-model --task ./scifact --max-loss 0.01 --time 3600 --write
  $ crossrank pick ./my-model --task ./scifact -b onnx -b llamacpp:Q8_0 --format markdown
  $ crossrank pick ./my-model --task ./scifact -b onnx --cascade nano,backend=onnx:int8

Exit code: 0 a system is recommended, 1 none works or keeps the quality, 2 wrong usage,
130 interrupted.`;

export function addPickCommand(program: Command, context: Context): void {
  const command = program
    .command("pick")
    .summary("choose the runtime and precision for a model on this machine")
    .description("Tries what works here, drops what loses quality, times the rest, and recommends one.")
    .requiredOption("-t, --task <source>", "folder, or a dataset's id")
    .option("-m, --model <source>", "folder, repository id, or nano, the embedded model", defaultModel)
    .option("--max-loss <n>", "accepted loss of nDCG@10", loss, 0.005)
    .option("--time <seconds>", "for all of it", positiveNumber, 600)
    .option(
      "-b, --backend <name>",
      `runtime, or runtime and precision, to try; give it several times; known: ${backendNames.join(", ")}; or a file or npm package (default: all that work here, no reference)`,
      (value: string, before: readonly SystemChoice[] = []) => [...before, parseSystem(value)],
    )
    .option("--reference <name>", "what the others are held against (default: the most exact)", parseSystem);
  command.addOption(
    new Option(
      "--cascade <model>",
      "small model to try before what is recommended, also with settings as in nano,backend=onnx:int8",
    ).argParser(parseFirstStage),
  );
  addTaskOptions(command)
    .option("--depth <n>", "candidates of a query where BM25 finds them (default: 100)", wholeNumber)
    .option("--retrieve", "search the whole corpus; for bi-encoders")
    .option("--exclude-identical-ids", "no document for a query of the same id (ArguAna, Quora)")
    .option("--limit <n>", "only the first n queries, in the task's order", wholeNumber);
  for (const option of [...modelOptions(), conversionOption()]) command.addOption(option);
  command
    .option("--instruction <text>", 'what counts as relevant; "" for none (default: the model\'s own)')
    .option("--max-length <n>", "longest sequence in tokens (default: the model's own)", wholeNumber)
    .addOption(
      new Option("--truncation <strategy>", "what to cut when a pair is too long").choices([
        "document-only",
        "longest-first",
      ]),
    )
    .option("--threads <n>", "threads of each worker (default: from the machine)", wholeNumber)
    .option("--workers <n>", "workers of a backend (default: from the model)", wholeNumber)
    .option("--seed <n>", "of what is drawn at random", wholeNumber, 1)
    .option("--report <folder>", "keep scores and report.json here (default: scores in the cache)")
    .option("--write", "write the choice into crossrank.config.json; without it, it is shown")
    .addOption(
      new Option("-f, --format <format>", "table for people, json for programs, markdown for a page")
        .choices(["table", "json", "markdown"])
        .default("table"),
    )
    .addHelpText("after", help)
    .action(async (options: PickCommandOptions) => {
      // Loaded when it is asked for: --help has no use for it.
      const { runPickCommand } = await import("./run.js");
      await runPickCommand(options, context);
    });
}

function loss(value: string): number {
  const number = positiveNumber(value);
  if (number < 1) return number;
  throw new InvalidArgumentError("It must be a number above 0 and below 1.");
}

function parseSystem(value: string): SystemChoice {
  const backend = parseBackend(value);
  if (backend !== undefined) return { label: value, ...backend };
  throw new InvalidArgumentError(`Known backends: ${backendNames.join(", ")}; or a file or npm package.`);
}
