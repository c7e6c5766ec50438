import { readFile } from "node:fs/promises";
import type { ResidencyFingerprint, ResidencyReport } from "@crossrank/backend-coreml";
import { writeWholeFile } from "@crossrank/disk";
import { installed } from "../../backends.js";
import { type Context, print } from "../../context.js";
import { CommandError, describeSystemError } from "../../failure.js";
import { isModelPackage } from "../../model-package.js";
import { summaryOf, verdictTable, writtenTable } from "./table.js";

export interface ResidencyCommandOptions {
  readonly baseline?: string;
  readonly writeBaseline?: string;
  readonly force?: true;
  readonly format: "table" | "json";
}

/** @param options have `baseline` or `writeBaseline`. */
export async function judgeResidency(
  reportPath: string,
  { baseline, writeBaseline, format }: ResidencyCommandOptions,
  { log, signal }: Context,
): Promise<void> {
  const coreml = await installed("coreml", () => import("@crossrank/backend-coreml"));
  const report = isModelPackage(reportPath)
    ? await planOf(reportPath, coreml, signal)
    : await readFileAs(`the report ${reportPath}`, reportPath, coreml.readResidencyReport);
  if (baseline === undefined) {
    const path = writeBaseline as string;
    const fingerprint = makeFingerprint(report, reportPath, coreml.fingerprintOf);
    await writeWholeFile(path, `${JSON.stringify(fingerprint, undefined, 2)}\n`);
    log(`wrote ${path}`);
    await print(format === "json" ? `${JSON.stringify(fingerprint)}\n` : writtenTable(path, fingerprint));
    return;
  }
  const named = `--baseline ${baseline}`;
  const fingerprint = await readFileAs(named, baseline, coreml.readResidencyFingerprint);
  const verdict = coreml.judgeResidency(report, fingerprint);
  const notes = coreml.residencyNotes(report, fingerprint);
  await print(
    format === "json"
      ? `${JSON.stringify({ report: reportPath, baseline, ...verdict, notes }, undefined, 2)}\n`
      : verdictTable({ reportPath, baseline, notes }, report, verdict),
  );
  if (!verdict.passed) {
    throw new CommandError(`${reportPath} does not keep to ${baseline}: ${summaryOf(verdict)}`);
  }
}

/** Core ML's plan for a package, for its default compute units. */
async function planOf(
  path: string,
  { planNative, NativeError }: typeof import("@crossrank/backend-coreml"),
  signal: AbortSignal,
): Promise<ResidencyReport> {
  try {
    return await planNative(path, { signal });
  } catch (cause) {
    if (!(cause instanceof NativeError)) throw cause;
    const problem =
      process.platform === "darwin"
        ? cause.message
        : "Core ML is on macOS only. Take its compute plan on a Mac, and pass that as JSON";
    throw new CommandError(`cannot plan ${path}: ${problem}`, { cause });
  }
}

async function readFileAs<Value>(name: string, path: string, parse: (text: string) => Value): Promise<Value> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new CommandError(`cannot read ${name}: ${describeSystemError(cause)}`, { cause });
  }
  try {
    return parse(text);
  } catch (cause) {
    throw new CommandError(`cannot read ${name}: ${(cause as Error).message}`, { cause });
  }
}

function makeFingerprint(
  report: ResidencyReport,
  path: string,
  make: (report: ResidencyReport) => ResidencyFingerprint,
): ResidencyFingerprint {
  try {
    return make(report);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new CommandError(`${path} cannot be a baseline: ${cause.message}`, { cause });
  }
}
