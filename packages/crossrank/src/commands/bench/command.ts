import { type Command, InvalidArgumentError, Option } from "commander";
import { mostBatch, mostLength } from "../../bench/cell.js";
import type { Context } from "../../context.js";
import { addSystemOptions } from "../../evaluation-options.js";
import { defaultModel } from "../../model.js";
import { wholeNumber } from "../../options.js";
import type { BenchCommandOptions } from "./run.js";

const help = `
Each backend holds the model in a process of its own. A cell is so many pairs a call
(--batch), each of so many tokens (--length). In each of ten rounds every backend has a
turn, so that a busy minute is everybody's; still, on a machine with other work only
ratios mean something. Memory is the peak of the whole process tree of a backend.

A gate file has a gate a line, # begins a comment:
  p95(batch 20, length 256) < 200 ms
  p95(batch 20, length 256) / 20 < 15 ms
  onnx:int8: p50(batch 1, length 128) < 0.6 onnx:fp32
  tokens per second(batch 20, length 256) > 5000
  memory < 500 MB
The bound may be so many times what another backend has in the same run. A backend
before a colon limits the gate to it.

Examples:
  $ crossrank bench
  $ crossrank bench ./my-model --backend onnx:fp32 --backend onnx:int8 --batch 1,20
  $ crossrank bench ./my-model --backend coreml --gate gates.txt --update-card MODEL_CARD.md
  $ crossrank bench nano --length 128 --iterations 20 --format json

Exit code: 0 done, 1 a gate failed or a backend did not run, 2 wrong usage,
130 interrupted.`;

export function addBenchCommand(program: Command, context: Context): void {
  const command = program
    .command("bench")
    .summary("measure latency, throughput and memory of a model on backends")
    .description("Times calls of a grid of batch sizes and lengths, and holds them to gates.")
    .argument("[model]", "folder, repository id, or nano, the embedded model", defaultModel);
  addSystemOptions(command);
  command
    .option("--batch <n,…>", "pairs a call", numbers(mostBatch), [1, 4, 10, 20])
    .option("--length <n,…>", "tokens a pair, special tokens included", numbers(mostLength), [128, 256])
    .option("--warm-up <n>", "calls of each cell that are not counted", wholeNumber, 50)
    .option("--iterations <n>", "calls of each cell that are counted", wholeNumber, 100)
    .option("--gate <file>", "gates to hold the numbers to")
    .option("--update-card <file>", "Markdown file whose part on performance is replaced, or appended")
    .addOption(
      new Option("-f, --format <format>", "table for people, json for programs, markdown for a page")
        .choices(["table", "json", "markdown"])
        .default("table"),
    )
    .addHelpText("after", help)
    .action(async (source: string, options: BenchCommandOptions) => {
      // Loaded when it is asked for: --help has no use for it.
      const { runBenchCommand } = await import("./run.js");
      await runBenchCommand(source, options, context);
    });
}

function numbers(most: number): (value: string) => number[] {
  return (value) => {
    const found = value.split(",").map((part) => Number(/^ *\d+ *$/.test(part) ? part : Number.NaN));
    if (found.some((number) => !(number >= 1 && number <= most)))
      throw new InvalidArgumentError(`It must be whole numbers of 1 to ${most}, as in 1,4,20.`);
    if (new Set(found).size < found.length) throw new InvalidArgumentError("It has a number twice.");
    return found;
  };
}
