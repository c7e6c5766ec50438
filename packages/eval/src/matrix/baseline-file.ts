import { readFile } from "node:fs/promises";
import { writeWholeFile } from "@crossrank/disk";
import {
  type Baseline,
  BaselineFormatError,
  formatBaseline,
  parseBaseline,
  updateBaseline,
} from "../report/baseline.js";
import type { EvaluationReport } from "../report/report-data.js";
import { BaselineFileError } from "./errors.js";

/** A baseline for each cell, by name. */
export interface BaselineFile {
  readonly path: string;
  readonly cells: ReadonlyMap<string, Baseline>;
}

const version = "1";

/** @throws {BaselineFileError} when it is not there or is no baseline: what should be compared is not passed over. */
export async function readBaselineFile(path: string): Promise<BaselineFile> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const isMissing = code === "ENOENT";
    const why = isMissing ? "there is no such file" : code === "EISDIR" ? "it is a folder" : message;
    throw new BaselineFileError(
      { path, problem: `${why}; crossrank ci --update-baseline writes it`, isMissing },
      { cause },
    );
  }
  try {
    return { path, cells: parse(text) };
  } catch (cause) {
    if (!BaselineFormatError.isInstance(cause)) throw cause;
    const problem = `${cause.problem}; crossrank ci --update-baseline writes it anew`;
    throw new BaselineFileError({ path, problem, isMissing: false }, { cause });
  }
}

function parse(text: string): ReadonlyMap<string, Baseline> {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (cause) {
    throw new BaselineFormatError("it is not JSON", cause);
  }
  const { specificationVersion, cells } = (value ?? {}) as Record<string, unknown>;
  if (specificationVersion !== version) {
    throw new BaselineFormatError(
      `its specificationVersion is ${JSON.stringify(specificationVersion)}, expected "${version}"`,
    );
  }
  if (typeof cells !== "object" || cells === null || Array.isArray(cells)) {
    throw new BaselineFormatError("cells is no object");
  }
  const baselines = new Map<string, Baseline>();
  for (const [name, cell] of Object.entries(cells)) {
    try {
      baselines.set(name, parseBaseline(JSON.stringify(cell)));
    } catch (cause) {
      if (!BaselineFormatError.isInstance(cause)) throw cause;
      throw new BaselineFormatError(`cells.${name}: ${cause.problem}`, cause);
    }
  }
  return baselines;
}

/**
 * Writes the cells' baselines, sorted by name, in whole or not at all.
 * @param kept cells of the file that were not evaluated this time and stay as they are.
 * @throws {FileWriteError}
 */
export async function writeBaselineFile(
  path: string,
  reports: ReadonlyMap<string, EvaluationReport>,
  kept: ReadonlyMap<string, Baseline>,
): Promise<void> {
  const cells = new Map<string, unknown>(kept);
  for (const [name, report] of reports) cells.set(name, JSON.parse(updateBaseline(report)));
  await writeWholeFile(
    path,
    formatBaseline({ specificationVersion: version, cells: Object.fromEntries(cells) }),
  );
}
