import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type CascadeEntry,
  type CascadeReport,
  type EvaluationSubject,
  runCascadeSweep,
  withFirstStage,
  writeCascadeReport,
} from "@crossrank/eval";
import type { ServedModelChoice } from "../commands/serve/model-option.js";
import { nameOfModel } from "../model-name.js";
import type { Progress } from "../progress.js";
import { createHost, defaultSystem, stageSubject, systemOf } from "./host.js";
import { showProgress } from "./progress-line.js";
import { timeCascade } from "./time-cascade.js";

export interface CascadeSweepChoices {
  /** The large model and the task. */
  readonly subject: EvaluationSubject;
  /** Of the large model; undefined for the default. */
  readonly backend: string | undefined;
  readonly small: ServedModelChoice;
  readonly keeps: readonly number[] | undefined;
  readonly metric: string | undefined;
  readonly margin: number;
  readonly depth: number | undefined;
  readonly seed: number | undefined;
  readonly fresh: boolean | undefined;
  /** Keeps scores and the report; undefined keeps nothing. */
  readonly folder: string | undefined;
}

/**
 * Scores a task with a small and a large model, times whole calls of both and of cascades in turns, and says which `keep` is
 * safe.
 */
export async function sweepTask(
  choices: CascadeSweepChoices,
  progress: Progress,
  signal: AbortSignal,
): Promise<CascadeReport> {
  const { subject, metric, margin, keeps, seed, fresh, depth } = choices;
  const host = createHost(progress);
  const small = stageSubject(subject, entryOf(choices.small));
  const backends = {
    small: (await stageBackend(choices.small, small)) ?? (await defaultSystem(small, signal)),
    large: choices.backend ?? (await defaultSystem(subject, signal)),
  };
  const folder = choices.folder ?? (await mkdtemp(join(tmpdir(), "crossrank-cascade-")));
  let task = await host.openTask(subject, signal);
  try {
    if (task.candidates === undefined) {
      progress.step(`searching ${task.id} with BM25`);
      const { excludeIdenticalIds } = subject.task;
      task = await withFirstStage(task, { depth, excludeIdenticalIds, signal });
    }
    const named = (of: EvaluationSubject, backend: string) => ({
      ...systemOf(of, backend, progress),
      name: `${nameOfModel(of.model.model)} on ${backend}`,
    });
    const report = await runCascadeSweep({
      ...{ task, folder, fresh, metric, margin, keeps, seed, signal },
      limit: subject.task.limit,
      small: named(small, backends.small),
      large: named(subject, backends.large),
      environment: host.environment([backends.small, backends.large]),
      onProgress: showProgress(progress),
      measure: (lists, keeps) =>
        timeCascade({
          ...{ subject, backend: backends.large, small, smallBackend: backends.small },
          ...{ lists, keeps, signal },
          onStep: progress.step,
        }),
    });
    if (choices.folder !== undefined) await writeCascadeReport(folder, report);
    return report;
  } finally {
    await task[Symbol.asyncDispose]();
    if (choices.folder === undefined) await rm(folder, { recursive: true, force: true });
  }
}

/** With a precision or a file where one is asked for; undefined for the small model's default. */
export async function stageBackend(
  { backends: [backend], dtype, file }: ServedModelChoice,
  small: EvaluationSubject,
): Promise<string | undefined> {
  const run = dtype ?? file;
  return run === undefined ? backend : `${backend ?? (await defaultSystem(small))}:${run}`;
}

/** The small model of a command's `--cascade`, as a configuration has it. */
export function entryOf({ reference, ...own }: ServedModelChoice): Omit<CascadeEntry, "keep"> {
  const { revision, lock, base, convert, profile, maxLength, truncation, threads, workers } = own;
  return {
    model: reference,
    ...{ revision, lock, base, convert, profile, maxLength, truncation, threads, workers },
  };
}
