import { join } from "node:path";
import { removeUnfinished, writeWholeFile } from "@crossrank/disk";
import {
  cellOutcome,
  cellProblems,
  type MatrixReport,
  matrixPassed,
  renderMatrixHtml,
  renderMatrixJunit,
  renderMatrixMarkdown,
} from "../report/matrix.js";
import { json } from "../report/write-report.js";

/**
 * Writes `report.json`, `index.html`, `junit.xml` and `summary.md` of all cells, each in whole or not at all.
 * @throws {FileWriteError}
 */
export async function writeMatrixFolder(folder: string, report: MatrixReport): Promise<void> {
  await removeUnfinished(folder);
  const files: Record<string, string> = {
    "report.json": json(matrixOverview(report)),
    "index.html": renderMatrixHtml(report),
    "junit.xml": renderMatrixJunit(report),
    "summary.md": renderMatrixMarkdown(report),
  };
  for (const [name, content] of Object.entries(files)) await writeWholeFile(join(folder, name), content);
}

/** What `report.json` of a matrix holds: the cells without their own reports, which lie in their folders. */
export function matrixOverview(report: MatrixReport): object {
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
