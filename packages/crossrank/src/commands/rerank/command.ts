import { type Command, InvalidArgumentError, Option } from "commander";
import { cascadeOptions, requireWholeCascade } from "../../cascade-options.js";
import type { Context } from "../../context.js";
import { UsageError } from "../../failure.js";
import { inputFormats } from "../../input-formats.js";
import {
  type LongDocumentChoices,
  longDocumentOptions,
  longDocumentsOf,
} from "../../long-documents-options.js";
import { defaultModel } from "../../model.js";
import { backendOption, conversionOption, fileOption, modelOptions, wholeNumber } from "../../options.js";
import { scoreOptions } from "../../score-options.js";
import type { RerankCommandOptions } from "./run.js";
import { outputFormats } from "./table.js";

const help = `
Input:
  Text has one document a line; JSONL has one object a line with a string "text". A
  string "title" is scored with it, as (title + " " + text).trim(), the way BEIR does.
  CSV (RFC 4180) and TSV have a first line of names, and are read alike. --text-field
  names other fields; those that are there and not blank are joined with a space.
  JSONL is recognised by its name (.jsonl, .ndjson) or by a first line that is a JSON
  object, CSV and TSV by their names (.csv, .tsv). Blank lines are skipped: a document's
  index is its position among the documents, from 0, and not its line number. UTF-8 only.

Output:
  Best first. Numbers of json and jsonl are unrounded; the table shows the beginning of
  each document, or the passage of a long one that decided. Warnings are part of json's output, and go to stderr otherwise.

Examples:
  $ crossrank rerank --query "how do vaccines work" --documents passages.txt
  $ crossrank rerank --query "how do vaccines work" --documents corpus.jsonl --top-n 5 --format json
  $ grep -h vaccine notes/*.txt | crossrank rerank --query "how do vaccines work" --documents -
  $ crossrank rerank --query "how do vaccines work" --documents notes.csv --text-field title,body
  $ crossrank rerank --query "how do vaccines work" --documents reports.jsonl --long-documents chunk
  $ crossrank rerank --query "…" --documents corpus.jsonl --model BAAI/bge-reranker-base --dtype fp32
  $ crossrank rerank --query "…" --documents corpus.jsonl --model ./my-model --file onnx/model_O3.onnx
  $ crossrank rerank --query "…" --documents corpus.jsonl --model ./my-model --cascade nano --keep 30

Exit code: 0 ranked, 1 failed, 2 wrong usage, 130 interrupted.`;

export function addRerankCommand(program: Command, context: Context): void {
  const command = program
    .command("rerank")
    .summary("order documents by their relevance to a query")
    .description("Scores every document against the query and prints them, best first.")
    .requiredOption("-q, --query <text>", "what to look for")
    .requiredOption("-d, --documents <file>", "documents, or - for standard input")
    .addOption(
      new Option("--input <format>", "how to read the documents (default: recognised)").choices(inputFormats),
    )
    .addOption(
      new Option(
        "--text-field <names>",
        "fields of a document that are its text, e.g. title,body (default: title and text)",
      ).argParser(fieldNames),
    )
    .option("-m, --model <source>", "folder, repository id, or nano, the embedded model", defaultModel);
  const shared = [...modelOptions(), conversionOption(), ...cascadeOptions(), ...longDocumentOptions()];
  for (const option of [...shared, ...scoreOptions()]) command.addOption(option);
  command
    .option(
      "--instruction <text>",
      'what counts as relevant, for models that take an instruction; "" for none (default: the model\'s own)',
    )
    .addOption(backendOption())
    .option("--dtype <name>", "precision, e.g. fp32, int8, or Q8_0 of a GGUF (default: the model's own)")
    .addOption(fileOption())
    .option("--max-length <n>", "longest sequence in tokens (default: the model's own)", wholeNumber)
    .addOption(
      new Option(
        "--truncation <strategy>",
        "what to cut when a pair is too long (default: document-only)",
      ).choices(["document-only", "longest-first"]),
    )
    .option("--threads <n>", "threads of each worker (default: from the machine)", wholeNumber)
    .option(
      "--workers <n>",
      "workers, each with the model in its memory (default: from the model)",
      wholeNumber,
    )
    .option("-n, --top-n <n>", "print the best n only; all are scored", wholeNumber)
    .option("--return-documents", "put each document, with all its fields, into json and jsonl")
    .addOption(
      new Option("-f, --format <format>", "table for people, json or jsonl for programs")
        .choices(outputFormats)
        .default("table"),
    )
    .addHelpText("after", help)
    .action(async (options: RerankCommandOptions & LongDocumentChoices) => {
      // Checked before anything is read or loaded.
      if (options.query.trim() === "") throw new UsageError("--query is empty; there is nothing to rank by");
      const dtype = options.backend?.dtype;
      if (dtype !== undefined && options.dtype !== undefined && dtype !== options.dtype) {
        throw new UsageError(
          `--backend asks for ${dtype} and --dtype for ${options.dtype}; give one of them`,
        );
      }
      requireWholeCascade(options);
      if (options.cascade !== undefined && options.threshold !== undefined) {
        throw new UsageError(
          "--threshold is on one scale, and a cascade leaves documents without a score of --model. Give --top-n, at most --keep",
        );
      }
      const longDocuments = longDocumentsOf(options);
      // Loaded when it is asked for: --help has no use for it.
      const { rerank } = await import("./run.js");
      await rerank({ ...options, longDocuments }, context);
    });
}

function fieldNames(value: string): readonly string[] {
  const names = value.split(",").map((name) => name.trim());
  if (names.some((name) => name === ""))
    throw new InvalidArgumentError("Write names with commas between them.");
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined) throw new InvalidArgumentError(`It names ${repeated} twice.`);
  return names;
}
