import { styleText } from "node:util";
import type { RerankResult, TruncationStrategy } from "@crossrank/core";
import { type Command, Option } from "commander";
import { type Context, print } from "../context.js";
import { translateInputError, UsageError } from "../failure.js";
import { type InputDocument, type InputFormat, inputFormats, readDocuments } from "../input.js";
import { defaultModel, openModelFiles, readProfileFile } from "../model.js";
import { openReranker } from "../open-reranker.js";
import {
  type BackendChoice,
  backendOption,
  modelOptions,
  type ProfiledModelOptions,
  wholeNumber,
} from "../options.js";
import {
  formatJson,
  formatJsonLines,
  formatTable,
  formatWarning,
  type OutputFormat,
  outputFormats,
} from "../output.js";
import { createProgress } from "../progress.js";
import { describeSettings } from "../text.js";

export interface RerankCommandOptions extends ProfiledModelOptions {
  readonly query: string;
  readonly documents: string;
  readonly input?: InputFormat;
  readonly model: string;
  readonly instruction?: string;
  readonly backend?: BackendChoice;
  readonly dtype?: string;
  readonly maxLength?: number;
  readonly truncation?: TruncationStrategy;
  readonly threads?: number;
  readonly workers?: number;
  readonly topN?: number;
  readonly returnDocuments?: true;
  readonly format: OutputFormat;
}

const help = `
Input:
  Text has one document a line; JSONL has one object a line with a string "text". A
  string "title" is scored with it, as (title + " " + text).trim(), the way BEIR does.
  JSONL is recognised by its name (.jsonl, .ndjson) or by a first line that is a JSON
  object. Blank lines are skipped: a document's index is its position among the
  documents, from 0, and not its line number. UTF-8 only.

Output:
  Best first. Numbers of json and jsonl are unrounded; the table shows the beginning of
  each document. Warnings are part of json's output, and go to stderr otherwise.

Examples:
  $ crossrank rerank --query "how do vaccines work" --documents passages.txt
  $ crossrank rerank --query "how do vaccines work" --documents corpus.jsonl --top-n 5 --format json
  $ grep -h vaccine notes/*.txt | crossrank rerank --query "how do vaccines work" --documents -
  $ crossrank rerank --query "…" --documents corpus.jsonl --model BAAI/bge-reranker-base --dtype fp32

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
    .option("-m, --model <source>", "folder, repository id, or nano, the embedded model", defaultModel);
  for (const option of modelOptions()) command.addOption(option);
  command
    .option(
      "--instruction <text>",
      'what counts as relevant, for models that take an instruction; "" for none (default: the model\'s own)',
    )
    .addOption(backendOption())
    .option("--dtype <name>", "precision, e.g. fp32, int8, or Q8_0 of a GGUF (default: the model's own)")
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
    .action(async (options: RerankCommandOptions) => {
      // Checked before anything is read or loaded.
      if (options.query.trim() === "") throw new UsageError("--query is empty; there is nothing to rank by");
      const dtype = options.backend?.dtype;
      if (dtype !== undefined && options.dtype !== undefined && dtype !== options.dtype) {
        throw new UsageError(
          `--backend asks for ${dtype} and --dtype for ${options.dtype}; give one of them`,
        );
      }
      await rerank(options, context);
    });
}

async function rerank(options: RerankCommandOptions, context: Context): Promise<void> {
  if (options.documents === "-" && process.stdin.isTTY) {
    process.stderr.write("reading documents from this terminal, one a line; end with Ctrl-D\n");
  }
  context.log(`reading ${options.documents === "-" ? "standard input" : options.documents}`);
  const documents = await readDocuments(options.documents, { format: options.input, signal: context.signal });
  if (documents.length === 0) process.stderr.write("note: there are no documents to rank\n");
  const result = await score(options, documents, context);
  const ranking = {
    query: options.query,
    result,
    documents,
    returnDocuments: options.returnDocuments ?? false,
  };
  if (options.format === "json") return print(formatJson(ranking));
  for (const warning of result.warnings) process.stderr.write(formatWarning(warning));
  if (options.format === "jsonl") return print(formatJsonLines(ranking));
  const emphasise = (text: string): string =>
    process.stdout.isTTY && !process.env["NO_COLOR"] ? styleText("bold", text) : text;
  return print(formatTable(ranking, { columns: process.stdout.columns || 80, emphasise }));
}

async function score(
  options: RerankCommandOptions,
  documents: readonly InputDocument[],
  { signal, log }: Context,
): Promise<RerankResult<string>> {
  const progress = createProgress(process.stderr);
  try {
    progress.step(`loading ${options.model}`);
    const profile = await readProfileFile(options.profile);
    const model = await openModelFiles(options.model, options, signal);
    const reranker = await openReranker(model, {
      backend: options.backend?.name,
      dtype: options.dtype ?? options.backend?.dtype,
      threads: options.threads,
      workers: options.workers,
      maxLength: options.maxLength,
      truncation: options.truncation,
      instruction: options.instruction,
      profile,
      signal,
      onProgress: progress.download,
    }).catch((error: unknown) => {
      throw translateInputError(error, {
        dtype: "--dtype",
        instruction: options.instruction === undefined ? undefined : "--instruction",
        maxLength: options.maxLength === undefined ? undefined : "--max-length",
        profile: options.profile && `--profile ${options.profile}`,
      });
    });
    try {
      progress.clear();
      log(
        `loaded ${model.id} on ${reranker.session.info.name}${describeSettings(reranker.session.settings)}, scoring ${documents.length} documents`,
      );
      return await reranker.rerank({
        query: options.query,
        documents: documents.map(({ text }) => text),
        topN: options.topN,
        signal,
        onProgress: progress.scoring,
      });
    } finally {
      await reranker.dispose();
    }
  } finally {
    progress.clear();
  }
}
