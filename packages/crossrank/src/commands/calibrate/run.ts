import { basename, join, resolve } from "node:path";
import { CalibrationError, type FittedCalibration, fitCalibration, type ScoreResult } from "@crossrank/core";
import { isFolderSource } from "@crossrank/hub";
import { type Context, print } from "../../context.js";
import { defaultModel } from "../../default-model.js";
import { openTaskOf } from "../../evaluation/host.js";
import { subjectOf } from "../../evaluation-options.js";
import { CommandError, translateInputError, UsageError } from "../../failure.js";
import { openModelFiles, readProfileFile } from "../../model.js";
import { openReranker } from "../../open-reranker.js";
import type { BackendChoice, ProfiledModelOptions } from "../../options.js";
import { createProgress, type Progress } from "../../progress.js";
import { type JudgedPair, judgedPairsOf, readJudgedPairs } from "./judged-pairs.js";
import { type CalibrationOutcome, calibrationJson, calibrationTable } from "./table.js";
import { readEntries, writeCalibration } from "./write-calibration.js";

export interface CalibrateCommandOptions extends ProfiledModelOptions {
  readonly pairs?: string;
  readonly task?: string;
  readonly split?: string;
  readonly subset?: string;
  readonly candidates?: string;
  readonly limit?: number;
  readonly unjudged?: "left-out" | "not-relevant";
  readonly relevantFrom?: number;
  readonly method?: "platt" | "temperature";
  /** Path. */
  readonly calibration?: string;
  readonly backend?: BackendChoice;
  readonly file?: string;
  readonly instruction?: string;
  readonly format: "table" | "json";
}

export async function runCalibrateCommand(
  source: string,
  options: CalibrateCommandOptions,
  context: Context,
): Promise<void> {
  if (options.pairs === undefined && options.task === undefined) {
    throw new UsageError("there is nothing to fit on; name judged pairs with --pairs, or a task with --task");
  }
  const unfit = (["split", "subset", "candidates", "limit", "unjudged"] as const).find(
    (name) => options.task === undefined && options[name] !== undefined,
  );
  if (unfit !== undefined) throw new UsageError(`--${unfit} is of a task, and --pairs names a file`);
  const outcome = await calibrate(source, options, context);
  await print(options.format === "json" ? calibrationJson(outcome) : calibrationTable(outcome));
}

async function calibrate(
  source: string,
  options: CalibrateCommandOptions,
  { signal, log }: Context,
): Promise<CalibrationOutcome> {
  const progress = createProgress(process.stderr);
  try {
    const target = options.calibration ?? (await ownFile(source));
    // Before anything is scored.
    if (target !== undefined) await readEntries(target);
    const pairs = await readPairs(source, options, progress, signal);
    const { scores, ...scored } = await score(source, options, pairs, { signal, log, progress });
    const { scale, model, backend } = scored;
    const logits = scores.flatMap(({ logit }, index) => {
      const { relevant, query } = pairs[index] as JudgedPair;
      return logit === null ? [] : { logit, relevant, group: query };
    });
    const fitted = fit(logits, options, scale);
    const named = await sourceName(options);
    const { format, dtype } = model.artifact;
    const id = model.revision === undefined ? basename(model.id) : model.id;
    const calibration = {
      ...fitted.calibration,
      fit: { ...fitted.calibration.fit, source: named, of: `${id}, ${format} ${dtype}, ${backend.name}` },
    };
    if (target !== undefined) await writeCalibration(target, calibration);
    return {
      ...{ ...fitted, calibration },
      model: scored,
      source: named,
      leftOut: pairs.length - logits.length,
      written: target,
    };
  } finally {
    progress.clear();
  }
}

function fit(
  logits: Parameters<typeof fitCalibration>[0],
  { method, task, unjudged }: CalibrateCommandOptions,
  scale: ScoreResult["scale"],
): FittedCalibration {
  try {
    return fitCalibration(logits, { method, of: scale === "cosine" ? "cosine" : "logit" });
  } catch (error) {
    const isSmall =
      CalibrationError.isInstance(error) && (error.reason === "one-class" || error.reason === "too-few");
    if (isSmall && task !== undefined && unjudged === undefined) {
      throw new CommandError(
        `${error.message} Or take the task's candidates without a judgement as not relevant, with --unjudged not-relevant`,
        { cause: error },
      );
    }
    throw translateInputError(error, { method: "--method" });
  }
}

/** Of a folder or a file its name alone: where it lies on this machine is of no use elsewhere. */
async function sourceName({ task, pairs }: CalibrateCommandOptions): Promise<string> {
  if (pairs === "-") return "standard input";
  if (pairs !== undefined) return basename(pairs);
  const name = task ?? "";
  return (await isFolderSource(name)) ? basename(resolve(name)) : name;
}

/** crossrank.json of a model that is a folder here; of nano and of the hub's none is the user's to change. */
async function ownFile(source: string): Promise<string | undefined> {
  if (source === defaultModel || !(await isFolderSource(source))) return undefined;
  return join(resolve(source), "crossrank.json");
}

async function readPairs(
  source: string,
  options: CalibrateCommandOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<JudgedPair[]> {
  const { pairs, task: name, limit, relevantFrom = 1, unjudged = "left-out" } = options;
  if (pairs !== undefined) return readJudgedPairs(pairs, { relevantFrom, signal });
  progress.step(`reading ${name}`);
  const subject = subjectOf({ ...options, model: source, backend: [] }, name as string);
  const task = await openTaskOf(subject, progress, signal);
  try {
    return await judgedPairsOf(task, { limit, relevantFrom, unjudged, signal });
  } finally {
    await task[Symbol.asyncDispose]();
  }
}

async function score(
  source: string,
  options: CalibrateCommandOptions,
  pairs: readonly JudgedPair[],
  { signal, log, progress }: { signal: AbortSignal; log: (message: string) => void; progress: Progress },
): Promise<ScoreResult> {
  progress.step(`loading ${source}`);
  const profile = await readProfileFile(options.profile);
  const model = await openModelFiles(source, options, signal);
  const reranker = await openReranker(model, {
    backend: options.backend?.name,
    dtype: options.backend?.dtype,
    file: options.file,
    instruction: options.instruction,
    profile,
    signal,
    onProgress: progress.download,
    onConversion: progress.conversion,
  }).catch((error: unknown) => {
    throw translateInputError(error, {
      model: "model",
      dtype: "--backend",
      instruction: options.instruction === undefined ? undefined : "--instruction",
      profile: options.profile && `--profile ${options.profile}`,
    });
  });
  try {
    log(`scoring ${pairs.length} judged pairs with ${model.id}`);
    return await reranker.score(
      pairs.map(({ query, document }) => ({ query, document })),
      { signal, onProgress: progress.scoring },
    );
  } finally {
    await reranker.dispose();
  }
}
