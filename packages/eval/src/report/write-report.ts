import { basename, join } from "node:path";
import { InvalidInputError } from "@crossrank/core";
import { removeUnfinished, writeWholeFile } from "@crossrank/disk";
import type { BaselineComparison } from "./baseline.js";
import { renderHtml } from "./html.js";
import { renderJunit } from "./junit.js";
import { renderMarkdown } from "./markdown.js";
import { type MtebTaskResult, mtebTaskResult } from "./mteb-result.js";
import type { EvaluationReport } from "./report-data.js";

/**
 * Writes `report.json`, `report.md`, `report.html`, `junit.xml` and each system's `mteb/NAME.json`, each in whole or not
 * at all. What is there of earlier reports is replaced.
 *
 * @param options.baseline stands in all but `report.json` and MTEB's results.
 * @throws {FileWriteError} with the path, e.g. on a full disk; the files that were written before stay.
 */
export async function writeReportFolder(
  folder: string,
  report: EvaluationReport,
  options: { readonly baseline?: BaselineComparison | undefined } = {},
): Promise<void> {
  await removeUnfinished(folder);
  await removeUnfinished(join(folder, "mteb"));
  // First and by itself: should anything be wrong with the rest, the numbers are there.
  await writeWholeFile(join(folder, "report.json"), json(report));
  const files: Record<string, string> = {
    "report.md": renderMarkdown(report, options),
    "report.html": await renderHtml(report, options),
    "junit.xml": renderJunit(report, options),
  };
  for (const { name, model, runFile } of report.systems) {
    const result = model === null ? undefined : mtebResult(report, name);
    const file = basename(runFile ?? name.replace(/[^A-Za-z0-9._-]+/g, "-"), ".trec");
    if (result !== undefined) files[`mteb/${file}.json`] = json(result);
  }
  for (const [name, content] of Object.entries(files)) await writeWholeFile(join(folder, name), content);
}

export function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
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
