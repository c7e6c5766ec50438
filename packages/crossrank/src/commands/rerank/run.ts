import { styleText } from "node:util";
import type { RerankResult, TruncationStrategy } from "@crossrank/core";
import { type Context, print } from "../../context.js";
import { translateInputError } from "../../failure.js";
import { type InputDocument, type InputFormat, readDocuments } from "../../input.js";
import { openModelFiles, readProfileFile } from "../../model.js";
import { openReranker } from "../../open-reranker.js";
import type { BackendChoice, ProfiledModelOptions } from "../../options.js";
import { createProgress } from "../../progress.js";
import { describeSettings } from "../../text.js";
import { formatJson, formatJsonLines, formatTable, formatWarning, type OutputFormat } from "./table.js";

export interface RerankCommandOptions extends ProfiledModelOptions {
  readonly query: string;
  readonly documents: string;
  readonly input?: InputFormat;
  readonly model: string;
  readonly instruction?: string;
  readonly backend?: BackendChoice;
  readonly dtype?: string;
  readonly file?: string;
  readonly maxLength?: number;
  readonly truncation?: TruncationStrategy;
  readonly threads?: number;
  readonly workers?: number;
  readonly topN?: number;
  readonly returnDocuments?: true;
  readonly format: OutputFormat;
}

export async function rerank(options: RerankCommandOptions, context: Context): Promise<void> {
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
      file: options.file,
      threads: options.threads,
      workers: options.workers,
      maxLength: options.maxLength,
      truncation: options.truncation,
      instruction: options.instruction,
      profile,
      signal,
      onProgress: progress.download,
      onConversion: progress.conversion,
    }).catch((error: unknown) => {
      throw translateInputError(error, {
        model: "model",
        dtype: options.dtype === undefined && options.backend?.dtype !== undefined ? "--backend" : "--dtype",
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
