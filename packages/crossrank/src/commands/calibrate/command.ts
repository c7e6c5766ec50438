import { type Command, Option } from "commander";
import type { Context } from "../../context.js";
import { addTaskOptions } from "../../evaluation-options.js";
import { defaultModel } from "../../model.js";
import {
  backendOption,
  conversionOption,
  fileOption,
  modelOptions,
  tableOrJson,
  wholeNumber,
} from "../../options.js";
import { calibrationOption } from "../../score-options.js";
import type { CalibrateCommandOptions } from "./run.js";

const help = `
Pairs:
  JSONL, one pair a line: {"query": "…", "document": "…", "relevance": 1}. In place of
  "document" it may say "text", in place of "relevance" "relevant" or "label"; true and
  false are read as 1 and 0. A pair is relevant from --relevant-from on (default 1). Of a
  task the judged pairs are taken. At least 50 pairs, and 10 of each kind.

Fit:
  platt fits slope and intercept, temperature the slope alone. Both keep the order of the
  documents. The error is given before and after, and held out: on queries that the fit
  did not see. Log-loss is in nats a pair; the calibration error is the mean distance of
  a probability from what came true, over 15 bins. The probabilities hold for pairs as
  relevant as those: of other candidates fit another calibration.

Output:
  The entry "calibration" of --calibration FILE, else of crossrank.json in the model's
  folder; what else the file holds stays. Of a repository and of nano it is only printed
  where no file is named.

Examples:
  $ crossrank calibrate ./my-model --pairs judged.jsonl
  $ crossrank calibrate --task ./feedbackqa --unjudged not-relevant --calibration nano.json
  $ crossrank rerank --query "…" --documents corpus.jsonl --calibration nano.json --threshold 0.5

Exit code: 0 fitted, 1 failed or no fit, 2 wrong usage, 130 interrupted.`;

export function addCalibrateCommand(program: Command, context: Context): void {
  const command = program
    .command("calibrate")
    .summary("fit a model's probabilities on judged pairs")
    .description("Fits how a model's logits become probabilities, on pairs that somebody has judged.")
    .argument("[model]", "folder, repository id, or nano, the embedded model", defaultModel)
    .addOption(
      new Option("--pairs <file>", "JSONL of judged pairs, or - for standard input").conflicts("task"),
    )
    .option("-t, --task <source>", "folder, or a dataset's id, whose judged pairs to take");
  addTaskOptions(command)
    .option("--limit <n>", "only the first n queries of the task", wholeNumber)
    .addOption(
      new Option(
        "--unjudged <what>",
        "what a candidate is that nobody has judged: left-out (default), or not-relevant",
      ).choices(["left-out", "not-relevant"]),
    )
    .option("--relevant-from <grade>", "least grade of a relevant pair (default: 1)", wholeNumber)
    .addOption(
      new Option("--method <name>", "platt (default), or temperature").choices(["platt", "temperature"]),
    )
    .addOption(
      calibrationOption("write the calibration here (default: crossrank.json of the model's folder)"),
    )
    .addOption(backendOption())
    .addOption(fileOption());
  for (const option of [...modelOptions(), conversionOption()]) command.addOption(option);
  command
    .option("--instruction <text>", 'what counts as relevant; "" for none (default: the model\'s own)')
    .addOption(tableOrJson())
    .addHelpText("after", help)
    .action(async (source: string, options: CalibrateCommandOptions) => {
      // Loaded when it is asked for: --help has no use for it.
      const { runCalibrateCommand } = await import("./run.js");
      await runCalibrateCommand(source, options, context);
    });
}
