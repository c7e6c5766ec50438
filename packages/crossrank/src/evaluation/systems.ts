import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism, cpus, totalmem } from "node:os";
import { basename, join } from "node:path";
import { type ModelFiles, readProfile } from "@crossrank/core";
import {
  type EnvironmentReport,
  type EvaluationProgress,
  type GateFile,
  GateRulesError,
  marginGate,
  openTask,
  readGateFile,
  type SystemSource,
  type Task,
  TaskDataError,
  withRunFile,
} from "@crossrank/eval";
import { isFolderSource, openDataset } from "@crossrank/hub";
import { backendPackages } from "../backends.js";
import type { EvaluationOptions, SystemChoice } from "../evaluation-options.js";
import { CommandError, describeSystemError, translateInputError, UsageError } from "../failure.js";
import { defaultModel, openModelFiles, readProfileFile } from "../model.js";
import { chooseBackend } from "../options.js";
import type { Progress } from "../progress.js";
import { outsiderFile, packageFolder } from "../registry.js";
import { openScoringProcess } from "../scoring-process.js";
import { formatCount } from "../text.js";

/** Each in a process of its own, when its turn comes. */
export function sourcesOf(
  systems: readonly SystemChoice[],
  options: EvaluationOptions,
  progress: Progress,
): SystemSource[] {
  const { model, revision, offline, profile, maxLength, truncation, instruction, threads, workers } = options;
  return systems.map(({ label, name, dtype }) => ({
    name: label,
    packages: { ...versionsOf(["@crossrank/core", ...backendPackages(name)]), ...contentOfFile(name) },
    open: async ({ signal }) =>
      openScoringProcess(
        {
          model,
          modelOptions: { revision, offline, lock: await lockOfModel(options) },
          profile,
          backend: name,
          dtype,
          maxLength,
          truncation,
          instruction,
          threads,
          workers,
        },
        { signal, onProgress: progress.download },
      ),
  }));
}

/** Candidates are those of `--candidates`, where it is given. */
export async function openTaskOption(
  source: string,
  options: EvaluationOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<Task> {
  const { split, subset, offline, lock, candidates } = options;
  progress.step(`reading ${source}`);
  // A lock pins what comes from the hub: that the model does and the task does not is nothing wrong.
  const lockFile = (await isFolderSource(source)) ? undefined : lock;
  const files = await openDataset(source, { offline, lockFile, signal }).catch((error: unknown) => {
    throw translateInputError(error, { source: "--task", "options.lockFile": "--lock" });
  });
  const task = await openTask(files, { split, subset, signal, onProgress: progress.download });
  if (candidates === undefined) return task;
  try {
    return await withRunFile(task, candidates, signal);
  } catch (error) {
    await task[Symbol.asyncDispose]();
    if (TaskDataError.isInstance(error) || signal.aborted) throw error;
    throw new CommandError(`cannot read --candidates ${candidates}: ${describeSystemError(error)}`, {
      cause: error,
    });
  }
}

/** The same the other way round: beside a dataset from the hub, a model that is on this machine is nothing wrong. */
async function lockOfModel({ lock, task, model }: EvaluationOptions): Promise<string | undefined> {
  if (lock === undefined || task === undefined || (await isFolderSource(task))) return lock;
  return model === defaultModel || (await isFolderSource(model)) ? undefined : lock;
}

async function openModelOption(options: EvaluationOptions, signal: AbortSignal): Promise<ModelFiles> {
  return openModelFiles(options.model, { ...options, lock: await lockOfModel(options) }, signal);
}

/** What kind of model it is, without loading it. */
export async function familyOf(options: EvaluationOptions, signal: AbortSignal): Promise<string> {
  const overrides = await readProfileFile(options.profile);
  const model = await openModelOption(options, signal);
  return (await readProfile(model, overrides, signal)).profile.family;
}

/** The backend of an evaluation that names none. */
export async function defaultSystem(options: EvaluationOptions, signal: AbortSignal): Promise<string> {
  const model = await openModelOption(options, signal);
  return (await chooseBackend(undefined, model, { signal })).name;
}

/** `0.005`, or a file of rules. */
export async function readGate(value: string): Promise<GateFile> {
  const margin = Number(value);
  if (value.trim() !== "" && Number.isFinite(margin)) {
    if (margin < 0 || margin > 1)
      throw new UsageError(`--gate ${value} must be a loss from 0 to 1, or a file`);
    return marginGate(margin);
  }
  let content: unknown;
  try {
    content = JSON.parse((await readFile(value, "utf8")).replace(/^\ufeff/, ""));
  } catch (cause) {
    const problem =
      cause instanceof SyntaxError ? `it is not JSON (${cause.message})` : describeSystemError(cause);
    throw new CommandError(`cannot read --gate ${value}: ${problem}`, { cause });
  }
  try {
    return readGateFile(content);
  } catch (cause) {
    if (!GateRulesError.isInstance(cause)) throw cause;
    throw new CommandError(`--gate ${value}: ${cause.message}`, { cause });
  }
}

export function environmentOf(systems: readonly SystemChoice[]): EnvironmentReport {
  const packages = [
    "@crossrank/core",
    "@crossrank/eval",
    ...new Set(systems.flatMap(({ name }) => backendPackages(name))),
  ];
  const ownManifest = new URL("../package.json", import.meta.url);
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus()[0]?.model.trim() || null,
    cores: availableParallelism(),
    memory: totalmem(),
    packages: {
      crossrank: versionIn(ownManifest),
      ...versionsOf(packages.sort()),
      ...Object.assign({}, ...systems.map(({ name }) => contentOfFile(name))),
    },
  };
}

function versionsOf(packages: readonly string[]): Record<string, string> {
  return Object.fromEntries(packages.map((name) => [name, installedVersion(name)]));
}

/** A backend that is a file has no version: its content stands for it, though not what it imports. */
function contentOfFile(backend: string): Record<string, string> {
  const path = outsiderFile(backend);
  if (path === undefined || !existsSync(path)) return {};
  return { [basename(path)]: `sha256 ${createHash("sha256").update(readFileSync(path)).digest("hex")}` };
}

function installedVersion(name: string): string {
  try {
    return versionIn(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch {
    // One that is installed where the command is run, and does not have to export its manifest.
    const folder = packageFolder(name);
    // Loading the backend will say what to install.
    return folder === undefined ? "not installed" : versionIn(join(folder, "package.json"));
  }
}

function versionIn(manifest: string | URL): string {
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version?: string }).version ?? "unversioned";
}

/** One line: who is at work, how far, how long still. */
function progressLine({ system, phase, completed, total, secondsLeft }: EvaluationProgress): string {
  if (phase === "loading") return `loading ${system}, ${completed + 1} of ${total}`;
  if (phase === "measuring") return `measuring, ${completed + 1} of ${total}`;
  const share = total === 0 ? 100 : Math.floor((100 * completed) / total);
  const things = phase === "scoring" ? "pairs" : phase === "embedding" ? "texts" : "documents";
  const left = secondsLeft === undefined || completed >= total ? "" : `, ${formatDuration(secondsLeft)} left`;
  return `${phase} ${system}: ${formatCount(completed)} of ${formatCount(total)} ${things}, ${share} %${left}`;
}

function formatDuration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** A terminal that is written to more often only flickers. */
export function showProgress(progress: Progress): (now: EvaluationProgress) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (now) => {
    const time = performance.now();
    if (now.phase !== "loading" && now.phase !== "measuring" && time - last < 100) return;
    last = time;
    progress.step(progressLine(now));
  };
}

/** @throws {CommandError} with every gate that failed. */
export function failOfGates(
  systems: readonly {
    readonly name: string;
    readonly gates: readonly { passed: boolean; sentence: string }[];
  }[],
): void {
  const failed = systems.flatMap(({ name, gates }) =>
    gates.filter(({ passed }) => !passed).map(({ sentence }) => `${name}: ${sentence}`),
  );
  if (failed.length === 0) return;
  throw new CommandError(
    `${failed.length} gate${failed.length === 1 ? "" : "s"} failed. ${failed.join(" ")}`,
  );
}
