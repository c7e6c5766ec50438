import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { readEnvironment } from "@crossrank/hub";
import { type Command, InvalidArgumentError, Option } from "commander";
import { backendNames, backendPackage, createBackend, parseBackend } from "../backends.js";
import { print } from "../context.js";
import { CommandError } from "../failure.js";
import { alignColumns, formatBytes, toSingleLine } from "../text.js";

interface BackendReport {
  readonly name: string;
  readonly package: string;
  readonly available: boolean;
  readonly runtime: { readonly name: string; readonly version: string } | null;
  /** What was found, or why it does not load and how to mend it. */
  readonly detail: string;
}

const help = `
Exit code: 0 when at least one backend works here, else 1.

Examples:
  $ crossrank doctor
  $ crossrank doctor --format json
  $ crossrank doctor --backend ./my-backend.mjs`;

export function addDoctorCommand(program: Command, version: string): void {
  program
    .command("doctor")
    .summary("show which backends work on this machine, and why others do not")
    .description("Examines this machine: Node, memory, the model cache, and every backend.")
    .addOption(
      new Option("-f, --format <format>", "table for people, json for programs")
        .choices(["table", "json"])
        .default("table"),
    )
    .option(
      "-b, --backend <name>",
      "examine this backend too: the file of one (./my-backend.mjs) or an npm package; give it several times",
      (value: string, before: readonly string[] = []) => [...before, requireBackend(value)],
    )
    .addHelpText("after", help)
    .action(async ({ format, backend = [] }: { format: "table" | "json"; backend?: readonly string[] }) => {
      const names = new Set([...backendNames, ...backend]);
      const backends = await Promise.all([...names].map(diagnose));
      const { cacheFolder, offline } = await readEnvironment();
      const report = {
        crossrank: version,
        node: process.versions.node,
        platform: process.platform,
        architecture: process.arch,
        processor: cpus()[0]?.model ?? "unknown",
        cores: availableParallelism(),
        memory: { total: totalmem(), free: freemem() },
        cache: { folder: cacheFolder, offline },
        backends,
      };
      await print(format === "json" ? `${JSON.stringify(report, undefined, 2)}\n` : formatReport(report));
      if (!backends.some(({ available }) => available)) {
        throw new CommandError("no backend works on this machine; see the reasons above");
      }
    });
}

function requireBackend(value: string): string {
  const backend = parseBackend(value);
  if (backend !== undefined && backend.dtype === undefined) return backend.name;
  throw new InvalidArgumentError(
    `Name a backend without a precision: ${backendNames.join(", ")}, or a file.`,
  );
}

async function diagnose(name: string): Promise<BackendReport> {
  const facts = { name, package: backendPackage(name) };
  try {
    const backend = await createBackend(name);
    const { available, runtime, detail } = await backend.diagnose();
    return { ...facts, available, runtime: runtime ?? null, detail };
  } catch (error) {
    return { ...facts, available: false, runtime: null, detail: (error as Error).message };
  }
}

function formatReport(report: {
  readonly crossrank: string;
  readonly node: string;
  readonly platform: string;
  readonly architecture: string;
  readonly processor: string;
  readonly cores: number;
  readonly memory: { readonly total: number; readonly free: number };
  readonly cache: { readonly folder: string; readonly offline: boolean };
  readonly backends: readonly BackendReport[];
}): string {
  const { memory, cache } = report;
  const machine = [
    ["crossrank", report.crossrank],
    ["node", report.node],
    ["platform", `${report.platform} ${report.architecture}`],
    [
      "processor",
      `${report.processor}, ${report.cores} core${report.cores === 1 ? "" : "s"} for this process`,
    ],
    ["memory", `${formatBytes(memory.free)} free of ${formatBytes(memory.total)}`],
    ["model cache", cache.folder],
    ["downloads", cache.offline ? "off (the environment asks for offline)" : "on"],
  ];
  const backends = report.backends.map(({ name, available, runtime, detail }) => [
    name,
    available ? "works" : "does not work",
    runtime === null ? "" : `${runtime.name} ${runtime.version}`,
    detail,
  ]);
  const lines = (rows: readonly (readonly string[])[], columns: number): string[] =>
    alignColumns(
      rows.map((row) => row.map(toSingleLine)),
      new Array<"left">(columns).fill("left"),
    );
  return `${[...lines(machine, 2), "", "backends", ...lines(backends, 4).map((line) => `  ${line}`)].join("\n")}\n`;
}
