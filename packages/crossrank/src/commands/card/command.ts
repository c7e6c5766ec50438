import type { Command } from "commander";
import type { Context } from "../../context.js";
import type { CardCommandOptions } from "./run.js";

const help = `
The card says what the model's own files say (identity and provenance with sha256, variants,
architecture, tokenizer and special tokens, template, truncation, tensors with names, types and
shapes, output, licence, how to reproduce) and what was measured of exactly these files
(performance, quality, verification). A measurement of other files does not count; one that is
missing is said to be missing, with the command that makes it.

What stands between <!-- crossrank NAME: begin --> and its end is written here; all else is
yours, and stays. A second run changes no byte.

Reports that are not named are looked for in the folder: evidence/verify*.json,
evidence/eval* and evidence/bench*.json.

Examples:
  $ crossrank verify ./my-model --backend onnx:int8 --format json > ./my-model/evidence/verify.json
  $ crossrank eval --task ./scifact --model ./my-model --backend onnx:fp32 --backend onnx:int8 \\
      --gate 0.005 --report ./my-model/evidence/eval
  $ crossrank bench ./my-model --backend onnx:int8 --format json > ./my-model/evidence/bench.json
  $ crossrank card ./my-model

Exit code: 0 written, or nothing to change; 1 failed; 2 wrong usage; 130 interrupted.`;

export function addCardCommand(program: Command, context: Context): void {
  const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
  program
    .command("card")
    .summary("write a model's card from its files and what was measured")
    .description("Writes MODEL_CARD.md, which is the contract with those who use the model.")
    .argument("<folder>", "the model's folder")
    .option("-o, --output <file>", "the card (default: MODEL_CARD.md in the folder)")
    .option("--verify <file>", "what verify --format json printed; may be repeated", collect)
    .option("--eval <report>", "folder that eval --report wrote; may be repeated", collect)
    .option("--bench <file>", "what bench --format json printed; may be repeated", collect)
    .addHelpText("after", help)
    .action(async (folder: string, options: CardCommandOptions) => {
      // Loaded when it is asked for: --help has no use for it.
      const { runCardCommand } = await import("./run.js");
      await runCardCommand(folder, options, context);
    });
}
