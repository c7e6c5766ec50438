import { existsSync } from "node:fs";
import { type Command, Option } from "commander";
import type { Context } from "../../context.js";
import { CommandError, UsageError } from "../../failure.js";
import { tableOrJson } from "../../options.js";
import type { ResidencyCommandOptions } from "./run.js";

const help = `
Report:
  On a Mac (macOS 14.4 or later) a .mlpackage, which Core ML is asked about now. Anywhere its
  compute plan as JSON, which planNative of @crossrank/backend-coreml gives there:
  {"operations": [{"operator": "ios18.conv", "preferred": "neuralEngine"}, …]}, where
  "preferred" is neuralEngine, gpu, cpu or null. A script around coremltools may write "type"
  and "device" in their place, with coremltools' class names. Constants are passed over.

Baseline:
  Passed means: nothing on the GPU; the operators on the CPU, and how many of each, exactly
  the pinned ones; as many operations on the Neural Engine as pinned, and where the baseline
  has its operators, those. An operation without a device fails unless it is pinned.
  --write-baseline makes the file from a report. Review it, and commit it beside the model.
  One that is there already stays, unless --force.

A plan is what Core ML means to do on that Mac and that system; it is no measurement.

Examples:
  $ crossrank residency report.json --write-baseline fingerprint.json
  $ crossrank residency report.json --baseline fingerprint.json
  $ crossrank residency report.json --baseline fingerprint.json --format json
  $ crossrank residency ./my-model/mlpackage/model.mlpackage --baseline fingerprint.json

Exit code: 0 passed or written, 1 a drift, or a file that cannot be read, 2 wrong usage.`;

export function addResidencyCommand(program: Command, context: Context): void {
  program
    .command("residency")
    .summary("hold where Core ML runs each operation against a pinned fingerprint")
    .description("Fails when an operation left the Neural Engine, or the CPU's operations are others.")
    .argument("<report>", "compute plan of a Core ML model as JSON, or on a Mac the package")
    .option("--baseline <file>", "fingerprint to hold it against")
    .addOption(
      new Option("--write-baseline <file>", "make the fingerprint from this report").conflicts("baseline"),
    )
    .addOption(new Option("--force", "replace a baseline that is there already").conflicts("baseline"))
    .addOption(tableOrJson())
    .addHelpText("after", help)
    .action(async (reportPath: string, options: ResidencyCommandOptions) => {
      const { baseline, writeBaseline, force } = options;
      if (baseline === undefined && writeBaseline === undefined) {
        throw new UsageError("give the fingerprint with --baseline, or make one with --write-baseline");
      }
      if (writeBaseline !== undefined && !force && existsSync(writeBaseline)) {
        throw new CommandError(
          `${writeBaseline} is there already. --force replaces what it pins; hold the report against it with --baseline`,
        );
      }
      // Loaded when it is asked for: --help has no use for it.
      const { judgeResidency } = await import("./run.js");
      await judgeResidency(reportPath, options, context);
    });
}
