import { appendFile } from "node:fs/promises";
import { styleText } from "node:util";
import {
  BaselineFileError,
  cellProblems,
  type Matrix,
  MatrixConfigError,
  type MatrixReport,
  matrixHeadline,
  matrixOverview,
  matrixPassed,
  planMatrix,
  renderMatrixMarkdown,
  runMatrix,
} from "@crossrank/eval";
import { backendNames, parseBackend } from "../../backend-names.js";
import { readConfig } from "../../config/read-config.js";
import { type Context, print } from "../../context.js";
import { createHost } from "../../evaluation/host.js";
import { showProgress } from "../../evaluation/progress-line.js";
import { CommandError, describeSystemError, UsageError } from "../../failure.js";
import { defaultModel } from "../../model.js";
import { createProgress } from "../../progress.js";
import { toSingleLine } from "../../text.js";
import { matrixTable } from "./table.js";

export interface CiCommandOptions {
  readonly config?: string;
  readonly report?: string;
  readonly baseline?: string;
  /** True where no file is named. */
  readonly updateBaseline?: string | true;
  readonly filter?: string;
  readonly fresh?: true;
  readonly format: "table" | "json" | "markdown";
}

/** What GitHub takes of a step, in bytes; more is refused as a whole. */
const stepSummaryLimit = 1024 * 1024;

export async function runCiCommand(options: CiCommandOptions, context: Context): Promise<void> {
  const report = await run(options, context).catch((error: unknown) => {
    if (MatrixConfigError.isInstance(error) || BaselineFileError.isInstance(error)) {
      // The filter is an option of this command, and of no file.
      throw new UsageError(error.message.replace(/^filter: /, "--filter: "), { cause: error });
    }
    throw error;
  });
  await appendStepSummary(report);
  await print(format(report, options.format));
  fail(report);
}

async function run(options: CiCommandOptions, { signal, log }: Context): Promise<MatrixReport> {
  const { path, folder, value } = await readConfig(options.config);
  const matrix = await planMatrix(value, {
    path,
    folder,
    defaultModel,
    defaultBackend: backendNames[0],
    checkBackend: (label) =>
      parseBackend(label) === undefined ? `known backends: ${backendNames.join(", ")}` : undefined,
    hasBaseline: options.baseline !== undefined || options.updateBaseline !== undefined,
  });
  const { report = matrix.report, filter, baseline, fresh } = options;
  const progress = createProgress(process.stderr);
  try {
    return await runMatrix(matrix, createHost(progress), {
      report,
      filter,
      baseline,
      updateBaseline: baselineToWrite(options, matrix),
      fresh,
      signal,
      onProgress: showProgress(progress),
      onStep: progress.step,
      onMessage: (message) => {
        progress.clear();
        say(message);
      },
      onError: (error) => log(error instanceof Error ? (error.stack ?? error.message) : String(error)),
    });
  } catch (error) {
    progress.clear();
    if (signal.aborted) say(`stopped; what was scored is in ${report}; the same command goes on`);
    throw error;
  } finally {
    progress.clear();
  }
}

function baselineToWrite({ updateBaseline, baseline }: CiCommandOptions, matrix: Matrix): string | undefined {
  if (updateBaseline === undefined) return undefined;
  if (typeof updateBaseline === "string") {
    if (baseline !== undefined && baseline !== updateBaseline) {
      throw new UsageError(
        `--update-baseline ${updateBaseline} and --baseline ${baseline} name two files; give one of them`,
      );
    }
    return updateBaseline;
  }
  return baseline ?? matrix.baseline ?? matrix.defaultBaseline;
}

async function appendStepSummary(report: MatrixReport): Promise<void> {
  const path = process.env["GITHUB_STEP_SUMMARY"];
  if (path === undefined || path === "") return;
  const whole = renderMatrixMarkdown(report);
  const fits = Buffer.byteLength(whole) <= stepSummaryLimit;
  const text = fits
    ? whole
    : `${matrixHeadline(report)} The summary is too long for this page: it is in summary.md of the report.\n`;
  await appendFile(path, text).catch((cause: unknown) => {
    say(`cannot write GITHUB_STEP_SUMMARY: ${describeSystemError(cause)}`);
  });
}

function format(report: MatrixReport, as: CiCommandOptions["format"]): string {
  if (as === "json") return `${JSON.stringify(matrixOverview(report), undefined, 2)}\n`;
  if (as === "markdown") return renderMatrixMarkdown(report);
  const emphasise = (text: string): string =>
    process.stdout.isTTY && !process.env["NO_COLOR"] ? styleText("bold", text) : text;
  return matrixTable(report, emphasise);
}

/** @throws {CommandError} with what failed. */
function fail(report: MatrixReport): void {
  if (matrixPassed(report) !== false) return;
  const sentences = [
    ...report.cells.flatMap((cell) => cellProblems(cell).map((text) => `${cell.name}: ${text}`)),
    ...report.problems,
  ];
  throw new CommandError(`${matrixHeadline(report)} ${sentences.join(" ")}`);
}

/** On standard error: a run takes long, and a job's log is all that is seen of it. */
function say(text: string): void {
  process.stderr.write(`crossrank: ${toSingleLine(text)}\n`);
}
