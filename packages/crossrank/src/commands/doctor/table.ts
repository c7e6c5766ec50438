import { alignColumns, formatBytes, toSingleLine } from "../../text.js";

export interface BackendReport {
  readonly name: string;
  readonly package: string;
  readonly available: boolean;
  readonly runtime: { readonly name: string; readonly version: string } | null;
  /** What was found, or why it does not load and how to mend it. */
  readonly detail: string;
}

export interface MachineReport {
  readonly crossrank: string;
  readonly node: string;
  readonly platform: string;
  readonly architecture: string;
  readonly processor: string;
  readonly cores: number;
  readonly memory: { readonly total: number; readonly free: number };
  readonly cache: { readonly folder: string; readonly offline: boolean };
  readonly backends: readonly BackendReport[];
}

export function formatReport(report: MachineReport): string {
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
