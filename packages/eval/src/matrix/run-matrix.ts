import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { refusedWrite } from "@crossrank/disk";
import { compareWithBaseline } from "../report/baseline.js";
import type { MatrixCell, MatrixReport } from "../report/matrix.js";
import type { EvaluationReport } from "../report/report-data.js";
import { writeReportFolder } from "../report/write-report.js";
import { ScoreIdentityError } from "../run/errors.js";
import { lockFolder } from "../run/file-lock.js";
import type { GateFile } from "../run/gate-rules.js";
import type { ProgressListener } from "../run/progress.js";
import { type BaselineFile, readBaselineFile, writeBaselineFile } from "./baseline-file.js";
import { BaselineFileError, MatrixConfigError } from "./errors.js";
import { type EvaluationHost, evaluateTask } from "./evaluate-task.js";
import type { Matrix, PlannedCell } from "./plan-matrix.js";
import { writeMatrixFolder } from "./write-matrix.js";

export interface RunMatrixOptions {
  /** Folder of scores and reports. Default: the matrix's. */
  readonly report?: string | undefined;
  /** Only the cells whose name has this in it, in any case of letters. */
  readonly filter?: string | undefined;
  /** File to compare with. Default: the matrix's; none while a baseline is written. */
  readonly baseline?: string | undefined;
  /** Writes the cells' baselines into this file, in place of comparing. */
  readonly updateBaseline?: string | undefined;
  /** Scores again what is in the folder. Default false. */
  readonly fresh?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
  /** What is done now, for a line that changes. */
  readonly onStep?: ((step: string) => void) | undefined;
  /** What whoever reads a log should know: a cell that begins, and what went wrong. */
  readonly onMessage?: ((message: string) => void) | undefined;
  /** An error of a cell that became a sentence of its report. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/** What says how a run ended. An earlier run's would be taken for this one's. */
const verdictFiles = {
  matrix: ["report.json", "summary.md", "junit.xml", "index.html"],
  cell: ["report.json", "report.md", "report.html", "junit.xml", "mteb"],
} as const;

/**
 * Evaluates every cell, compares it with a baseline, and writes the reports: `report.json`, `index.html`, `summary.md`
 * and `junit.xml` of all, and what {@link writeReportFolder} writes of each cell. A cell that fails does not stop the
 * others. Scores are stored as they come: a run that was aborted or killed goes on where it was.
 *
 * @returns what {@link matrixPassed} and the renderers take.
 * @throws {MatrixConfigError} when the filter leaves no cell; {BaselineFileError} before anything is scored;
 *   {FileWriteError}; the signal's reason.
 */
export async function runMatrix(
  matrix: Matrix,
  host: EvaluationHost,
  options: RunMatrixOptions = {},
): Promise<MatrixReport> {
  const { updateBaseline: update, filter } = options;
  const cells = filtered(matrix, filter);
  const folder = options.report ?? matrix.report;
  const comparison = update === undefined ? (options.baseline ?? matrix.baseline) : undefined;
  const baseline = comparison === undefined ? undefined : await readBaselineFile(comparison);
  // Before anything is scored: a file that cannot be kept is no reason to lose the work.
  const before = update === undefined ? undefined : await existing(update, filter !== undefined);

  await makeFolder(folder);
  await removeVerdict(folder, "matrix");
  const run = new Run(matrix, host, options, folder, baseline);
  const done: MatrixCell[] = [];
  for (const [index, cell] of cells.entries()) {
    options.onMessage?.(`${index + 1} of ${cells.length}: ${cell.name}`);
    const result = await run.cell(cell);
    if (result.error !== null) options.onMessage?.(`${cell.name} failed: ${result.error}`);
    done.push(result);
  }
  const report: MatrixReport = {
    created: new Date().toISOString(),
    cells: done,
    ...aboutBaseline(matrix, done, baseline, filter !== undefined),
  };
  await writeMatrixFolder(folder, report);
  if (update !== undefined) {
    const reports = new Map(
      done.flatMap(({ name, report: one, failures }): [string, EvaluationReport][] =>
        one === null || failures.length > 0 ? [] : [[name, one]],
      ),
    );
    if (reports.size > 0) {
      await writeBaselineFile(update, reports, keptBaselines(before, matrix, filter !== undefined));
      options.onMessage?.(`wrote the baseline ${update}: review it and commit it`);
    }
  }
  return report;
}

function filtered({ cells }: Matrix, filter: string | undefined): readonly PlannedCell[] {
  if (filter === undefined) return cells;
  const chosen = cells.filter(({ name }) => name.toLowerCase().includes(filter.toLowerCase()));
  if (chosen.length > 0) return chosen;
  const known = cells.map(({ name }) => name).join(", ");
  throw new MatrixConfigError("filter", [`${filter} is in the name of no cell; there is: ${known}`]);
}

/**
 * The baseline that is there, whose cells are kept where this run has no result for them. Undefined where no file is
 * there yet, and where the file cannot be read and every cell is written.
 */
async function existing(path: string, isFiltered: boolean): Promise<BaselineFile | undefined> {
  try {
    return await readBaselineFile(path);
  } catch (error) {
    if (BaselineFileError.isInstance(error) && (error.isMissing || !isFiltered)) return undefined;
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

type Evaluation = Pick<MatrixCell, "failures"> & { readonly report: EvaluationReport };

class Run {
  readonly #matrix: Matrix;
  readonly #host: EvaluationHost;
  readonly #options: RunMatrixOptions;
  readonly #folder: string;
  readonly #baseline: BaselineFile | undefined;

  constructor(
    matrix: Matrix,
    host: EvaluationHost,
    options: RunMatrixOptions,
    folder: string,
    baseline: BaselineFile | undefined,
  ) {
    this.#matrix = matrix;
    this.#host = host;
    this.#options = options;
    this.#folder = folder;
    this.#baseline = baseline;
  }

  /** Never rejects but for the user's stop: what is wrong with one cell says nothing about the others. */
  async cell(cell: PlannedCell): Promise<MatrixCell> {
    const { name, folder } = cell;
    try {
      const { report, failures } = await this.#evaluate(cell);
      const before = this.#baseline?.cells.get(name);
      // Without a candidate no gate was judged, and the report does not know of the margin.
      const margin = cell.gates?.margin ?? report.settings.margin;
      const judged = { ...report, settings: { ...report.settings, margin } };
      const baseline = before === undefined ? null : compareWithBaseline(judged, before);
      // The cell's own reports again, with the comparison.
      if (baseline !== null) await writeReportFolder(join(this.#folder, folder), report, { baseline });
      return { name, folder, report, baseline, error: null, failures };
    } catch (error) {
      return { name, folder, report: null, baseline: null, error: this.#describe(error), failures: [] };
    }
  }

  /** With every backend; where that fails, with those that can be run, so that one does not hide the others. */
  async #evaluate(cell: PlannedCell): Promise<Evaluation> {
    const folder = join(this.#folder, cell.folder);
    await makeFolder(folder);
    await removeVerdict(folder, "cell");
    if (this.#options.fresh) await removeScores(join(folder, "scores"));
    const [reference, ...candidates] = cell.systems;
    try {
      return { report: await this.#evaluateWith(cell, cell.systems, folder), failures: [] };
    } catch (error) {
      if (reference === undefined || candidates.length === 0) throw error;
      this.#options.onMessage?.(`${cell.name}: ${this.#describe(error)} Trying each backend by itself.`);
    }
    // Nothing that was scored is scored again. What fails here is the reference or the task, and so the cell.
    await this.#evaluateWith(cell, [reference], folder);
    const good = [reference];
    const failures: { system: string; error: string }[] = [];
    for (const candidate of candidates) {
      try {
        await this.#evaluateWith(cell, [reference, candidate], folder);
        good.push(candidate);
      } catch (error) {
        failures.push({ system: candidate, error: this.#describe(error) });
      }
    }
    return { report: await this.#evaluateWith(cell, good, folder), failures };
  }

  async #evaluateWith(
    cell: PlannedCell,
    backends: readonly string[],
    folder: string,
  ): Promise<EvaluationReport> {
    const { signal, onProgress, onStep, onMessage } = this.#options;
    const { model, task, metrics } = cell;
    const { seed } = this.#matrix;
    // One file of scores a system at most (two of a bi-encoder) can be of something else.
    for (let attempts = 2 * backends.length; ; attempts -= 1) {
      try {
        return await evaluateTask(this.#host, {
          model,
          task,
          backends,
          metrics,
          gates: gatesFor(cell, backends),
          seed,
          folder,
          signal,
          onProgress,
          onStep,
        });
      } catch (error) {
        if (!ScoreIdentityError.isInstance(error) || attempts === 0) throw error;
        const what = error.differences.map(({ what: one }) => one).join(", ");
        onMessage?.(`${cell.name}: scores in ${error.path} are of another ${what}, and are made again`);
        await rm(error.path, { force: true });
      }
    }
  }

  /** @throws the user's stop. */
  #describe(error: unknown): string {
    if (this.#options.signal?.aborted) throw error;
    this.#options.onError?.(error);
    return error instanceof Error ? error.message || error.name : String(error);
  }
}

/** Rules of the candidates that are run; undefined where there is none. */
function gatesFor({ gates }: PlannedCell, [, ...candidates]: readonly string[]): GateFile | undefined {
  if (candidates.length === 0) return undefined;
  if (gates?.systems === undefined) return gates;
  const systems = Object.entries(gates.systems).filter(([name]) => candidates.includes(name));
  return { ...gates, systems: Object.fromEntries(systems) };
}

/** Of every system. @throws {ScoreStoreError} while another process writes there. */
async function removeScores(folder: string): Promise<void> {
  const release = await lockFolder(join(folder, "lock"));
  try {
    for (const name of await readdir(folder)) await rm(join(folder, name), { force: true });
  } finally {
    await release();
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
    notes: added.map(
      (name) => `The baseline ${path} does not have ${name}; crossrank ci --update-baseline adds it.`,
    ),
  };
}

async function removeVerdict(folder: string, of: keyof typeof verdictFiles): Promise<void> {
  for (const name of verdictFiles[of]) await rm(join(folder, name), { recursive: true, force: true });
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw refusedWrite(folder, error);
  });
}
