import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { styleText } from "node:util";
import {
  type CascadeReport,
  defaultMargin,
  type EvaluationReport,
  EvaluationSetupError,
  evaluateTask,
  renderCascadeMarkdown,
  renderMarkdown,
} from "@crossrank/eval";
import { type Context, print } from "../../context.js";
import { sweepTask } from "../../evaluation/cascade-sweep.js";
import { failOfGates, readGate } from "../../evaluation/gate-option.js";
import { createHost, defaultSystem } from "../../evaluation/host.js";
import { showProgress } from "../../evaluation/progress-line.js";
import { type EvaluationOptions, subjectOf, systemsOf } from "../../evaluation-options.js";
import { CommandError, UsageError } from "../../failure.js";
import { createProgress } from "../../progress.js";
import { toSingleLine } from "../../text.js";
import type { ServedModelChoice } from "../serve/model-option.js";
import { cascadeTable, evaluationTable } from "./table.js";

export interface EvalCommandOptions extends EvaluationOptions {
  readonly task: string;
  readonly depth?: number;
  readonly retrieve?: true;
  readonly excludeIdenticalIds?: true;
  readonly metric?: readonly string[];
  readonly cascade?: ServedModelChoice;
  readonly keep?: readonly number[];
  readonly gate?: string;
  readonly report?: string;
  readonly fresh?: true;
  readonly seed?: number;
  readonly format: "table" | "json" | "markdown";
}

export async function runEvalCommand(options: EvalCommandOptions, context: Context): Promise<void> {
  if (options.cascade !== undefined) return runCascade(options, options.cascade, context);
  if (options.keep !== undefined) {
    throw new UsageError("--keep goes with --cascade, the model that scores all documents first");
  }
  const report = await evaluate(options, context);
  await print(format(report, options.format));
  failOfGates(report.systems);
}

/** A sweep of cascades in place of the backends. */
async function runCascade(
  options: EvalCommandOptions,
  small: ServedModelChoice,
  { signal }: Context,
): Promise<void> {
  const { task, depth, excludeIdenticalIds, gate, metric = [], keep: keeps, seed, fresh } = options;
  const refused = (["retrieve", "reference"] as const).find((name) => options[name] !== undefined);
  if (refused !== undefined) throw new UsageError(`--${refused} does not go with --cascade`);
  const { systems } =
    options.backend === undefined && options.file === undefined
      ? { systems: [] }
      : await systemsOf(options, async () => "");
  const [large, ...others] = systems;
  if (others.length > 0)
    throw new UsageError("--cascade sweeps one backend of the model; give one --backend");
  if (metric.length > 1) throw new UsageError("--cascade judges one metric; give one --metric");
  const margin = gate === undefined ? defaultMargin : Number(gate);
  if (gate?.trim() === "" || !(margin >= 0 && margin <= 1)) {
    throw new UsageError(`--gate ${gate} must be a loss from 0 to 1 with --cascade`);
  }
  const subject = subjectOf(options, task);
  const progress = createProgress(process.stderr);
  try {
    const report = await sweepTask(
      {
        subject: { ...subject, task: { ...subject.task, excludeIdenticalIds } },
        ...{ backend: large?.label, small, keeps, metric: metric[0], margin, depth, seed, fresh },
        folder: options.report,
      },
      progress,
      signal,
    );
    progress.clear();
    await print(formatCascade(report, options.format));
    if (gate !== undefined && keeps !== undefined) failOfKeeps(report, keeps);
  } catch (error) {
    if (EvaluationSetupError.isInstance(error))
      throw new CommandError(error.message.replace(/\.$/, ""), { cause: error });
    throw error;
  } finally {
    progress.clear();
  }
}

/** @throws {CommandError} with every keep that was asked for and loses too much. */
function failOfKeeps({ rows, margin, metric }: CascadeReport, keeps: readonly number[]): void {
  failOfGates(
    rows
      .filter(({ keep }) => keeps.includes(keep))
      .map(({ keep, passed, lowerBound }) => ({
        name: `keep ${keep}`,
        gates: [
          {
            passed,
            sentence: `the lower bound of Δ ${metric} is ${lowerBound.toFixed(4)}, and must lie above −${margin}.`,
          },
        ],
      })),
  );
}

function formatCascade(report: CascadeReport, as: EvalCommandOptions["format"]): string {
  if (as === "json") return `${JSON.stringify(report, undefined, 2)}\n`;
  return as === "markdown" ? renderCascadeMarkdown(report) : cascadeTable(report);
}

async function evaluate(options: EvalCommandOptions, { signal, log }: Context): Promise<EvaluationReport> {
  const {
    task,
    depth,
    retrieve,
    excludeIdenticalIds,
    limit,
    report: kept,
    fresh,
    seed,
    metric: metrics,
  } = options;
  const subject = subjectOf(options, task);
  const { systems } = await systemsOf(options, () => defaultSystem(subject, signal));
  if (retrieve && options.candidates !== undefined) {
    throw new UsageError(
      "--retrieve searches the whole corpus and --candidates gives documents to rerank; give one of them",
    );
  }
  const gates = options.gate === undefined ? undefined : await readGate(options.gate);
  if (gates !== undefined && systems.length < 2) {
    throw new UsageError("--gate holds a backend against the reference; give a second --backend");
  }
  const progress = createProgress(process.stderr);
  const folder = kept ?? (await mkdtemp(join(tmpdir(), "crossrank-eval-")));
  try {
    return await evaluateTask(createHost(progress), {
      model: subject.model,
      task: { ...subject.task, depth, retrieve, excludeIdenticalIds, limit },
      backends: systems.map(({ label }) => label),
      metrics,
      gates,
      seed,
      fresh,
      folder,
      writesReport: kept !== undefined,
      signal,
      onProgress: showProgress(progress),
      onStep: (step) => {
        log(step);
        progress.step(step);
      },
    });
  } catch (error) {
    if (signal.aborted) {
      progress.clear();
      const note =
        kept === undefined
          ? "nothing is kept without --report"
          : `what was scored is in ${kept}; the same command goes on`;
      process.stderr.write(`crossrank: stopped; ${toSingleLine(note)}\n`);
    }
    if (EvaluationSetupError.isInstance(error))
      throw new CommandError(error.message.replace(/\.$/, ""), { cause: error });
    throw error;
  } finally {
    progress.clear();
    if (kept === undefined) await rm(folder, { recursive: true, force: true });
  }
}

function format(report: EvaluationReport, as: EvalCommandOptions["format"]): string {
  if (as === "json") return `${JSON.stringify(report, undefined, 2)}\n`;
  if (as === "markdown") return renderMarkdown(report);
  const emphasise = (text: string): string =>
    process.stdout.isTTY && !process.env["NO_COLOR"] ? styleText("bold", text) : text;
  return evaluationTable(report, emphasise);
}
