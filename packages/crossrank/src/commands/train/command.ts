import { type Command, InvalidArgumentError, Option } from "commander";
import type { Context } from "../../context.js";
import { backendOption, positiveNumber, tableOrJson, wholeNumber } from "../../options.js";
import type { TrainCommandOptions } from "./settings.js";

const help = `
Data:
  JSONL, also packed with gzip, whose first row says its form: {"query", "document",
  "label"}; {"query", "positive", "negative"}, which gives two pairs; {"query",
  "documents": [{"text", "label", "teacher"}]}; or clicks, {"query", "results": [{"text",
  "position", "clicked"}]}. Or a task: a BEIR folder or a dataset's id (--split train).

Held out:
  Nothing is trained on a held-out query. Of --held-out TASK, else of a share of the data
  by query, one half chooses the best weights on the way, and the other half judges the
  result (--gate-task TASK judges it on another). nDCG@10, with its 95 % interval.

Result:
  --output holds model/ (a model folder, with the artifacts of --to), adapter/ (as PEFT
  writes them) and report.html, .json, .md. It appears when everything has passed: each
  artifact is verified against the weights, and its nDCG@10 must not be below the base's
  by more than --gate, by the one-sided 95 % bound. Until then, and after a gate failed,
  what is kept lies in OUTPUT.training: the same command goes on with it. That a format
  cannot be written or judged here is said before anything is trained.

Examples:
  $ crossrank train ./my-model --data judged.jsonl --output ./adapted
  $ crossrank train ./my-model --data triplets.jsonl --held-out ./my-task --to onnx,gguf -o ./adapted
  $ crossrank train --config train.json --dry-run
  $ crossrank train ./my-model --data judged.jsonl --engine torch --python ./venv/bin/python -o ./adapted

Exit code: 0 done and passed, 1 failed or a gate failed, 2 wrong usage, 130 interrupted.`;

export function addTrainCommand(program: Command, context: Context): void {
  program
    .command("train")
    .summary("fine-tune a model on judged queries, and keep it if it is no worse")
    .description("Fine-tunes a reranker on judged queries, converts it, and holds it against its base.")
    .argument("[model]", "folder or repository id with safetensors weights")
    .option("--config <file>", "JSON of these options and more; what the command line says counts first")
    .option("-d, --data <source>", "JSONL of judged queries, or a task; may be repeated", collect)
    .option("--split <name>", "split of the judgements of a task that is --data (default: train)")
    .option("--held-out <task>", "folder or dataset's id to hold out (default: a share of the data)")
    .option("--held-out-split <name>", "its split (default: test, else the only one)")
    .option("--held-out-share <n>", "of the data's queries (default: 0.2)", positiveNumber)
    .option("--held-out-queries <n>", "queries of each half, at most (default: 200)", wholeNumber)
    .option("--gate-task <task>", "folder or dataset's id that judges the result")
    .option("--depth <n>", "candidates of a held-out query, at most (default: 20)", wholeNumber)
    .option("-o, --output <folder>", "where the result goes; it must not exist")
    .option("--to <formats>", "with commas: onnx, gguf:Q8_0, mnn, mlpackage, ctranslate2", collectList)
    .option("--gate <loss>", "nDCG@10 that may be lost (default: 0.005)", notNegative)
    .addOption(new Option("--engine <name>", "mlx (default), or torch").choices(["mlx", "torch"]))
    .option("--python <path>", "of torch: the Python that has sentence-transformers (default: python3)")
    .option("--threads <n>", "of the engine, where there is no GPU", wholeNumber)
    .addOption(
      new Option("--preset <name>", "default, full, distill").choices(["default", "full", "distill"]),
    )
    .addOption(
      new Option("--method <name>", "lora (default), qlora, full").choices(["lora", "qlora", "full"]),
    )
    .addOption(
      new Option("--loss <name>", "default: the family's own, bce or yes-no").choices([
        "bce",
        "yes-no",
        "listwise",
        "margin-mse",
        "kl",
      ]),
    )
    .option("--rank <n>", "of the adapters (default: 16)", wholeNumber)
    .option("--batch-size <n>", "examples of a pass (default: 4)", wholeNumber)
    .option("--accumulation <n>", "passes of a step (default: 8)", wholeNumber)
    .option("--epochs <n>", "passes over the data (default: 3)", wholeNumber)
    .option("--max-steps <n>", "end after so many steps", wholeNumber)
    .option("--learning-rate <n>", "highest one (default: 2e-5)", positiveNumber)
    .option("--max-tokens <n>", "of a pair (default: the model's own)", wholeNumber)
    .option("--evaluate-every <n>", "steps between held-out evaluations (default: an epoch)", wholeNumber)
    .option("--patience <n>", "evaluations without a better one to stop after (default: never)", wholeNumber)
    .option("--seed <n>", "of order, split, dropout and first weights (default: 0)", notNegativeWhole)
    .addOption(new Option("--keep <which>", "weights: best (default), or last").choices(["best", "last"]))
    .option("--teacher <model>", "scores documents that have no teacher's score, for kl and margin-mse")
    .addOption(backendOption())
    .option("--skip-bad-rows", "leave out rows that cannot be used, up to a tenth")
    .option("--fresh", "start anew what was begun")
    .option("--dry-run", "read and check everything, say what would be trained, and train nothing")
    .option("--revision <name>", "branch, tag or commit of the repository")
    .option("--offline", "use what is in the cache, download nothing")
    .addOption(tableOrJson())
    .addHelpText("after", help)
    .action(async (source: string | undefined, options: TrainCommandOptions) => {
      // Loaded when it is asked for: --help has no use for it.
      const { runTrainCommand } = await import("./run.js");
      await runTrainCommand(source, options, context);
    });
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function collectList(value: string, before: readonly string[] = []): readonly string[] {
  const names = value.split(",").map((name) => name.trim());
  if (names.includes("")) throw new InvalidArgumentError("It must be a format, or several with commas.");
  return [...before, ...names];
}

function notNegative(value: string): number {
  const number = Number(value);
  if (value.trim() === "" || !(number >= 0 && number <= 1)) {
    throw new InvalidArgumentError("It must be a number of 0 to 1.");
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
