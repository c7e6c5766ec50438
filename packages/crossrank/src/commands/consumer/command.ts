import { type Command, Option } from "commander";
import type { Context } from "../../context.js";
import { UsageError } from "../../failure.js";
import { modelOptions } from "../../options.js";
import type { ConsumerCommandOptions } from "./run.js";

const help = `
Writes a program that scores with the model's Core ML package outside of crossrank, from the
artifact's contract: its tensors, template, padding, cut and output.

  python   predict.py: transformers tokenises, coremltools predicts
  swift    Package.swift and Sources/Predict/main.swift: swift-transformers and Core ML

Run without a query, each ticks off every case of the model's golden.json. The Python one makes
and compares the ids on every system; Core ML predicts on macOS alone, and it says so elsewhere.
Where a model has no Core ML package (yes/no models), the programs make the ids.

Examples:
  $ crossrank consumer ./my-model --to python --output ./predict
  $ crossrank consumer ./my-model --to swift --output ./Predict
  $ crossrank consumer ./my-model --to python --artifact mlpackage/model.mlpackage --output .

Exit code: 0 written, 1 failed, 2 wrong usage, 130 interrupted.`;

export function addConsumerCommand(program: Command, context: Context): void {
  const command = program
    .command("consumer")
    .summary("write a program that scores with a Core ML package, in Python or Swift")
    .description("Writes a program in another language from the contract of a model's Core ML package.")
    .argument("[model]", "folder or repository id")
    .addOption(
      new Option("--to <language>", "the program's").choices(["python", "swift"]).makeOptionMandatory(),
    )
    .requiredOption("-o, --output <folder>", "where to write it; files of an earlier run are replaced")
    .option("--artifact <path>", "the package, relative to the model (default: the only one, else fp16)");
  for (const option of modelOptions()) command.addOption(option);
  command
    .addHelpText("after", help)
    .action(async (model: string | undefined, options: ConsumerCommandOptions) => {
      if (model === undefined) throw new UsageError("no model is given; pass a folder or a repository id");
      // Loaded when it is asked for: --help has no use for it.
      const { runConsumerCommand } = await import("./run.js");
      await runConsumerCommand(model, options, context);
    });
}
