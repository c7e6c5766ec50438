import { styleText } from "node:util";
import type { LongDocuments, RerankResult, TruncationStrategy } from "@crossrank/core";
import { type CascadeChoices, firstStageOf } from "../../cascade-options.js";
import { type Context, print } from "../../context.js";
import { translateInputError } from "../../failure.js";
import { type InputDocument, readDocuments } from "../../input.js";
import type { InputFormat } from "../../input-formats.js";
import { longDocumentFlags } from "../../long-documents-options.js";
import { openModelFiles, readProfileFile } from "../../model.js";
import { openReranker } from "../../open-reranker.js";
import type { BackendChoice, ProfiledModelOptions } from "../../options.js";
import { createProgress } from "../../progress.js";
import { type PreparedScores, prepareScores, type ScoreChoices } from "../../score-options.js";
import { describeSettings } from "../../text.js";
import { formatJson, formatJsonLines, formatTable, formatWarning, type OutputFormat } from "./table.js";

export interface RerankCommandOptions extends ProfiledModelOptions, ScoreChoices, CascadeChoices {
  readonly query: string;
  readonly documents: string;
  readonly input?: InputFormat;
  readonly textField?: readonly string[];
  readonly model: string;
  readonly instruction?: string;
  readonly backend?: BackendChoice;
  readonly dtype?: string;
  readonly file?: string;
  readonly maxLength?: number;
  readonly truncation?: TruncationStrategy;
  readonly longDocuments?: LongDocuments | undefined;
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
  const { documents, source } = await readDocuments(options.documents, {
    ...{ format: options.input, fields: options.textField, signal: context.signal },
  });
  if (documents.length === 0) process.stderr.write("note: there are no documents to rank\n");
  const result = await score(options, documents, context);
  const ranking = {
    query: options.query,
    result: source === undefined ? result : { ...result, text: source },
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
    const scores = await prepareScores(options, await readProfileFile(options.profile));
    try {
      return await scoreWith(options, documents, { signal, log, progress, scores });
    } finally {
      await scores.dispose();
    }
  } finally {
    progress.clear();
  }
}

async function scoreWith(
  options: RerankCommandOptions,
  documents: readonly InputDocument[],
  {
    signal,
    log,
    progress,
    scores,
  }: Pick<Context, "signal" | "log"> & {
    readonly progress: ReturnType<typeof createProgress>;
    readonly scores: PreparedScores;
  },
): Promise<RerankResult<string>> {
  const flags = {
    model: "model",
    dtype: options.dtype === undefined && options.backend?.dtype !== undefined ? "--backend" : "--dtype",
    instruction: options.instruction === undefined ? undefined : "--instruction",
    maxLength: options.maxLength === undefined ? undefined : "--max-length",
    profile: options.profile && `--profile ${options.profile}`,
    longDocuments: "--long-documents",
    activation: "--activation",
    ...(options.cascade === undefined
      ? {}
      : { "cascade.model": "--cascade", "cascade.backend": "--cascade", "cascade.dtype": "--cascade" }),
    ...Object.fromEntries(
      Object.entries(longDocumentFlags).map(([name, flag]) => [`longDocuments.${name}`, flag]),
    ),
  };
  const told = (error: unknown): never => {
    throw translateInputError(error, flags);
  };
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
    longDocuments: options.longDocuments,
    profile: scores.profile,
    scoreCache: scores.scoreCache,
    cascade: await firstStageOf(options),
    signal,
    onProgress: progress.download,
    onConversion: progress.conversion,
  }).catch(told);
  try {
    progress.clear();
    log(
      `loaded ${model.id} on ${reranker.session.info.name}${describeSettings(reranker.session.settings)}, scoring ${documents.length} documents`,
    );
    return await reranker
      .rerank({
        query: options.query,
        documents: documents.map(({ text }) => text),
        topN: options.topN,
        activation: scores.activation,
        threshold: options.threshold,
        signal,
        onProgress: progress.scoring,
      })
      .catch(told);
  } finally {
    await reranker.dispose();
  }
}
