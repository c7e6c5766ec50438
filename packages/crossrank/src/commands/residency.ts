import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type {
  ResidencyDrift,
  ResidencyFingerprint,
  ResidencyPlace,
  ResidencyReport,
  ResidencyVerdict,
} from "@crossrank/backend-coreml";
import { type Command, Option } from "commander";
import { installed } from "../backends.js";
import { type Context, print } from "../context.js";
import { CommandError, describeSystemError, UsageError } from "../failure.js";
import { isModelPackage } from "../model-package.js";
import { tableOrJson } from "../options.js";
import { alignColumns, formatCount, toSingleLine } from "../text.js";
import { writeWholeFile } from "../whole-file.js";

interface ResidencyCommandOptions {
  readonly baseline?: string;
  readonly writeBaseline?: string;
  readonly force?: true;
  readonly format: "table" | "json";
}

const help = `
Report:
  On a Mac (macOS 14.4 or later) a .mlpackage, which Core ML is asked about now. Anywhere its
  compute plan as JSON, which planNative of @crossrank/backend-coreml gives there:
  {"operations": [{"operator": "ios18.conv", "preferred": "neuralEngine"}, …]}, where
  "preferred" is neuralEngine, gpu, cpu or null. A script around coremltools may write "type"
  and "device" in their place, with coremltools' class names. Constants are passed over.

Baseline:
  Passed means: nothing on the GPU; the operators on the CPU, and how many of each, exactly
  the pinned ones; as many operations on the Neural Engine as pinned, and where the baseline
  has its operators, those. An operation without a device fails unless it is pinned.
  --write-baseline makes the file from a report. Review it, and commit it beside the model.
  One that is there already stays, unless --force.

A plan is what Core ML means to do on that Mac and that system; it is no measurement.

Examples:
  $ crossrank residency report.json --write-baseline fingerprint.json
  $ crossrank residency report.json --baseline fingerprint.json
  $ crossrank residency report.json --baseline fingerprint.json --format json
  $ crossrank residency ./my-model/mlpackage/model.mlpackage --baseline fingerprint.json

Exit code: 0 passed or written, 1 a drift, or a file that cannot be read, 2 wrong usage.`;

export function addResidencyCommand(program: Command, { log, signal }: Context): void {
  program
    .command("residency")
    .summary("hold where Core ML runs each operation against a pinned fingerprint")
    .description("Fails when an operation left the Neural Engine, or the CPU's operations are others.")
    .argument("<report>", "compute plan of a Core ML model as JSON, or on a Mac the package")
    .option("--baseline <file>", "fingerprint to hold it against")
    .addOption(
      new Option("--write-baseline <file>", "make the fingerprint from this report").conflicts("baseline"),
    )
    .addOption(new Option("--force", "replace a baseline that is there already").conflicts("baseline"))
    .addOption(tableOrJson())
    .addHelpText("after", help)
    .action(async (reportPath: string, options: ResidencyCommandOptions) => {
      const { baseline, writeBaseline, force, format } = options;
      if (baseline === undefined && writeBaseline === undefined) {
        throw new UsageError("give the fingerprint with --baseline, or make one with --write-baseline");
      }
      if (writeBaseline !== undefined && !force && existsSync(writeBaseline)) {
        throw new CommandError(
          `${writeBaseline} is there already. --force replaces what it pins; hold the report against it with --baseline`,
        );
      }
      const coreml = await installed("coreml", () => import("@crossrank/backend-coreml"));
      const report = isModelPackage(reportPath)
        ? await planOf(reportPath, coreml, signal)
        : await readFileAs(`the report ${reportPath}`, reportPath, coreml.readResidencyReport);
      if (baseline === undefined) {
        const path = writeBaseline as string;
        const fingerprint = makeFingerprint(report, reportPath, coreml.fingerprintOf);
        await writeWholeFile(path, `${JSON.stringify(fingerprint, undefined, 2)}\n`, "the baseline");
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
    });
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

const placeNames: Readonly<Record<ResidencyPlace, string>> = {
  neuralEngine: "Neural Engine",
  cpu: "CPU",
  gpu: "GPU",
  noDevice: "no device",
};

function writtenTable(path: string, { neuralEngine, cpu, noDevice }: ResidencyFingerprint): string {
  const totals = [neuralEngine.total, cpu.total, 0, noDevice?.total ?? 0].map(formatCount);
  const rows = Object.values(placeNames).map((name, index) => [name, totals[index] ?? ""]);
  return `${[...alignColumns([["", "pinned"], ...rows], ["left", "right"]), "", `wrote ${toSingleLine(path)}`].join("\n")}\n`;
}

function verdictTable(
  {
    reportPath,
    baseline,
    notes,
  }: { readonly reportPath: string; readonly baseline: string; readonly notes: readonly string[] },
  { computeUnits, operations }: ResidencyReport,
  { passed, totals, drifts }: ResidencyVerdict,
): string {
  const asked = computeUnits === undefined ? "" : `, planned for ${computeUnits}`;
  const facts = [
    ["report", `${reportPath}, ${formatCount(operations.length)} operations${asked}`],
    ["baseline", baseline],
  ];
  const places = (Object.keys(placeNames) as ResidencyPlace[]).map((place) => [
    placeNames[place],
    ...[totals[place].expected, totals[place].found].map(formatCount),
  ]);
  // The totals are above.
  const rows = drifts.filter((drift) => drift.place === "computeUnits" || drift.operator !== null).map(rowOf);
  const lines = [
    ...alignColumns(
      facts.map((row) => row.map(toSingleLine)),
      ["left", "left"],
    ),
    "",
    ...alignColumns([["", "expected", "found"], ...places], ["left", "right", "right"]),
    ...(rows.length === 0
      ? []
      : [
          "",
          ...alignColumns(
            [["drift", "operator", "expected", "found"], ...rows],
            ["left", "left", "right", "right"],
          ),
        ]),
    ...(notes.length === 0 ? [] : ["", ...notes.map((note) => `note: ${toSingleLine(note)}`)]),
    "",
    passed ? "PASS: it keeps to the fingerprint." : `FAIL: ${summaryOf({ drifts })}.`,
  ];
  return `${lines.join("\n")}\n`;
}

function rowOf(drift: ResidencyDrift): string[] {
  if (drift.place === "computeUnits") return ["compute units", "", drift.expected, drift.found];
  const { place, operator, expected, found } = drift;
  return [placeNames[place], toSingleLine(operator ?? ""), formatCount(expected), formatCount(found)];
}

/** One clause a place: what its total did, or else that its operators are others. */
function summaryOf({ drifts }: Pick<ResidencyVerdict, "drifts">): string {
  const clauses: string[] = [];
  const totals = new Set<string>();
  for (const drift of drifts) {
    if (drift.place === "computeUnits") {
      clauses.push(`it was planned for ${drift.found} and not for ${drift.expected}`);
    } else if (!totals.has(drift.place)) {
      totals.add(drift.place);
      const { place, operator, expected, found } = drift;
      const name = place === "noDevice" ? "on no device" : `on the ${placeNames[place]}`;
      clauses.push(
        operator === null
          ? `${formatCount(found)} operation${found === 1 ? "" : "s"} ${name} in place of ${formatCount(expected)}`
          : `other operators ${name}`,
      );
    }
  }
  return clauses.join("; ");
}
