import { stat } from "node:fs/promises";
import type { Task } from "@crossrank/eval";
import { openTaskOf } from "../../evaluation/host.js";
import { subjectOf } from "../../evaluation-options.js";
import { CommandError, describeSystemError } from "../../failure.js";
import type { ModelOptions } from "../../model.js";
import type { Progress } from "../../progress.js";

/** A file of rows by its path, or a task that was opened; dispose of the tasks. */
export type OpenedSource = string | Task;

/** What is said of tasks on the command line. */
export interface TaskSourceOptions extends Pick<ModelOptions, "offline"> {
  /** Of the judgements. */
  readonly split: string | undefined;
  readonly subset?: string | undefined;
}

/**
 * Files as they are; folders and datasets of the hub as tasks.
 * @throws {CommandError} {TaskLayoutError} {TaskDataError}
 */
export async function openSources(
  names: readonly string[],
  options: TaskSourceOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<OpenedSource[]> {
  const opened: OpenedSource[] = [];
  try {
    for (const name of names) {
      const isFile = await isFileHere(name);
      opened.push(isFile ? name : await openTaskSource(name, options, progress, signal));
    }
    return opened;
  } catch (error) {
    await disposeSources(opened);
    throw error;
  }
}

export async function openTaskSource(
  name: string,
  { offline, split, subset }: TaskSourceOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<Task> {
  const evaluation = {
    model: "",
    backend: [],
    task: name,
    offline,
    ...(split && { split }),
    ...(subset && { subset }),
  };
  return openTaskOf(subjectOf(evaluation, name), progress, signal);
}

export async function disposeSources(sources: readonly OpenedSource[]): Promise<void> {
  for (const source of sources) if (typeof source !== "string") await source[Symbol.asyncDispose]();
}

/** @throws {CommandError} for what looks like a file and is none. */
async function isFileHere(name: string): Promise<boolean> {
  try {
    return (await stat(name)).isFile();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT" && !/\.(jsonl?|ndjson|gz)$/.test(name)) return false;
    throw new CommandError(`cannot read ${name}: ${describeSystemError(cause)}`, { cause });
  }
}
