import type { Family } from "@crossrank/core";
import type { EnvironmentReport, EvaluationReport } from "../report/report-data.js";
import { writeReportFolder } from "../report/write-report.js";
import type { GateFile } from "../run/gate-rules.js";
import { type RunEvaluationOptions, runEvaluation, type SystemSource } from "../run/run-evaluation.js";
import { withFirstStage } from "../tasks/bm25.js";
import type { Task } from "../tasks/task.js";
import { readCascadeSystem } from "./cascade-system.js";
import type { PlannedCell } from "./plan-matrix.js";

/** A model and a task, as a matrix names them. */
export type EvaluationSubject = Pick<PlannedCell, "model" | "task">;

/** How a caller opens what a matrix names: this package knows no hub and no runtime. */
export interface EvaluationHost {
  /** The task, with the candidates of `candidates` where they are named. Whoever asked disposes of it. */
  openTask(subject: EvaluationSubject, signal: AbortSignal | undefined): Promise<Task>;
  /** The model on a backend, or the cascade that {@link readCascadeSystem} tells, still to be loaded. Its name is that. */
  systemOf(subject: EvaluationSubject, backend: string): SystemSource;
  /** What kind of model it is, without loading it. Asked where a task brings no candidates. */
  familyOf(subject: EvaluationSubject, signal: AbortSignal | undefined): Promise<Family>;
  environment(backends: readonly string[]): EnvironmentReport;
}

export interface EvaluateTaskOptions
  extends EvaluationSubject,
    Pick<RunEvaluationOptions, "folder" | "fresh" | "seed" | "signal" | "onProgress"> {
  /** The reference first. */
  readonly backends: readonly string[];
  readonly metrics?: readonly string[] | undefined;
  readonly gates?: GateFile | undefined;
  /** Writes the report's files beside the scores. Default true. */
  readonly writesReport?: boolean | undefined;
  /** What is done now, e.g. `"searching scifact with BM25"`. */
  readonly onStep?: ((step: string) => void) | undefined;
}

/**
 * Opens a task, finds candidates where it brings none, scores it with every backend, and writes the report.
 *
 * A task without candidates is searched as a whole by a bi-encoder; for any other model BM25 finds them.
 *
 * @throws what the host's functions and {@link runEvaluation} throw; {FileWriteError}.
 */
export async function evaluateTask(
  host: EvaluationHost,
  options: EvaluateTaskOptions,
): Promise<EvaluationReport> {
  const { model, task: entry, backends, folder, signal, onStep } = options;
  let task = await host.openTask(options, signal);
  try {
    const search =
      entry.retrieve === true ||
      (task.candidates === undefined && (await host.familyOf(options, signal)) === "bi-encoder");
    if (!search && task.candidates === undefined) {
      onStep?.(`searching ${task.id} with BM25`);
      const { depth, excludeIdenticalIds } = entry;
      task = await withFirstStage(task, { depth, excludeIdenticalIds, signal });
    }
    const report = await runEvaluation({
      task,
      systems: backends.map((backend) => host.systemOf(options, backend)),
      folder,
      fresh: options.fresh,
      search,
      excludeIdenticalIds: entry.excludeIdenticalIds,
      limit: entry.limit,
      metrics: options.metrics,
      gates: options.gates,
      settings: model,
      seed: options.seed,
      environment: host.environment([
        ...new Set(backends.map((system) => readCascadeSystem(system, model.cascade).backend)),
        ...(model.cascade?.backend === undefined ? [] : [model.cascade.backend]),
      ]),
      signal,
      onProgress: options.onProgress,
    });
    if (options.writesReport !== false) {
      onStep?.("writing the report");
      await writeReportFolder(folder, report);
    }
    return report;
  } finally {
    await task[Symbol.asyncDispose]();
  }
}
