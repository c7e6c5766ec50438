import type { BenchVerdict } from "../../bench/gates.js";
import type { BenchReport, CellResult, SystemResult } from "../../bench/report.js";
import { alignColumns, describeSettings, formatBytes, formatCount, toSingleLine } from "../../text.js";

const header = ["batch", "length", "p50 ms", "p95 ms", "p95 a pair", "tokens/s", "loop ms"];

export function benchTable(report: BenchReport, verdicts: readonly BenchVerdict[]): string {
  const right = header.map(() => "right" as const);
  const parts = report.systems.map((system) =>
    [
      titleOf(system),
      ...alignColumns([header, ...system.cells.map(rowOf)], right).map((line) => `  ${line}`),
    ].join("\n"),
  );
  const judged = verdicts.map(
    (verdict) =>
      `${verdict.passed ? "passed" : "failed"}  ${verdict.backend}: ${verdict.gate} ${foundOf(verdict)}`,
  );
  return `${[...parts, ...(judged.length === 0 ? [] : [judged.join("\n")]), conditionsOf(report)].join("\n\n")}\n`;
}

export function benchMarkdown(report: BenchReport, verdicts: readonly BenchVerdict[]): string {
  const parts = report.systems.map((system) =>
    [
      `**${titleOf(system)}**`,
      "",
      `| ${header.join(" | ")} |`,
      `|${header.map(() => "---:").join("|")}|`,
      ...system.cells.map((cell) => `| ${rowOf(cell).join(" | ")} |`),
    ].join("\n"),
  );
  const judged = verdicts.map(
    (verdict) =>
      `- ${verdict.passed ? "passed" : "**failed**"}: ${verdict.backend}: \`${verdict.gate}\` ${foundOf(verdict)}`,
  );
  return `${[...parts, ...(judged.length === 0 ? [] : [judged.join("\n")]), conditionsOf(report)].join("\n\n")}\n`;
}

export function benchJson(report: BenchReport, verdicts: readonly BenchVerdict[]): string {
  return `${JSON.stringify({ ...report, gates: verdicts }, undefined, 2)}\n`;
}

function titleOf({ name, description, memory }: SystemResult): string {
  const { backend, artifact, settings } = description.system;
  const peak =
    memory === undefined
      ? ""
      : `, ${formatBytes(memory.peakBytes)} of memory (${formatBytes(memory.beforeLoadBytes)} before the model)`;
  return toSingleLine(
    `${name}: ${backend.runtime.name} ${backend.runtime.version}, ${artifact.dtype}${describeSettings(settings)}${peak}`,
  );
}

function rowOf(cell: CellResult): string[] {
  return [
    String(cell.batch),
    String(cell.length),
    cell.p50.toFixed(2),
    cell.p95.toFixed(2),
    cell.p95PerPair.toFixed(2),
    formatCount(Math.round(cell.tokensPerSecond)),
    cell.eventLoopDelay.toFixed(1),
  ];
}

function foundOf({ measured, limit }: BenchVerdict): string {
  if (measured === undefined || limit === undefined) return "(could not be measured)";
  return `(measured ${amount(measured)}, limit ${amount(limit)})`;
}

function amount(value: number): string {
  return value >= 1e6 ? formatBytes(value) : value.toPrecision(4);
}

function conditionsOf({ warmUp, iterations, environment, load }: BenchReport): string {
  const { cpu, cores, platform, node } = environment;
  return `${formatCount(warmUp)} calls of warm-up and ${formatCount(iterations)} counted calls a cell, in ten rounds in turn. ${cpu ?? "Unknown processor"}, ${cores} threads, ${platform}, Node ${node}. Load average ${load.before.toFixed(1)} before, ${load.after.toFixed(1)} after.`;
}
