import { readFile } from "node:fs/promises";
import type { Calibration } from "@crossrank/core";
import { writeWholeFile } from "@crossrank/disk";
import { CommandError, describeSystemError } from "../../failure.js";

/**
 * Puts a calibration into a file in the form of a crossrank.json. What else the file holds stays.
 * @throws {CommandError} when the file is no JSON object; {FileWriteError}.
 */
export async function writeCalibration(path: string, calibration: Calibration): Promise<void> {
  await writeWholeFile(
    path,
    `${JSON.stringify({ ...(await readEntries(path)), calibration }, undefined, 2)}\n`,
  );
}

/**
 * What a file holds beside the calibration; nothing where there is none.
 * @throws {CommandError}
 */
export async function readEntries(path: string): Promise<object> {
  const fail = (problem: string, cause?: unknown): CommandError =>
    new CommandError(
      `cannot write the calibration into ${path}: ${problem}. Name another file with --calibration`,
      { cause },
    );
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw fail(describeSystemError(cause), cause);
  }
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (cause) {
    throw fail(`it is not JSON (${(cause as Error).message})`, cause);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw fail("it is no JSON object");
  return value;
}
