import { type Command, Option } from "commander";
import type { Context } from "../../context.js";
import type { CiCommandOptions } from "./run.js";

const help = `
Configuration:
  crossrank.config.ts, .mts, .js, .mjs or .json in the working directory, or --config FILE;
  paths in it are relative to it:

    import { defineConfig } from "crossrank";
    export default defineConfig({
      models: ["./my-model", { model: "nano", backends: ["onnx:int8"] }],
      backends: ["onnx:fp32", "onnx:fp16", "onnx:int8"],
      tasks: ["mteb/scifact", { task: "./faq", limit: 200, gates: 0.01 }],
      exclude: [{ model: "my-model", task: "faq", backend: "onnx:fp16" }],
      baseline: "crossrank.baseline.json",
    });

  A model on a task is a cell: its backends are held against the reference, by default the
  first one, as crossrank eval does. A cell that fails does not stop the others.

Report:
  index.html, summary.md, junit.xml and report.json of everything, and a folder of each cell
  with what crossrank eval --report writes. Every score is kept there as it comes: a run that
  was stopped or killed goes on where it was. What was scored by another artifact, tokenizer
  or runtime is scored again. $GITHUB_STEP_SUMMARY gets the summary, where it is set.

Baseline:
  --update-baseline writes a file to be reviewed and committed; a run with a baseline is held
  against it, query by query, or says why it cannot be.

Examples:
  $ crossrank ci
  $ crossrank ci --config ranking/crossrank.config.json --report ./report --filter scifact
  $ crossrank ci --update-baseline crossrank.baseline.json

Exit code: 0 passed, 1 a gate, a comparison or a cell failed, 2 wrong configuration,
130 interrupted.`;

export function addCiCommand(program: Command, context: Context): void {
  program
    .command("ci")
    .summary("measure a matrix of models, backends and tasks, and fail when one got worse")
    .description("Runs every cell of a configuration, judges it by its gates, and against a baseline.")
    .option("-c, --config <file>", "configuration (default: the crossrank.config.* that is here)")
    .option("--report <folder>", "keep scores and write reports here (default: from the configuration)")
    .option("--baseline <file>", "compare with it (default: from the configuration)")
    .option("--update-baseline [file]", "write the baseline in place of comparing with it")
    .option("--filter <text>", 'only the cells whose name, "MODEL on TASK", has this in it')
    .option("--fresh", "score again what is in the report's folder")
    .addOption(
      new Option("-f, --format <format>", "table for people, json for programs, markdown for a pull request")
        .choices(["table", "json", "markdown"])
        .default("table"),
    )
    .addHelpText("after", help)
    .action(async (options: CiCommandOptions) => {
      // Loaded when it is asked for: the other commands have no use for it.
      const { runCiCommand } = await import("./run.js");
      await runCiCommand(options, context);
    });
}
