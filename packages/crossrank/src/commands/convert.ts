import { type Command, InvalidArgumentError, Option } from "commander";
import type { Context } from "../context.js";
import type { ConvertCommandOptions } from "../conversion/convert-command.js";
import { UsageError } from "../failure.js";
import { modelOptions, positiveNumber, tableOrJson, wholeNumber } from "../options.js";

const help = `
Reads the model's own safetensors. Only mnn involves Python.

  onnx   BERT, RoBERTa, XLM-RoBERTa, ModernBERT, DeBERTa-v2: cross-encoders and bi-encoders.
         fp32; fp16 (half the size, computed in float32); int8 (weights and, per batch,
         activations in 8 bits). --target mnn or plain writes ONNX's own operators alone.
  gguf   BERT, RoBERTa and XLM-RoBERTa, ModernBERT with mean pooling, Qwen3 rerankers, and
         bi-encoders of these. F32, F16, Q8_0, Q4_0.
  mnn    as onnx, without DeBERTa-v2. fp32; fp16 (weights halved, computed in float32; not where
         rotary positions would suffer); int8 (matrices in 8 bits, computed in float32). MNN's own
         converter makes the file: a Python with the package MNN 3.6 (pip install MNN==3.6.1),
         by --python, the environment's PYTHON, or python3.

  mlpackage
         for Core ML: BERT, RoBERTa and XLM-RoBERTa, cross-encoders and bi-encoders. fp16
         (weights and arithmetic, the default), fp32. A fixed batch (--batch) that crossrank
         fills up, and fixed lengths (--lengths). --deployment macos15 writes one package for
         all lengths, macos13 one a length.

Whatever cannot be written so that it gives the model's own scores is refused, with the
reason.

Before an artifact gets its place it is loaded on its backend and held against what the
weights themselves give (a reference computed here, for a dozen pairs), and against the
model's golden.json where there is one, within the bounds of crossrank verify. One that
does not agree is removed. --no-verify keeps it unseen, and provenance.json says so.
The backend must be installed: gguf needs @crossrank/backend-llamacpp and node-llama-cpp,
mnn needs @crossrank/backend-mnn, mlpackage needs @crossrank/backend-coreml: it is verified
as coreml:reference, which computes the package in ONNX Runtime and not on the Neural Engine,
and of fp16 also as coreml:reference-half. Goldens longer than --lengths are left out.

The output becomes a complete model folder: the model's small files, the artifact
(onnx/model*.onnx, gguf/model-*.gguf, mnn/model*.mnn, mlpackage/model*.mlpackage), and
provenance.json with hashes and versions.
Several artifacts of one model may share it. A model's own folder gets the artifact and
provenance.json, and is otherwise left as it is.

Examples:
  $ crossrank convert ./my-model --to onnx
  $ crossrank convert ./my-model --to onnx --dtype fp32,int8
  $ crossrank convert --model BAAI/bge-reranker-base --to gguf --dtype Q8_0 --output ./bge
  $ crossrank verify ./bge --backend llamacpp:Q8_0
  $ crossrank convert ./my-model --to mnn --dtype fp16 --python ./venv/bin/python
  $ crossrank convert ./my-model --to mlpackage --batch 20 --lengths 128,256,512

Exit code: 0 written, 1 failed or refused, 2 wrong usage, 130 interrupted.`;

export function addConvertCommand(program: Command, context: Context): void {
  const command = program
    .command("convert")
    .summary("write a model's weights as ONNX, GGUF, MNN or Core ML, verified against the source")
    .description(
      "Writes a model's safetensors as ONNX, GGUF, MNN or Core ML and keeps what agrees with its source.",
    )
    .argument("[model]", "folder or repository id, as --model")
    .option("-m, --model <source>", "folder or repository id with safetensors weights")
    .addOption(
      new Option("--to <format>", "what to write")
        .choices(["onnx", "gguf", "mnn", "mlpackage"])
        .makeOptionMandatory(),
    )
    .option(
      "--dtype <names>",
      "precision, or several with commas (default: the most precise, of mlpackage fp16)",
      (value: string, before: readonly string[] = []) => [...before, ...listOf(value)],
    )
    .option(
      "-o, --output <folder>",
      "where to put it (default: the model's own folder, or ./ and the end of its id)",
    )
    .addOption(
      new Option("--target <name>", "for whom an ONNX graph is (default: onnxruntime)").choices([
        "onnxruntime",
        "mnn",
        "plain",
      ]),
    )
    .option("--python <path>", "of mnn: a Python with the package MNN (default: $PYTHON, else python3)")
    .option("--batch <n>", "of mlpackage: rows of every prediction (default: 20)", wholeNumber)
    .option(
      "--lengths <n,…>",
      "of mlpackage: sequence lengths that it takes (default: 128,256,512, as far as the model goes)",
      (value: string) => value.split(",").map((one) => wholeNumber(one.trim())),
    )
    .addOption(
      new Option("--deployment <name>", "of mlpackage: the oldest system (default: macos15)").choices([
        "macos15",
        "macos13",
      ]),
    )
    .option("--force", "replace an artifact that is there already")
    .option("--no-verify", "keep the artifact without looking at what it gives")
    .option(
      "--tolerance <n>",
      "largest difference of logits allowed (default: by precision)",
      positiveNumber,
    );
  for (const option of modelOptions()) command.addOption(option);
  command
    .addOption(tableOrJson())
    .addHelpText("after", help)
    .action(async (source: string | undefined, options: ConvertCommandOptions) => {
      const { model } = options;
      if (source !== undefined && model !== undefined && source !== model) {
        throw new UsageError(
          `the model is given twice, as ${source} and as --model ${model}; give one of them`,
        );
      }
      const chosen = source ?? model;
      if (chosen === undefined) throw new UsageError("no model is given; pass a folder or a repository id");
      if (options.target !== undefined && options.to !== "onnx") {
        throw new UsageError(`--target is of ONNX graphs, and --to is ${options.to}`);
      }
      if (options.python !== undefined && options.to !== "mnn") {
        throw new UsageError(`--python is of MNN's converter, and --to is ${options.to}`);
      }
      for (const name of ["batch", "lengths", "deployment"] as const) {
        if (options[name] !== undefined && options.to !== "mlpackage") {
          throw new UsageError(`--${name} is of Core ML packages, and --to is ${options.to}`);
        }
      }
      if (!options.verify && options.tolerance !== undefined) {
        throw new UsageError("--tolerance is of the verification that --no-verify leaves out");
      }
      // Loaded when it is asked for: the other commands have no use for it.
      const { runConvertCommand } = await import("../conversion/convert-command.js");
      await runConvertCommand(chosen, options, context);
    });
}

function listOf(value: string): string[] {
  const names = value.split(",").map((name) => name.trim());
  if (names.includes("")) throw new InvalidArgumentError("It must be a name, or several with commas.");
  return names;
}
