import type { TruncationStrategy } from "@crossrank/core";
import { type Command, Option } from "commander";
import { UsageError } from "../../failure.js";
import {
  type LongDocumentChoices,
  longDocumentOptions,
  longDocumentsOf,
} from "../../long-documents-options.js";
import { defaultModel } from "../../model.js";
import {
  type BackendChoice,
  backendOption,
  conversionOption,
  fileOption,
  modelOptions,
  type ProfiledModelOptions,
  wholeNumber,
} from "../../options.js";
import {
  activationOption,
  calibrationOption,
  type ScoreChoices,
  scoreCacheOption,
} from "../../score-options.js";

/** What of a model can be chosen where pairs are scored, by `score` and by `worker`. */
export interface ScorerChoices extends ProfiledModelOptions, ScoreChoices, LongDocumentChoices {
  readonly model: string;
  readonly backend?: BackendChoice;
  readonly dtype?: string;
  readonly file?: string;
  readonly maxLength?: number;
  readonly truncation?: TruncationStrategy;
  readonly instruction?: string;
  readonly threads?: number;
  readonly workers?: number;
}

/** Those of `rerank` that say how a pair is scored. */
export function addScorerOptions(command: Command): void {
  command.option("-m, --model <source>", "folder, repository id, or nano, the embedded model", defaultModel);
  for (const option of [
    ...modelOptions(),
    conversionOption(),
    ...longDocumentOptions(),
    activationOption(),
    calibrationOption("file with a calibration, as `crossrank calibrate` writes it; gives probabilities"),
    scoreCacheOption(),
  ])
    command.addOption(option);
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
    .option("--threads <n>", "threads of each worker of the runtime (default: from the machine)", wholeNumber)
    .option(
      "--workers <n>",
      "workers of the runtime, each with the model in its memory (default: from the model)",
      wholeNumber,
    );
}

/** @throws {UsageError} before anything is read or loaded. */
export function requireScorerChoices(choices: ScorerChoices): void {
  const dtype = choices.backend?.dtype;
  if (dtype !== undefined && choices.dtype !== undefined && dtype !== choices.dtype) {
    throw new UsageError(`--backend asks for ${dtype} and --dtype for ${choices.dtype}; give one of them`);
  }
  longDocumentsOf(choices);
}
