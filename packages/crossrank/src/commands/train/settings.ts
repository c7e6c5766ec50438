import { readFile } from "node:fs/promises";
import type { TrainingConfig, TrainingFile, TrainingPreset } from "@crossrank/train";
import { CommandError, describeSystemError, UsageError } from "../../failure.js";
import type { BackendChoice } from "../../options.js";
import type { TrainingPackage } from "./training-package.js";

export interface TrainCommandOptions {
  readonly model?: string;
  readonly config?: string;
  readonly data?: readonly string[];
  readonly split?: string;
  readonly heldOut?: string;
  readonly heldOutSplit?: string;
  readonly heldOutShare?: number;
  readonly heldOutQueries?: number;
  readonly gateTask?: string;
  readonly depth?: number;
  readonly output?: string;
  readonly to?: readonly string[];
  readonly gate?: number;
  readonly engine?: "mlx" | "torch";
  readonly python?: string;
  readonly threads?: number;
  readonly preset?: TrainingPreset;
  readonly method?: TrainingConfig["method"];
  readonly loss?: TrainingConfig["loss"];
  readonly rank?: number;
  readonly batchSize?: number;
  readonly accumulation?: number;
  readonly epochs?: number;
  readonly maxSteps?: number;
  readonly learningRate?: number;
  readonly maxTokens?: number;
  readonly evaluateEvery?: number;
  readonly patience?: number;
  readonly seed?: number;
  readonly keep?: "best" | "last";
  readonly teacher?: string;
  readonly backend?: BackendChoice;
  readonly skipBadRows?: true;
  readonly fresh?: true;
  readonly dryRun?: true;
  readonly revision?: string;
  readonly offline?: boolean;
  readonly format: "table" | "json";
}

/** What a training is told, by file, command line and defaults. */
export interface TrainSettings {
  readonly config: TrainingConfig;
  readonly model: string;
  readonly data: readonly string[];
  readonly split: string;
  readonly heldOut: string | undefined;
  readonly heldOutSplit: string | undefined;
  readonly heldOutShare: number;
  readonly heldOutQueries: number;
  readonly gateTask: string | undefined;
  readonly depth: number;
  readonly listSize: number | undefined;
  readonly keep: "best" | "last";
  readonly engine: "mlx" | "torch";
  readonly to: readonly string[];
  /** nDCG@10. */
  readonly gate: number;
  readonly teacher: string | undefined;
  readonly output: string;
}

/** @throws {UsageError} when something needed is missing; {TrainingSetupError} for a value out of its range. */
export async function readSettings(
  training: TrainingPackage,
  source: string | undefined,
  options: TrainCommandOptions,
): Promise<TrainSettings> {
  const file = options.config === undefined ? {} : await readFileOf(training, options.config);
  const model = source ?? options.model ?? file.model;
  if (model === undefined) throw new UsageError("no model is given; pass a folder or a repository id");
  const data = options.data ?? listOf(file.data);
  if (data === undefined)
    throw new UsageError("there is nothing to train on; name judged queries with --data");
  const output = options.output ?? file.output;
  if (output === undefined)
    throw new UsageError("--output is missing; name the folder that the result goes to");
  const heldOutShare = options.heldOutShare ?? file.heldOutShare ?? 0.2;
  if (heldOutShare > 0.5) throw new UsageError(`--held-out-share is ${heldOutShare}; hold out half at most`);
  const { rank, batchSize, accumulation, epochs, maxSteps, learningRate, maxTokens } = options;
  const { method, loss, evaluateEvery, patience, seed } = options;
  const own = { method, loss, loraRank: rank, batchSize, accumulation, epochs, maxSteps, learningRate };
  const given = { ...own, maxTokens, evaluateEvery, patience, seed };
  const config = training.readTrainingConfig(
    {
      ...configOf(file),
      ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    },
    options.preset ?? file.preset,
  );
  const heldOutQueries = options.heldOutQueries ?? file.heldOutQueries ?? 200;
  const depth = options.depth ?? file.depth ?? 20;
  if (heldOutQueries < 2) throw new UsageError("--held-out-queries must be at least 2");
  if (depth < 2 || depth > 1000) throw new UsageError("--depth must be 2 to 1000");
  return {
    ...{ config, model, data, output, heldOutShare, heldOutQueries, depth },
    split: options.split ?? file.split ?? "train",
    heldOut: options.heldOut ?? file.heldOut,
    heldOutSplit: options.heldOutSplit ?? file.heldOutSplit,
    gateTask: options.gateTask ?? file.gateTask,
    listSize: file.listSize,
    keep: options.keep ?? file.keep ?? "best",
    engine: options.engine ?? file.engine ?? "mlx",
    to: [...new Set(options.to ?? listOf(file.to) ?? [])],
    gate: options.gate ?? file.gate ?? 0.005,
    teacher: options.teacher ?? file.teacher,
  };
}

function listOf(value: string | readonly string[] | undefined): readonly string[] | undefined {
  return typeof value === "string" ? [value] : value;
}

function configOf(file: TrainingFile): Partial<TrainingConfig> {
  const { preset, model, data, split, heldOut, heldOutSplit, gateTask, heldOutShare, ...rest } = file;
  const { heldOutQueries, depth, listSize, keep, engine, to, gate, teacher, output, ...config } = rest;
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined));
}

async function readFileOf(training: TrainingPackage, path: string): Promise<TrainingFile> {
  let value: unknown;
  try {
    value = JSON.parse((await readFile(path, "utf8")).replace(/^\ufeff/, ""));
  } catch (cause) {
    const problem =
      cause instanceof SyntaxError ? `it is not JSON (${cause.message})` : describeSystemError(cause);
    throw new CommandError(`cannot read --config ${path}: ${problem}`, { cause });
  }
  return training.parseTrainingFile(value, path);
}
