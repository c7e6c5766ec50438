import { type Command, Option } from "commander";
import type { Context } from "../../context.js";
import { defaultModel } from "../../model.js";
import {
  backendOption,
  conversionOption,
  fileOption,
  modelOptions,
  positiveNumber,
  tableOrJson,
} from "../../options.js";
import type { VerifyCommandOptions } from "./run.js";

const help = `
Goldens are what the model's reference implementation gives for fixed texts: token ids,
segment ids, what is cut, logits and scores. In this order: --goldens, --published, the
model's own golden.json, the scores published for its repository (tokens are not
published, so these compare scores alone).

Passed means: tokens the same, every number finite, and |Δ| within the bound of the
precision that was loaded: 1e-4 for fp32, 2e-2 for fp16 and bf16, for 8 bits a median of
.15 with stable signs; below 8 bits a median and an order that only a damaged file
misses. In a GGUF 1e-2 for F32 and 4e-2 for F16: llama.cpp computes some of it in half
precision. The goldens' own tolerance widens it, --tolerance replaces it.

Examples:
  $ crossrank verify
  $ crossrank verify ./my-model --backend onnx:fp32
  $ crossrank verify ./my-model --backend llamacpp:Q8_0
  $ crossrank verify ./my-model --file onnx/model_qint8_avx512_vnni.onnx
  $ crossrank verify ./my-model --backend coreml:reference --tolerance 0.001
  $ crossrank verify ./converted --published BAAI/bge-reranker-base
  $ crossrank verify cross-encoder/ms-marco-MiniLM-L6-v2 --format json

Exit code: 0 passed, 1 failed or not verified, 2 wrong usage, 130 interrupted.`;

export function addVerifyCommand(program: Command, context: Context): void {
  const command = program
    .command("verify")
    .summary("hold a model on a backend against its reference implementation")
    .description("Compares token ids, logits and scores with the model's goldens, case by case.")
    .argument("[model]", "folder, repository id, or nano, the embedded model", defaultModel)
    .addOption(backendOption())
    .addOption(fileOption());
  for (const option of [...modelOptions(), conversionOption()]) command.addOption(option);
  command
    .addOption(
      new Option("--goldens <file>", "a golden.json to use instead of the model's own").conflicts(
        "published",
      ),
    )
    .option("--published <id>", "repository whose published scores to use, for a model converted from it")
    .option("--tolerance <n>", "largest difference allowed (default: by precision)", positiveNumber)
    .addOption(tableOrJson())
    .addHelpText("after", help)
    .action(async (source: string, options: VerifyCommandOptions) => {
      // Loaded when it is asked for: --help has no use for it.
      const { runVerifyCommand } = await import("./run.js");
      await runVerifyCommand(source, options, context);
    });
}
