import { InvalidInputError, type OptionNames, requireKnownOptions } from "@crossrank/core";
import type { EvaluationSubject } from "@crossrank/eval";
import { parseBackend } from "../backend-names.js";
import type { SystemChoice } from "../evaluation-options.js";
import { createProgress, type Progress } from "../progress.js";
import type { FirstStage } from "./pick-cascade.js";
import type { PickReport } from "./report.js";
import { runPick } from "./run-pick.js";

export type { FirstStage } from "./pick-cascade.js";
export type {
  LeftOut,
  LeftOutReason,
  PickCascade,
  PickChoice,
  PickReport,
  PickSystem,
  PickTask,
  PickTime,
  Ratio,
} from "./report.js";

/** What {@link pick} is asked. Paths are relative to the working directory. */
export interface PickOptions
  extends Omit<EvaluationSubject["model"], "model" | "cascade">,
    Omit<EvaluationSubject["task"], "task"> {
  /** `"nano"`, a folder, or a repository id. */
  readonly model: string;
  /** A folder with judgements (BEIR, MTEB, or a TREC run with text), or a dataset's id. */
  readonly task: string;
  /** Loss of nDCG@10 that is accepted, above 0 and below 1. Default 0.005. */
  readonly maxLoss?: number | undefined;
  /** Seconds that the whole may take; a step that began may end later. Default 600. */
  readonly time?: number | undefined;
  /** Runtimes (`"onnx"`), or runtimes with a precision (`"onnx:int8"`), to try. Default: all that work here. */
  readonly backends?: readonly string[] | undefined;
  /** What the others are held against. Default: the most exact that works here. */
  readonly reference?: string | undefined;
  /**
   * A small model to try before the recommended system: its smallest `keep` that keeps the quality is found and timed.
   * Default: none.
   */
  readonly cascade?: FirstStage | undefined;
  /** Folder of the scores, with which the same call goes on. Default: one of its own beside the model cache. */
  readonly folder?: string | undefined;
  /** Of what is drawn at random. Default 1. */
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told what is being done, e.g. `"scoring onnx:int8"`, and how far that is, 0 to 1, where it has a measure. */
  readonly onProgress?: ((step: string, share?: number) => void) | undefined;
}

export const defaultMaxLoss = 0.005;
export const defaultSeconds = 600;

const names: OptionNames<PickOptions> = {
  model: "name",
  task: "name",
  maxLoss: "number",
  time: "number",
  backends: true,
  reference: "name",
  cascade: "object",
  folder: "name",
  seed: "number",
  revision: "string",
  offline: "boolean",
  lock: "name",
  base: "name",
  convert: "boolean",
  profile: "name",
  maxLength: "number",
  truncation: true,
  longDocuments: true,
  instruction: "string",
  threads: "number",
  workers: "number",
  split: "name",
  subset: "name",
  candidates: "name",
  depth: "number",
  retrieve: "boolean",
  excludeIdenticalIds: "boolean",
  limit: "number",
  signal: "AbortSignal",
  onProgress: "function",
};

const stageNames: OptionNames<FirstStage> = {
  model: "name",
  backend: "name",
  revision: "string",
  lock: "name",
  base: "name",
  convert: "boolean",
  profile: "name",
  maxLength: "number",
  truncation: true,
  threads: "number",
  workers: "number",
};

/**
 * Which runtime and precision to take on this machine: scores all that work here on the task, drops those that lose more
 * than is accepted, times the others in turn, and recommends one. Models run in processes of their own: one that ends is a
 * reason in the report.
 *
 * @throws {InvalidInputError} for an option that is wrong; an Error that says why, where nothing runs the model here;
 *   what opening the model or the task throws; the signal's reason.
 */
export async function pick(options: PickOptions): Promise<PickReport> {
  requireKnownOptions(options, names, "pick", undefined, '@({ model: "nano", task: "./task" })');
  const { model, task, maxLoss = defaultMaxLoss, time = defaultSeconds, seed = 1 } = options;
  for (const name of ["model", "task"] as const) {
    if (typeof options[name] !== "string" || options[name] === "")
      throw new InvalidInputError(name, "is missing");
  }
  if (!(maxLoss > 0 && maxLoss < 1))
    throw new InvalidInputError("maxLoss", `must be above 0 and below 1, not ${maxLoss}`);
  if (!(time > 0 && Number.isFinite(time)))
    throw new InvalidInputError("time", `must be a number of seconds above 0, not ${time}`);
  if (!Number.isSafeInteger(seed)) throw new InvalidInputError("seed", `must be a whole number, not ${seed}`);
  const { backends, reference, cascade, folder, signal, onProgress } = options;
  if (cascade !== undefined) {
    requireKnownOptions(cascade, stageNames, "a cascade", "cascade", '{ model: "nano" }');
    if (typeof cascade.model !== "string" || cascade.model === "")
      throw new InvalidInputError("cascade.model", 'is missing: write cascade: { model: "nano" }');
    if (cascade.backend !== undefined) toChoice(cascade.backend, "cascade.backend");
  }
  if (backends !== undefined && (!Array.isArray(backends) || backends.length === 0))
    throw new InvalidInputError("backends", 'must be a list of names, as in ["onnx", "llamacpp:Q8_0"]');
  const { revision, offline, lock, base, convert, profile, maxLength, truncation, longDocuments } = options;
  const { instruction, threads, workers } = options;
  const { split, subset, candidates, depth, retrieve, excludeIdenticalIds, limit } = options;
  const step = (what: string): void => onProgress?.(what);
  // A library draws nothing on a terminal.
  const progress: Progress = {
    ...createProgress({ isTTY: false } as NodeJS.WriteStream),
    step,
    download: ({ path }) => step(`downloading ${path}`),
  };
  return runPick({
    subject: {
      model: {
        ...{ model, revision, offline, lock, base, convert, profile },
        ...{ maxLength, truncation, longDocuments, instruction, threads, workers },
      },
      task: { task, split, subset, candidates, depth, retrieve, excludeIdenticalIds, limit },
    },
    ...{ maxLoss, seconds: time, cascade, folder, seed, signal, progress },
    backends: backends?.map((name, index) => toChoice(name, `backends[${index}]`)),
    reference: reference === undefined ? undefined : toChoice(reference, "reference"),
    onEvaluation: ({ phase, system, completed, total }) =>
      onProgress?.(`${phase} ${system}`, total === 0 ? undefined : completed / total),
  });
}

function toChoice(label: unknown, path: string): SystemChoice {
  const parsed = typeof label === "string" ? parseBackend(label) : undefined;
  if (typeof label === "string" && parsed !== undefined) return { label, ...parsed };
  throw new InvalidInputError(path, `is no backend: ${String(label)}`);
}
