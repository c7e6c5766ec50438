import { type WriterDescriptor, type WriterOption, writers } from "@crossrank/convert/writers";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Context } from "../../context.js";
import { UsageError } from "../../failure.js";
import { modelOptions, positiveNumber, tableOrJson } from "../../options.js";
import type { ConvertCommandOptions } from "./run.js";
import { readValue } from "./writers.js";

const help = `
Reads the model's own safetensors. Only mnn involves Python.

${writers.map(describeFormat).join("\n")}

Whatever cannot be written so that it gives the model's own scores is refused, with the
reason.

Before an artifact gets its place it is loaded on its backend and held against what the
weights themselves give (a reference computed here, for a dozen pairs), and against the
model's golden.json where there is one, within the bounds of crossrank verify. One that
does not agree is removed. --no-verify keeps it unseen, and provenance.json says so.
The backend must be installed: gguf needs @crossrank/backend-llamacpp and node-llama-cpp,
mnn needs @crossrank/backend-mnn, ctranslate2 needs @crossrank/backend-ctranslate2,
mlpackage needs @crossrank/backend-coreml: it is verified as coreml:reference, which computes
the package in ONNX Runtime and not on the Neural Engine, and of fp16 also as
coreml:reference-half. Goldens longer than --lengths are left out.

The output becomes a complete model folder: the model's small files, the artifact
(onnx/model*.onnx, gguf/model-*.gguf, mnn/model*.mnn, mlpackage/model*.mlpackage,
ctranslate2/model*.ctranslate2/model.bin), and provenance.json with hashes and versions.
Several artifacts of one model may share it. A model's own folder gets the artifact and
provenance.json, and is otherwise left as it is.

Examples:
  $ crossrank convert ./my-model --to onnx
  $ crossrank convert ./my-model --to onnx --dtype fp32,int8
  $ crossrank convert --model BAAI/bge-reranker-base --to gguf --dtype Q8_0 --output ./bge
  $ crossrank verify ./bge --backend llamacpp:Q8_0
  $ crossrank convert ./my-model --to mnn --dtype fp16 --python ./venv/bin/python
  $ crossrank convert ./my-model --to mlpackage --batch 20 --lengths 128,256,512

A format of somebody else's: --to its-format --backend ./mine.mjs (or an npm package), which
exports \`writers\`, and \`backends\` with one that loads the format and judges.

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
    .requiredOption("--to <format>", `what to write: ${writers.map(({ format }) => format).join(", ")}`)
    .option(
      "-b, --backend <name>",
      "backend that judges the artifact; also the file (./mine.mjs) or npm package of another format",
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
    .option(
      "--set <name=value>",
      "an option of the format that has no flag here; may be repeated",
      (value: string, before: readonly string[] = []) => [...before, value],
    )
    .option("--force", "replace an artifact that is there already")
    .option("--no-verify", "keep the artifact without looking at what it gives")
    .option(
      "--tolerance <n>",
      "largest difference of logits allowed (default: by precision)",
      positiveNumber,
    );
  for (const { format, options = {} } of writers) {
    for (const [name, option] of Object.entries(options)) command.addOption(flagOf(format, name, option));
  }
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
      if (!options.verify && options.tolerance !== undefined) {
        throw new UsageError(
          "--tolerance bounds the verification, and --no-verify leaves that out. Pass one of them",
        );
      }
      // Loaded when it is asked for: the other commands have no use for it.
      const { runConvertCommand } = await import("./run.js");
      await runConvertCommand(chosen, options, flagsIn(options), context);
    });
}

function listOf(value: string): string[] {
  const names = value.split(",").map((name) => name.trim());
  if (names.includes("")) throw new InvalidArgumentError("It must be a name, or several with commas.");
  return names;
}

/** The flag of an option of one of our formats. */
function flagOf(format: string, name: string, { help, value }: WriterOption): Option {
  const described = `of ${format}: ${help}`;
  if (typeof value !== "string") return new Option(`--${name} <name>`, described).choices(value);
  const placeholder = { text: "text", count: "n", counts: "n,…" }[value];
  return new Option(`--${name} <${placeholder}>`, described).argParser((text) => readValue(value, text));
}

function flagsIn(options: object): Readonly<Record<string, unknown>> {
  const names = writers.flatMap((writer) => Object.keys(writer.options ?? {}));
  return Object.fromEntries(Object.entries(options).filter(([name]) => names.includes(name)));
}

function describeFormat({ format, help = [] }: WriterDescriptor): string {
  const margin = " ".repeat(9);
  const lines = help.map((line) => margin + line);
  const [first = "", ...others] = lines;
  if (format.length > margin.length - 3) return [`\n  ${format}`, ...lines].join("\n");
  return [`  ${format}`.padEnd(margin.length) + first.slice(margin.length), ...others].join("\n");
}
