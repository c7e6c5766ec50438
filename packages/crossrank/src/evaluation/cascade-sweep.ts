import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Pair } from "@crossrank/core";
import {
  type CascadeReport,
  type DocumentCost,
  type EvaluationSubject,
  runCascadeSweep,
  withFirstStage,
  writeCascadeReport,
} from "@crossrank/eval";
import type { ServedModelChoice } from "../commands/serve/model-option.js";
import type { Progress } from "../progress.js";
import type { TurnProcess } from "../scoring-process.js";
import { benchProcessOf, createHost, defaultSystem, systemOf } from "./host.js";
import { showProgress } from "./progress-line.js";

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

/** Turns of each model: each goes once forth and once back, so that a machine that warms up favours none. */
const rounds = 2;

/**
 * Scores a task with a small and a large model, times both in turns in processes of their own, and says which `keep` is
 * safe.
 */
export async function sweepTask(
  choices: CascadeSweepChoices,
  progress: Progress,
  signal: AbortSignal,
): Promise<CascadeReport> {
  const { subject, metric, margin, keeps, seed, fresh, depth } = choices;
  const host = createHost(progress);
  const small = smallSubject(subject, choices.small);
  const backends = {
    small: choices.small.backends[0] ?? (await defaultSystem(small, signal)),
    large: choices.backend ?? (await defaultSystem(subject, signal)),
  };
  const withDtype = choices.small.dtype ?? choices.small.file;
  if (withDtype !== undefined) backends.small = `${backends.small}:${withDtype}`;
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
      name: `${nameOf(of.model.model)} on ${backend}`,
    });
    const report = await runCascadeSweep({
      ...{ task, folder, fresh, metric, margin, keeps, seed, signal },
      limit: subject.task.limit,
      small: named(small, backends.small),
      large: named(subject, backends.large),
      environment: host.environment([backends.small, backends.large]),
      onProgress: showProgress(progress),
      measure: async (lists) => {
        progress.step("timing both models in turns");
        const open = (of: EvaluationSubject, backend: string): Promise<TurnProcess> =>
          benchProcessOf(of, backend, progress, signal);
        return timeInTurns(
          () => open(small, backends.small),
          () => open(subject, backends.large),
          lists,
        );
      },
    });
    if (choices.folder !== undefined) await writeCascadeReport(folder, report);
    return report;
  } finally {
    await task[Symbol.asyncDispose]();
    if (choices.folder === undefined) await rm(folder, { recursive: true, force: true });
  }
}

/** Folders by their last part: a path of one machine is no name. */
function nameOf(model: string): string {
  return (
    model
      .replace(/[/\\]+$/, "")
      .split(/[/\\]/)
      .at(-1) ?? model
  );
}

/** The small model on the same task. What is not said of it is its own, save the threads. */
function smallSubject({ model, task }: EvaluationSubject, choice: ServedModelChoice): EvaluationSubject {
  const { reference, revision, base, lock, convert, profile, maxLength, truncation } = choice;
  const { offline, threads, workers, longDocuments } = model;
  return {
    model: {
      ...{ model: reference, revision, offline, lock, base, convert: convert ?? model.convert, profile },
      ...{ maxLength, truncation, longDocuments },
      threads: choice.threads ?? threads,
      workers: choice.workers ?? workers,
    },
    task,
  };
}

/** Processor time of a document, of both models beside each other; undefined where a runtime's cannot be told. */
async function timeInTurns(
  openSmall: () => Promise<TurnProcess>,
  openLarge: () => Promise<TurnProcess>,
  lists: readonly (readonly Pair[])[],
): Promise<DocumentCost | undefined> {
  const small = await openSmall();
  try {
    const large = await openLarge();
    try {
      const spent = { small: 0, large: 0 };
      const processes = { small, large };
      const turn = async (which: "small" | "large", list: readonly Pair[]): Promise<boolean> => {
        const pairs = list.map(({ query, document }) => ({ query, document: String(document) }));
        const { processorMilliseconds } = await processes[which].turn({ pairs, warmUp: 0, calls: 1 });
        if (processorMilliseconds === undefined) return false;
        spent[which] += processorMilliseconds;
        return true;
      };
      // Not counted: the first call of a session makes its buffers.
      const [first = []] = lists;
      await turn("small", first.slice(0, 8));
      await turn("large", first.slice(0, 8));
      spent.small = 0;
      spent.large = 0;
      for (let round = 0; round < rounds; round += 1) {
        for (const list of lists) {
          for (const which of round % 2 === 0
            ? (["small", "large"] as const)
            : (["large", "small"] as const)) {
            if (!(await turn(which, list))) return undefined;
          }
        }
      }
      const documents = rounds * lists.reduce((sum, { length }) => sum + length, 0);
      return { small: spent.small / documents, large: spent.large / documents };
    } finally {
      await large.close();
    }
  } finally {
    await small.close();
  }
}
