import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { styleText } from "node:util";
import { InvalidInputError } from "@crossrank/core";
import {
  type EvaluationReport,
  EvaluationSetupError,
  type GateFile,
  type MtebTaskResult,
  mtebTaskResult,
  renderHtml,
  renderJunit,
  renderMarkdown,
  runEvaluation,
  type Task,
  withFirstStage,
} from "@crossrank/eval";
import { type Context, print } from "../context.js";
import { type EvaluationOptions, systemsOf } from "../evaluation-options.js";
import { CommandError, describeSystemError, UsageError } from "../failure.js";
import { createProgress } from "../progress.js";
import { toSingleLine } from "../text.js";
import { evaluationTable } from "./evaluation-table.js";
import {
  defaultSystem,
  environmentOf,
  failOfGates,
  familyOf,
  openTaskOption,
  readGate,
  showProgress,
  sourcesOf,
} from "./systems.js";

export interface EvalCommandOptions extends EvaluationOptions {
  readonly task: string;
  readonly depth?: number;
  readonly retrieve?: true;
  readonly excludeIdenticalIds?: true;
  readonly metric?: readonly string[];
  readonly gate?: string;
  readonly report?: string;
  readonly fresh?: true;
  readonly seed?: number;
  readonly format: "table" | "json" | "markdown";
}

export async function runEvalCommand(options: EvalCommandOptions, context: Context): Promise<void> {
  const report = await evaluate(options, context);
  await print(await format(report, options.format));
  failOfGates(report.systems);
}

/** @param judge in place of `options.gate`. */
export async function evaluate(
  options: EvalCommandOptions,
  context: Context,
  judge?: GateFile,
): Promise<EvaluationReport> {
  const { signal, log } = context;
  const { systems, reference } = await systemsOf(options, () => defaultSystem(options, signal));
  if (options.retrieve && options.candidates !== undefined) {
    throw new UsageError(
      "--retrieve searches the whole corpus and --candidates gives documents to rerank; give one of them",
    );
  }
  const gates = judge ?? (options.gate === undefined ? undefined : await readGate(options.gate));
  if (gates !== undefined && systems.length < 2) {
    throw new UsageError("--gate holds a backend against the reference; give a second --backend");
  }
  const progress = createProgress(process.stderr);
  let task: Task | undefined;
  const kept = options.report;
  const folder = kept ?? (await mkdtemp(join(tmpdir(), "crossrank-eval-")));
  try {
    await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
      throw new CommandError(`cannot write --report ${folder}: ${describeSystemError(cause)}`, { cause });
    });
    task = await openTaskOption(options.task, options, progress, signal);
    const search = await isSearch(task, options, signal);
    if (!search && task.candidates === undefined) {
      progress.step(`searching ${task.id} with BM25`);
      log(`${task.id} has no candidates, so BM25 finds them`);
      const { depth, excludeIdenticalIds } = options;
      task = await withFirstStage(task, { depth, excludeIdenticalIds, signal });
    }
    const report = await runEvaluation({
      task,
      systems: sourcesOf(systems, options, progress),
      reference,
      folder,
      fresh: options.fresh,
      search,
      excludeIdenticalIds: options.excludeIdenticalIds,
      limit: options.limit,
      metrics: options.metric,
      gates,
      settings: options,
      seed: options.seed,
      environment: environmentOf(systems),
      signal,
      onProgress: showProgress(progress),
    });
    if (kept !== undefined) {
      progress.step("writing the report");
      await writeReport(kept, report);
    }
    return report;
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
    await task?.[Symbol.asyncDispose]();
    if (kept === undefined) await rm(folder, { recursive: true, force: true });
  }
}

/** Only where it matters is the model looked at before it is loaded. */
async function isSearch(task: Task, options: EvalCommandOptions, signal: AbortSignal): Promise<boolean> {
  if (options.retrieve) return true;
  return task.candidates === undefined && (await familyOf(options, signal)) === "bi-encoder";
}

async function format(report: EvaluationReport, as: EvalCommandOptions["format"]): Promise<string> {
  if (as === "json") return `${JSON.stringify(report, undefined, 2)}\n`;
  if (as === "markdown") return renderMarkdown(report);
  const emphasise = (text: string): string =>
    process.stdout.isTTY && !process.env["NO_COLOR"] ? styleText("bold", text) : text;
  return evaluationTable(report, emphasise);
}

async function writeReport(folder: string, report: EvaluationReport): Promise<void> {
  const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;
  // First and by itself: should anything be wrong with the rest, the numbers are there.
  await writeFile(join(folder, "report.json"), json(report));
  const files: Record<string, string> = {
    "report.md": renderMarkdown(report),
    "report.html": await renderHtml(report),
    "junit.xml": renderJunit(report),
  };
  for (const { name, model, runFile } of report.systems) {
    const result = model === null ? undefined : mtebResult(report, name);
    const file = basename(runFile ?? name.replace(/[^A-Za-z0-9._-]+/g, "-"), ".trec");
    if (result !== undefined) files[`mteb/${file}.json`] = json(result);
  }
  await mkdir(join(folder, "mteb"), { recursive: true });
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
}

/** Undefined for a task whose main score in MTEB is none that is measured here. */
function mtebResult(report: EvaluationReport, name: string): MtebTaskResult | undefined {
  try {
    return mtebTaskResult(report, name);
  } catch (error) {
    if (InvalidInputError.isInstance(error)) return undefined;
    throw error;
  }
}
