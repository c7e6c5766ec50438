import type { Command } from "commander";
import type { Context } from "../../context.js";
import { UsageError } from "../../failure.js";
import { defaultModel } from "../../model.js";
import { inspectModelPackage, isModelPackage } from "../../model-package.js";
import { modelOptions, tableOrJson } from "../../options.js";
import type { InspectCommandOptions } from "./run.js";

const help = `
Reads the model's small files only: no weights are downloaded and no runtime is loaded.

Of a Core ML package (a path that ends in .mlpackage or .mlmodel) it shows inputs and
outputs with their shapes, the specification version, how often each operation occurs,
weights, metadata and files, on any system. --contract compares these with what an
application relies on, and fails with every deviation: "seed" is the contract of
tcashel/bge-reranker-base-coreml (20 pairs of 128, 256 or 512 tokens), "seed:128" that of
one package a length, and a JSON file your own, e.g.

  {"inputs": [{"name": "input_ids", "element": "int32", "shapes": [[20, 1, 1, 128]]}],
   "specificationVersion": {"maximum": 9}, "weights": ["fp16"]}

Examples:
  $ crossrank inspect
  $ crossrank inspect BAAI/bge-reranker-base --revision main
  $ crossrank inspect ./my-model --format json
  $ crossrank inspect ./my-model/mlpackage/model.mlpackage --contract seed

Exit code: 0 done, 1 failed or a deviation from the contract, 2 wrong usage.`;

export function addInspectCommand(program: Command, context: Context): void {
  const command = program
    .command("inspect")
    .summary("show what a model is, and where each fact comes from")
    .description("Shows a model's profile, template, limits, files and precisions.")
    .argument("[model]", "folder, repository id, Core ML package, or nano, the embedded model", defaultModel);
  for (const option of modelOptions()) command.addOption(option);
  command
    .option("--contract <rules>", "of a Core ML package: seed, seed:LENGTH or a JSON file")
    .addOption(tableOrJson())
    .addHelpText("after", help)
    .action(async (source: string, options: InspectCommandOptions) => {
      if (!isModelPackage(source)) {
        if (options.contract !== undefined) {
          throw new UsageError(
            `--contract compares a Core ML package, and ${source} does not end in .mlpackage. Name a package, or leave the option out`,
          );
        }
        // Loaded when it is asked for: --help has no use for it.
        const { inspect } = await import("./run.js");
        await inspect(source, options, context);
        return;
      }
      const unfit = (["revision", "offline", "lock", "profile"] as const).find(
        (name) => options[name] !== undefined,
      );
      if (unfit !== undefined) {
        throw new UsageError(
          `--${unfit} needs a model, and ${source} is a Core ML package alone. Leave the option out`,
        );
      }
      await inspectModelPackage(source, options, context);
    });
}
