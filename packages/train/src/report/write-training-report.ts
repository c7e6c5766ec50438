import { join } from "node:path";
import { writeWholeFile } from "@crossrank/disk";
import { renderTrainingHtml } from "./html.js";
import { renderTrainingMarkdown, type TrainingReport } from "./training-report.js";

/** report.json, report.md and report.html. */
export async function writeTrainingReport(folder: string, report: TrainingReport): Promise<void> {
  await writeWholeFile(join(folder, "report.json"), `${JSON.stringify(report, undefined, 2)}\n`);
  await writeWholeFile(join(folder, "report.md"), renderTrainingMarkdown(report));
  await writeWholeFile(join(folder, "report.html"), renderTrainingHtml(report));
}
