import { type Command, InvalidArgumentError, Option } from "commander";
import { backendNames, parseBackend } from "../../backend-names.js";
import { cascadeOptions, requireWholeCascade } from "../../cascade-options.js";
import type { Context } from "../../context.js";
import { defaultModel } from "../../default-model.js";
import { UsageError } from "../../failure.js";
import {
  type LongDocumentChoices,
  longDocumentOptions,
  longDocumentsOf,
} from "../../long-documents-options.js";
import { conversionOption, fileOption, modelOptions, wholeNumber } from "../../options.js";
import { activationOption, scoreCacheOption } from "../../score-options.js";
import { readMlxEnvironment } from "./mlx-environment.js";
import { parseModelChoice, type ServedModelChoice } from "./model-option.js";
import { portNumber, positiveWhole, seconds } from "./numbers.js";
import type { ServeCommandOptions } from "./run.js";

const help = `
Models:
  --model NAME=MODEL serves MODEL under NAME, several times for several models; settings
  of one stand behind it: --model small=nano,backend=onnx:int8,threads=2. Two backends are
  tried in their order. One model answers to every name. It is loaded at the start;
  several are loaded at their first request, or at the start with --preload.

Cascade:
  With --cascade nano --keep 30 the small model scores all documents of a request and each
  --model the best 30. Answers have those 30 alone, since the others have no score on the
  answer's scale, and a warning says how many are left out; with when_exceeded they stand
  behind, without a score. Pairs (/score) are refused where some would have none.

Keys:
  Without a key only this machine may call: the host must be 127.0.0.1, ::1 or localhost.
  CROSSRANK_API_KEY is a key too, and is not seen in a list of processes.

Environment:
  RERANKER_MODE=mlx serves MLX_RERANKER_MODEL on the backend mlx, with
  MLX_RERANKER_MAX_LENGTH; without a model, the usual one of MLX_RERANKER_TYPE (qwen3 or
  cross-encoder). An option goes before its variable.

Output:
  Standard output has the server's address, once it answers. Standard error has one JSON
  object a line for each request, without texts.

Examples:
  $ crossrank serve
  $ crossrank serve BAAI/bge-reranker-base --port 9000
  $ crossrank serve BAAI/bge-reranker-base --cascade nano --keep 30
  $ crossrank serve --model fast=nano --model base=BAAI/bge-reranker-base,backend=onnx:fp32

Exit code: 0 after SIGTERM or Ctrl-C, once what was under way is done; 1 failed, 2 wrong usage.`;

interface ServeChoices extends LongDocumentChoices {
  readonly model?: string | readonly string[];
}

export function addServeCommand(program: Command, context: Context, version: string): void {
  const command = program
    .command("serve")
    .summary("answer over HTTP, as Cohere, Jina, Voyage, TEI, vLLM and others do")
    .description("Serves rerankers over HTTP, in the dialects that the clients of the field speak.")
    .option(
      "-m, --model <source>",
      `a model, or NAME=MODEL with its settings; give it several times (default: ${defaultModel})`,
      (value: string, before: readonly string[] = []) => [...before, value],
    );
  const shared = [...modelOptions(), conversionOption(), fileOption(), ...longDocumentOptions()];
  const scores = [...cascadeOptions(), activationOption(), scoreCacheOption()];
  for (const option of [...shared, ...scores]) command.addOption(option);
  command
    .option(
      "-b, --backend <name>",
      `runtime of models that name none; given several times, the next is tried when one fails; known: ${backendNames.join(", ")}`,
      (value: string, before: readonly string[] = []) => [...before, requireBackend(value)],
    )
    .option("--instruction <text>", "what counts as relevant, where the model and the request say nothing")
    .option("--max-length <n>", "longest sequence in tokens (default: the model's own)", wholeNumber)
    .addOption(
      new Option(
        "--truncation <strategy>",
        "what to cut when a pair is too long (default: document-only)",
      ).choices(["document-only", "longest-first"]),
    )
    .option("--threads <n>", "threads of each worker (default: from the machine)", wholeNumber)
    .option("--workers <n>", "workers of each model (default: from the model)", wholeNumber)
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("-p, --port <n>", "port to listen on; 0 takes one that is free", portNumber, 8080)
    .option(
      "--api-key <key>",
      "key that clients must send as Authorization: Bearer KEY; give it several times",
      (value: string, before: readonly string[] = []) => [...before, requireKey(value)],
    )
    .option("--preload", "load every model at the start")
    .option("--idle-unload <seconds>", "free a model after so long without a request; 0 keeps it", seconds, 0)
    .option(
      "--load-wait <seconds>",
      "let a request wait so long for its model before it gets 503",
      seconds,
      0,
    )
    .addOption(
      new Option("--cosine <way>", "scores of models that give cosines: map to (1 + cosine) / 2, or refuse")
        .choices(["map", "refuse"])
        .default("map"),
    )
    .option(
      "--origin <url>",
      "web pages of this origin may call too; give it several times",
      (value: string, before: readonly string[] = []) => [...before, value],
    )
    .option("--limit-body <bytes>", "longest body (default: 8388608)", limit("--limit-body"))
    .option(
      "--limit-documents <n>",
      "most documents of a request (default: 1000)",
      limit("--limit-documents"),
    )
    .option("--limit-tokens <n>", "most tokens of a request (default: 262144)", limit("--limit-tokens"))
    .option(
      "--limit-queue <n>",
      "most tokens that wait or run, of each model (default: 262144)",
      limit("--limit-queue"),
    )
    .option("--limit-requests <n>", "most requests that are open (default: 512)", limit("--limit-requests"))
    .option("--limit-time <seconds>", "longest time of a request, waiting included (default: 60)", seconds)
    .option(
      "--deadline <seconds>",
      "time that requests under way have once the server is told to end",
      seconds,
      30_000,
    )
    .option("--trace-texts", "put queries and documents into OpenTelemetry spans")
    .addOption(
      new Option("--log <level>", "what to write to standard error")
        .choices(["info", "warning", "error", "none"])
        .default("info"),
    )
    .addHelpText("after", help)
    .action(async (given: ServeCommandOptions & ServeChoices) => {
      const options = withEnvironment(given);
      const models = choices(options.model);
      requireWholeCascade(options);
      requireOneBackend(options, models);
      const longDocuments = longDocumentsOf(options);
      // Loaded when it is asked for: --help has no use for it.
      const { serve } = await import("./run.js");
      await serve({ ...options, longDocuments, models }, context, version);
    });
}

/** What was not given comes from the environment where it asks for MLX. @throws {UsageError} where that is no setting. */
function withEnvironment(options: ServeCommandOptions & ServeChoices): ServeCommandOptions & ServeChoices {
  const mlx = readMlxEnvironment(process.env);
  if (mlx === undefined) return options;
  const { model, maxLength, adapter } = mlx;
  if (adapter !== undefined && (options.model !== undefined || options.backend !== undefined)) {
    throw new UsageError(
      "MLX_RERANKER_ADAPTER is computed beside the model of MLX_RERANKER_MODEL on MLX. Leave --model and --backend out, or the adapter",
    );
  }
  return {
    ...options,
    ...(adapter === undefined ? {} : { adapter }),
    model: options.model ?? model,
    ...(maxLength === undefined ? {} : { maxLength: options.maxLength ?? maxLength }),
    backend: options.backend ?? ["mlx"],
  };
}

/** @throws {UsageError} when two have one name, or one cannot be read. */
function choices(model: string | readonly string[] = defaultModel): readonly ServedModelChoice[] {
  const read = [model].flat().map((value) => {
    try {
      return parseModelChoice(value);
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      throw new UsageError(`--model ${value}: ${error.message}`);
    }
  });
  const names = read.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new UsageError(`two models have the name ${twice}; give NAME=MODEL`);
  return read;
}

/** @throws {UsageError} where a chain of backends would be a stage. */
function requireOneBackend(
  { cascade, backend = [], adapter }: ServeCommandOptions,
  models: readonly ServedModelChoice[],
): void {
  if (cascade === undefined) return;
  if (adapter !== undefined) throw new UsageError("--cascade does not go with an adapter of MLX");
  if (backend.length > 1 || models.some(({ backends }) => backends.length > 1)) {
    throw new UsageError("--cascade does not go with several backends of a model: give one");
  }
}

function requireBackend(value: string): string {
  if (parseBackend(value) !== undefined) return value;
  throw new InvalidArgumentError(`Known backends: ${backendNames.join(", ")}.`);
}

function requireKey(value: string): string {
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw new InvalidArgumentError("A key has printable ASCII characters and no spaces.");
}

function limit(name: string): (value: string) => number {
  return (value) => positiveWhole(value, name);
}
