import { type Command, Option } from "commander";
import type { Context } from "../../context.js";
import { UsageError } from "../../failure.js";
import { defaultModel } from "../../model.js";
import { inspectModelPackage, isModelPackage } from "../../model-package.js";
import { fileOption, modelOptions, tableOrJson, wholeNumber } from "../../options.js";
import type { InspectCommandOptions } from "./run.js";

const help = `
Reads the model's small files only: no weights are downloaded and no runtime is loaded.

With --query and --document it shows what the model gets to read of these texts: ids,
tokens, segments and attention as transformers gives them, which of them are the query's
and the document's, and the text that is cut. rerank encodes them in the same way. One
thing differs on purpose: the spelling of a special token in a text, such as [MASK], is
text here and no special token, so that a document cannot change what the model reads.

--file and --dtype choose the artifact as rerank does. Where a model is refused, its
artifacts are listed all the same.

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
  $ crossrank inspect ./my-model --query "how do vaccines work" --document "A vaccine trains …"
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
    .option("--dtype <name>", "precision to show as the one that runs, as rerank takes it")
    .addOption(fileOption())
    .option("-q, --query <text>", "query to encode, with --document")
    .option(
      "-d, --document <text>",
      "document to encode with the query; may be given several times",
      (text: string, others: readonly string[] = []) => [...others, text],
    )
    .option(
      "--instruction <text>",
      'what counts as relevant, for models that take an instruction; "" for none (default: the model\'s own)',
    )
    .option("--max-length <n>", "longest sequence in tokens (default: the model's own)", wholeNumber)
    .addOption(
      new Option(
        "--truncation <strategy>",
        "what to cut when a pair is too long (default: document-only)",
      ).choices(["document-only", "longest-first"]),
    )
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
        requireTexts(options);
        // Loaded when it is asked for: --help has no use for it.
        const { inspect } = await import("./run.js");
        await inspect(source, options, context);
        return;
      }
      const unfit = modelOnly.find((name) => options[name] !== undefined);
      if (unfit !== undefined) {
        const flag = unfit.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
        throw new UsageError(
          `--${flag} needs a model, and ${source} is a Core ML package alone. Leave the option out`,
        );
      }
      await inspectModelPackage(source, options, context);
    });
}

/** Options that are about a model with its tokenizer. */
const modelOnly = [
  "revision",
  "offline",
  "lock",
  "base",
  "profile",
  "dtype",
  "file",
  "query",
  "document",
  "instruction",
  "maxLength",
  "truncation",
] as const;

/** @throws {UsageError} for one of query and documents without the other. */
function requireTexts({ query, document: documents }: InspectCommandOptions): void {
  if (query !== undefined && query.trim() === "")
    throw new UsageError("--query is empty; there is nothing to encode");
  if (query !== undefined && documents === undefined)
    throw new UsageError("--query needs --document, the text that it is encoded with");
  if (query === undefined && documents !== undefined)
    throw new UsageError("--document needs --query, the text that it is encoded with");
}
