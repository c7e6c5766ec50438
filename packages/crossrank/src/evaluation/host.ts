import { CrossrankError, type Family, type ModelFiles, readProfile } from "@crossrank/core";
import {
  type CascadeEntry,
  type EvaluationHost,
  type EvaluationSubject,
  openTask,
  readCascadeSystem,
  type SystemSource,
  type Task,
} from "@crossrank/eval";
import { isFolderSource, openDataset } from "@crossrank/hub";
import { backendNames, parseBackend } from "../backend-names.js";
import { chooseBackend } from "../backends.js";
import { readSystemName } from "../evaluation-options.js";
import { CommandError, describeSystemError, translateInputError } from "../failure.js";
import { defaultModel, openModelFiles, readProfileFile } from "../model.js";
import { openBackend } from "../open-reranker.js";
import type { Progress } from "../progress.js";
import { declaredClassesOf } from "../registry.js";
import {
  openBenchProcess,
  openScoringProcess,
  type ScoringTarget,
  type TurnProcess,
} from "../scoring-process.js";
import { environmentOf, versionsBehind } from "./versions.js";

/** Opens tasks and models as the command does: from folders or the hub, each model in a process of its own. */
export function createHost(progress: Progress): EvaluationHost {
  return {
    openTask: (subject, signal) => openTaskOf(subject, progress, signal),
    systemOf: (subject, backend) => systemOf(subject, backend, progress),
    familyOf,
    environment: (backends) => environmentOf(backends.map((backend) => nameIn(backend).name)),
  };
}

/** In a process of its own, when its turn comes. */
export function systemOf(subject: Subject, backend: string, progress: Progress): SystemSource {
  return {
    name: backend,
    packages: packagesBehind(subject, backend),
    open: async ({ signal }) =>
      openScoringProcess(await convertedTarget(subject, backend, progress, signal), {
        signal,
        onProgress: progress.download,
      }),
  };
}

/** Versions of what the scores of a system depend on, a cascade's small model included. */
export function packagesBehind({ model: { cascade } }: Subject, system: string): Record<string, string> {
  const { backend, isCascade } = readCascadeSystem(system, cascade);
  const small = isCascade ? cascade?.backend : undefined;
  return {
    ...versionsBehind(nameIn(backend).name),
    ...(small === undefined ? {} : versionsBehind(nameIn(small).name)),
  };
}

/** The small model of a cascade on the same task. What is not said of it is its own, save the threads. */
export function stageSubject(
  { model, task }: EvaluationSubject,
  entry: Omit<CascadeEntry, "keep">,
): EvaluationSubject {
  const { model: small, revision, lock, base, convert, profile, maxLength, truncation } = entry;
  const { offline, threads, workers, longDocuments } = model;
  return {
    model: {
      ...{ model: small, revision, offline, lock, base, convert: convert ?? model.convert, profile },
      ...{ maxLength, truncation, longDocuments },
      threads: entry.threads ?? threads,
      workers: entry.workers ?? workers,
    },
    task,
  };
}

/** In a process of its own, whose calls are timed. */
export async function benchProcessOf(
  subject: Subject,
  backend: string,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<TurnProcess> {
  const target = await convertedTarget(subject, backend, progress, signal);
  return openBenchProcess(target, { signal, onProgress: progress.download });
}

/** What the process loads; a model that has weights alone is converted before. */
async function convertedTarget(
  subject: Subject,
  backend: string,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<ScoringTarget> {
  for (const one of await modelsOf(subject, backend, signal))
    await convertBefore(one.subject, nameIn(one.backend), progress, signal);
  return targetOf(subject, backend);
}

/** The models of a system, that of its name last. */
async function modelsOf(
  subject: Subject,
  system: string,
  signal?: AbortSignal,
): Promise<readonly { readonly subject: Subject; readonly backend: string }[]> {
  const { cascade } = subject.model;
  const { backend, isCascade } = readCascadeSystem(system, cascade);
  const own = { subject, backend };
  if (!isCascade || cascade === undefined) return [own];
  const small = stageSubject(subject as EvaluationSubject, cascade);
  return [{ subject: small, backend: cascade.backend ?? (await defaultSystem(small, signal)) }, own];
}

/** What the process loads. */
export async function targetOf(subject: Subject, system: string): Promise<ScoringTarget> {
  const targets = await Promise.all(
    (await modelsOf(subject, system)).map((one) => modelTarget(one.subject, one.backend)),
  );
  const own = targets.at(-1) as ScoringTarget;
  const { cascade } = subject.model;
  const [first] = targets;
  return first === own || first === undefined || cascade === undefined
    ? own
    : { ...own, cascade: { first, keep: cascade.keep } };
}

/** What the process loads of one model. */
export async function modelTarget(subject: Subject, backend: string): Promise<ScoringTarget> {
  const { model, revision, offline, base, convert, profile } = subject.model;
  const { maxLength, truncation, instruction, threads, workers } = subject.model;
  const { name, dtype } = nameIn(backend);
  const longDocuments = readSystemName(backend).longDocuments ?? subject.model.longDocuments;
  return {
    model,
    modelOptions: { revision, offline, lock: await lockOfModel(subject), base, convert },
    profile,
    backend: name,
    dtype,
    maxLength,
    truncation,
    longDocuments,
    instruction,
    threads,
    workers,
  };
}

/** Here, and not in the process that scores: its peak memory is reported. */
async function convertBefore(
  subject: Subject,
  { name, dtype }: { readonly name: string; readonly dtype: string | undefined },
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<void> {
  const files = await openFiles(subject, signal);
  const paths = (await files.list({ signal })).map(({ path }) => path);
  const { isWeights } = await import("../auto-conversion.js");
  // Most models have no need of it, and of what it loads.
  if (!paths.some(isWeights)) return;
  const profile = await readProfileFile(subject.model.profile);
  const { threads } = subject.model;
  await openBackend(
    files,
    { backend: name, dtype, profile, threads, onConversion: progress.conversion },
    signal,
  ).catch((error: unknown) => {
    throw translateInputError(error, {
      dtype: "--backend",
      profile: profile && `--profile ${subject.model.profile}`,
    });
  });
}

/** A subject whose task may be no hub's and no folder's: pairs of a file. */
export interface Subject {
  readonly model: EvaluationSubject["model"];
  readonly task?: EvaluationSubject["task"] | undefined;
}

/** Candidates are those of the run file, where one is named. */
export async function openTaskOf(
  { model, task: entry }: EvaluationSubject,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<Task> {
  const { task: source, split, subset, candidates } = entry;
  progress.step(`reading ${source}`);
  // A lock pins what comes from the hub: that the model does and the task does not is nothing wrong.
  const lockFile = (await isFolderSource(source)) ? undefined : model.lock;
  const { offline } = model;
  const files = await openDataset(source, { offline, lockFile, signal }).catch((error: unknown) => {
    throw translateInputError(error, { source: "--task", "options.lockFile": "--lock" });
  });
  try {
    const onProgress = progress.download;
    return await openTask(files, { split, subset, run: candidates, signal, onProgress });
  } catch (error) {
    if (candidates === undefined || CrossrankError.isInstance(error) || signal?.aborted) throw error;
    const { path } = error as NodeJS.ErrnoException;
    if (path !== undefined && path !== candidates) throw error;
    throw new CommandError(`cannot read --candidates ${candidates}: ${describeSystemError(error)}`, {
      cause: error,
    });
  }
}

/** The backend of an evaluation that names none. */
export async function defaultSystem(subject: Subject, signal?: AbortSignal): Promise<string> {
  const files = await openFiles(subject, signal);
  return (await chooseBackend(undefined, files, { signal: signal ?? new AbortController().signal })).name;
}

export async function familyOf(subject: Subject, signal: AbortSignal | undefined): Promise<Family> {
  const overrides = await readProfileFile(subject.model.profile);
  const files = await openFiles(subject, signal);
  const reading = await readProfile(files, overrides, signal, () => declaredClassesOf(files, signal));
  return reading.profile.family;
}

export async function openFiles(subject: Subject, signal: AbortSignal | undefined): Promise<ModelFiles> {
  const lock = await lockOfModel(subject);
  const { model, revision, offline, base, convert } = subject.model;
  return openModelFiles(
    model,
    { revision, offline, lock, base, convert },
    signal ?? new AbortController().signal,
  );
}

/** Beside a dataset from the hub, a model that is on this machine is nothing wrong. */
async function lockOfModel({ model: { lock, model }, task }: Subject): Promise<string | undefined> {
  if (lock === undefined || task === undefined || (await isFolderSource(task.task))) return lock;
  return model === defaultModel || (await isFolderSource(model)) ? undefined : lock;
}

function nameIn(backend: string): { readonly name: string; readonly dtype: string | undefined } {
  const parsed = parseBackend(readSystemName(backend).backend);
  if (parsed !== undefined) return parsed;
  throw new CommandError(`${backend} is no backend; known: ${backendNames.join(", ")}`);
}
