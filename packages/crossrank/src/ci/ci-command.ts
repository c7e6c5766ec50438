import { appendFile, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { styleText } from "node:util";
import {
  type BaselineComparison,
  cellOutcome,
  cellProblems,
  compareWithBaseline,
  type EvaluationReport,
  type GateFile,
  type MatrixCell,
  type MatrixReport,
  matrixHeadline,
  matrixPassed,
  renderHtml,
  renderJunit,
  renderMarkdown,
  renderMatrixHtml,
  renderMatrixJunit,
  renderMatrixMarkdown,
  ScoreIdentityError,
} from "@crossrank/eval";
import { type Cell, type Matrix, readMatrix } from "../config/matrix.js";
import { readConfig } from "../config/read-config.js";
import { type Context, print } from "../context.js";
import { evaluate } from "../evaluation/eval-command.js";
import { CommandError, describeSystemError, UsageError } from "../failure.js";
import { toSingleLine } from "../text.js";
import { type BaselineFile, readBaselineFile, writeBaselineFile } from "./baseline-file.js";
import { matrixTable } from "./matrix-table.js";

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

/** What says how a run ended. An earlier run's would be taken for this one's. */
const verdictFiles = {
  matrix: ["report.json", "summary.md", "junit.xml", "index.html"],
  cell: ["report.json", "report.md", "report.html", "junit.xml", "mteb"],
} as const;

export async function runCiCommand(options: CiCommandOptions, context: Context): Promise<void> {
  const hasBaseline = options.baseline !== undefined || options.updateBaseline !== undefined;
  const matrix = await readMatrix(await readConfig(options.config), hasBaseline);
  const cells = filtered(matrix, options.filter);
  const folder = options.report ?? matrix.report;
  const comparison = options.updateBaseline === undefined ? (options.baseline ?? matrix.baseline) : undefined;
  const baseline = comparison === undefined ? undefined : await readBaselineFile(comparison);
  const update = baselineToWrite(options, matrix);
  // Before anything is scored: a file that cannot be kept is no reason to lose the work.
  const before = update === undefined ? undefined : await existing(update, options.filter !== undefined);

  await makeFolder(folder);
  await removeVerdict(folder, "matrix");
  const done: MatrixCell[] = [];
  for (const [index, cell] of cells.entries()) {
    say(`${index + 1} of ${cells.length}: ${cell.name}`);
    const result = await runCell(cell, { options, matrix, folder, baseline }, context);
    if (result.error !== null) say(`${cell.name} failed: ${result.error}`);
    done.push(result);
  }
  const report: MatrixReport = {
    created: new Date().toISOString(),
    cells: done,
    ...aboutBaseline(matrix, done, baseline, options.filter !== undefined),
  };
  await writeMatrix(folder, report);
  await appendStepSummary(report);
  if (update !== undefined) {
    const reports = new Map(
      done.flatMap(({ name, report: one, failures }): [string, EvaluationReport][] =>
        one === null || failures.length > 0 ? [] : [[name, one]],
      ),
    );
    if (reports.size > 0) {
      const kept = keptBaselines(before, matrix, options.filter !== undefined);
      await writeBaselineFile(update, reports, kept);
      say(`wrote the baseline ${update}: review it and commit it`);
    }
  }
  await print(format(report, options.format));
  fail(report);
}

function filtered({ cells }: Matrix, filter: string | undefined): readonly Cell[] {
  if (filter === undefined) return cells;
  const chosen = cells.filter(({ name }) => name.toLowerCase().includes(filter.toLowerCase()));
  if (chosen.length === 0) {
    throw new UsageError(
      `--filter ${filter} is in the name of no cell; there is: ${cells.map(({ name }) => name).join(", ")}`,
    );
  }
  return chosen;
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

/**
 * What is written anew, for the cells that have no result this time; undefined where there is no file yet, or none that
 * can be read and all of it is written anew.
 */
async function existing(path: string, isFiltered: boolean): Promise<BaselineFile | undefined> {
  try {
    return await readBaselineFile(path);
  } catch (error) {
    const { cause } = error as { cause?: NodeJS.ErrnoException };
    if (cause?.code === "ENOENT" || !isFiltered) return undefined;
    throw error;
  }
}

/** Of cells that have no whole result, or that a filter left out. What the configuration no longer has goes with a whole run. */
function keptBaselines(
  before: BaselineFile | undefined,
  matrix: Matrix,
  isFiltered: boolean,
): BaselineFile["cells"] {
  const known = new Set(matrix.cells.map(({ name }) => name));
  return new Map([...(before?.cells ?? [])].filter(([name]) => isFiltered || known.has(name)));
}

interface Run {
  readonly options: CiCommandOptions;
  readonly matrix: Matrix;
  readonly folder: string;
  readonly baseline: BaselineFile | undefined;
}

/** Never rejects but for the user's stop: what is wrong with one cell says nothing about the others. */
async function runCell(cell: Cell, run: Run, context: Context): Promise<MatrixCell> {
  const { name, folder } = cell;
  try {
    const { report, failures } = await evaluateCell(cell, run, context);
    const before = run.baseline?.cells.get(name);
    // Without a candidate no gate was judged, and the report does not know of the margin.
    const margin = cell.gates?.margin ?? report.settings.margin;
    const judged = { ...report, settings: { ...report.settings, margin } };
    const baseline = before === undefined ? null : compareWithBaseline(judged, before);
    if (baseline !== null) await writeComparison(join(run.folder, folder), report, baseline);
    return { name, folder, report, baseline, error: null, failures };
  } catch (error) {
    return { name, folder, report: null, baseline: null, error: describe(error, context), failures: [] };
  }
}

/** The cell's own reports again, with the comparison. */
async function writeComparison(
  folder: string,
  report: EvaluationReport,
  baseline: BaselineComparison,
): Promise<void> {
  const options = { baseline };
  await writeFile(join(folder, "report.md"), renderMarkdown(report, options));
  await writeFile(join(folder, "report.html"), await renderHtml(report, options));
  await writeFile(join(folder, "junit.xml"), renderJunit(report, options));
}

/** @throws the user's stop. */
function describe(error: unknown, { signal, log }: Context): string {
  if (signal.aborted) throw error;
  log(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return toSingleLine(error instanceof Error ? error.message || error.name : String(error));
}

type Evaluation = Pick<MatrixCell, "failures"> & { readonly report: EvaluationReport };

/** With every backend; where that fails, with those that can be run, so that one does not hide the others. */
async function evaluateCell(cell: Cell, run: Run, context: Context): Promise<Evaluation> {
  const folder = join(run.folder, cell.folder);
  await makeFolder(folder);
  await removeVerdict(folder, "cell");
  if (run.options.fresh) await removeScores(join(folder, "scores"));
  const evaluateWith = (systems: Cell["systems"]): Promise<EvaluationReport> =>
    evaluateSystems(cell, systems, folder, run.matrix.seed, context);
  const [reference, ...candidates] = cell.systems;
  try {
    return { report: await evaluateWith(cell.systems), failures: [] };
  } catch (error) {
    if (reference === undefined || candidates.length === 0) throw error;
    say(`${cell.name}: ${describe(error, context)} Trying each backend by itself.`);
  }
  // Nothing that was scored is scored again. What fails here is the reference or the task, and so the cell.
  await evaluateWith([reference]);
  const good = [reference];
  const failures: { system: string; error: string }[] = [];
  for (const candidate of candidates) {
    try {
      await evaluateWith([reference, candidate]);
      good.push(candidate);
    } catch (error) {
      failures.push({ system: candidate.label, error: describe(error, context) });
    }
  }
  return { report: await evaluateWith(good), failures };
}

async function evaluateSystems(
  cell: Cell,
  systems: Cell["systems"],
  folder: string,
  seed: number | undefined,
  context: Context,
): Promise<EvaluationReport> {
  const { excludeIdenticalIds, retrieve, offline, ...others } = { ...cell.model, ...cell.task };
  // exactOptionalPropertyTypes: an option that was not given is not there.
  const given = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== undefined));
  const evaluation = {
    ...(given as { model: string; task: string }),
    ...(offline ? { offline } : {}),
    ...(retrieve ? { retrieve } : {}),
    ...(excludeIdenticalIds ? { excludeIdenticalIds } : {}),
    ...(seed === undefined ? {} : { seed }),
    backend: systems,
    metric: cell.metrics,
    report: folder,
    format: "json" as const,
  };
  // One file of scores a system at most (two of a bi-encoder) can be of something else.
  for (let attempts = 2 * systems.length; ; attempts -= 1) {
    try {
      return await evaluate(evaluation, context, gatesFor(cell, systems));
    } catch (error) {
      if (!ScoreIdentityError.isInstance(error) || attempts === 0) throw error;
      const what = error.differences.map(({ what: one }) => one).join(", ");
      say(`${cell.name}: scores in ${error.path} are of another ${what}, and are made again`);
      await rm(error.path, { force: true });
    }
  }
}

/** Rules of the candidates that are run; undefined where there is none. */
function gatesFor({ gates }: Cell, [, ...candidates]: Cell["systems"]): GateFile | undefined {
  if (gates?.systems === undefined || candidates.length === 0) {
    return candidates.length === 0 ? undefined : gates;
  }
  const labels = candidates.map(({ label }) => label);
  const systems = Object.entries(gates.systems).filter(([name]) => labels.includes(name));
  return { ...gates, systems: Object.fromEntries(systems) };
}

/** Of every system, all but the lock, which may be another process's. */
async function removeScores(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (name !== "lock") await rm(join(folder, name), { force: true });
  }
}

/** What the comparison says of cells as a whole. */
function aboutBaseline(
  matrix: Matrix,
  cells: readonly MatrixCell[],
  baseline: BaselineFile | undefined,
  isFiltered: boolean,
): Pick<MatrixReport, "problems" | "notes"> {
  if (baseline === undefined) return { problems: [], notes: [] };
  const { path } = baseline;
  const known = new Set(matrix.cells.map(({ name }) => name));
  const gone = isFiltered ? [] : [...baseline.cells.keys()].filter((name) => !known.has(name));
  const added = cells.filter(({ name }) => !baseline.cells.has(name)).map(({ name }) => name);
  const problems = gone.map(
    (name) => `The baseline ${path} has ${name}, and the configuration has it no longer.`,
  );
  if (added.length === cells.length) {
    problems.push(`Nothing could be compared: the baseline ${path} has none of the cells.`);
    return { problems, notes: [] };
  }
  return {
    problems,
    notes: added.map((name) => `The baseline ${path} does not have ${name}; --update-baseline adds it.`),
  };
}

async function writeMatrix(folder: string, report: MatrixReport): Promise<void> {
  const files: Record<string, string> = {
    "report.json": `${JSON.stringify(overview(report), undefined, 2)}\n`,
    "index.html": renderMatrixHtml(report),
    "junit.xml": renderMatrixJunit(report),
    "summary.md": renderMatrixMarkdown(report),
  };
  try {
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  } catch (cause) {
    throw new CommandError(`cannot write the report in ${folder}: ${describeSystemError(cause)}`, { cause });
  }
}

/** Without the cells' own reports, which lie in their folders. */
function overview(report: MatrixReport): object {
  return {
    specificationVersion: "1",
    created: report.created,
    passed: matrixPassed(report),
    problems: report.problems,
    notes: report.notes,
    cells: report.cells.map((cell) => ({
      name: cell.name,
      folder: cell.folder,
      outcome: cellOutcome(cell),
      problems: cellProblems(cell),
      systems: (cell.report?.systems ?? [])
        .filter(({ model }) => model !== null)
        .map(({ name, role, passed, metrics }) => ({
          name,
          role,
          passed,
          metrics: Object.fromEntries(
            metrics.map(({ name: metric, expected, change }) => [
              metric,
              { expected, change: change?.mean ?? null, lowerBound: change?.lowerBound ?? null },
            ]),
          ),
        })),
      baseline: cell.baseline,
    })),
  };
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
  if (as === "json") return `${JSON.stringify(overview(report), undefined, 2)}\n`;
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

async function removeVerdict(folder: string, of: keyof typeof verdictFiles): Promise<void> {
  for (const name of verdictFiles[of]) await rm(join(folder, name), { recursive: true, force: true });
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw new CommandError(`cannot write --report ${folder}: ${describeSystemError(cause)}`, { cause });
  });
}

/** On standard error: a run takes long, and a job's log is all that is seen of it. */
function say(text: string): void {
  process.stderr.write(`crossrank: ${toSingleLine(text)}\n`);
}
