import { readFile } from "node:fs/promises";
import {
  type Baseline,
  BaselineFormatError,
  type EvaluationReport,
  formatBaseline,
  parseBaseline,
  updateBaseline,
} from "@crossrank/eval";
import { describeSystemError, UsageError } from "../failure.js";
import { writeWholeFile } from "../whole-file.js";

/** A baseline for each cell, by name. */
export interface BaselineFile {
  readonly path: string;
  readonly cells: ReadonlyMap<string, Baseline>;
}

const version = "1";

/** @throws {UsageError} when it is not there or is no baseline: what should be compared is not passed over. */
export async function readBaselineFile(path: string): Promise<BaselineFile> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new UsageError(
      `cannot read the baseline ${path}: ${describeSystemError(cause)}; crossrank ci --update-baseline writes it`,
      { cause },
    );
  }
  try {
    return { path, cells: parse(text) };
  } catch (cause) {
    if (!BaselineFormatError.isInstance(cause)) throw cause;
    throw new UsageError(
      `cannot read the baseline ${path}: ${cause.problem}; write it anew, see --update-baseline`,
      {
        cause,
      },
    );
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
 */
export async function writeBaselineFile(
  path: string,
  reports: ReadonlyMap<string, EvaluationReport>,
  kept: ReadonlyMap<string, Baseline>,
): Promise<void> {
  const cells = new Map<string, unknown>(kept);
  for (const [name, report] of reports) cells.set(name, JSON.parse(updateBaseline(report)));
  const text = formatBaseline({ specificationVersion: version, cells: Object.fromEntries(cells) });
  await writeWholeFile(path, text, "the baseline");
}
