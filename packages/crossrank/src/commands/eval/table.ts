import {
  type CascadeReport,
  cascadeHeadline,
  cascadeRows,
  cascadeScope,
  cascadeTimings,
  type EvaluationReport,
  type MetricReport,
  type SystemReport,
} from "@crossrank/eval";
import { alignColumns, formatBytes, formatCount, toSingleLine } from "../../text.js";

const none = "–";

/** A report for a terminal. */
export function evaluationTable(report: EvaluationReport, emphasise: (text: string) => string): string {
  const { systems, warnings } = report;
  const lines = [...aligned(facts(report)), "", ...metricTable(report, emphasise)];
  const models = systems.filter(({ model }) => model !== null);
  if (models.length > 0) lines.push("", ...runTable(models, emphasise));
  const candidates = systems.filter(({ role }) => role === "candidate");
  if (candidates.length > 0) lines.push("", ...scoreTable(candidates, emphasise));
  for (const { name, scores } of candidates) {
    if (scores === null) continue;
    const { kind, sentence, likelyCause } = scores.diagnosis;
    lines.push("", `${name}: ${kind}. ${toSingleLine(sentence)}`, `  ${toSingleLine(likelyCause)}`);
  }
  const gates = systems.flatMap(({ name, gates: all }) => all.map((gate) => ({ name, gate })));
  if (gates.length > 0) lines.push("");
  for (const { name, gate } of gates) {
    lines.push(`${gate.passed ? "PASS" : "FAIL"}  ${name}: ${toSingleLine(gate.sentence)}`);
  }
  const notes = [
    ...warnings.map(({ message }) => message),
    ...systems.flatMap(({ name, warnings: own }) => own.map(({ message }) => `${name}: ${message}`)),
  ];
  if (notes.length > 0) lines.push("", ...notes.map((note) => `note: ${toSingleLine(note)}`));
  return `${lines.join("\n")}\n`;
}

function facts({ task, model, settings }: EvaluationReport): string[][] {
  const { counts, candidates } = task;
  const at = (revision: string | null): string => (revision === null ? "" : ` at ${revision.slice(0, 12)}`);
  const limited =
    counts.queries < counts.allQueries
      ? `the first ${formatCount(counts.queries)} of ${formatCount(counts.allQueries)} queries`
      : `${formatCount(counts.queries)} queries`;
  const what =
    candidates === null
      ? `${limited}, the whole corpus of ${formatCount(counts.documents)} documents`
      : `${limited}, ${formatCount(counts.pairs)} pairs, candidates of ${candidates.origin}`;
  return [
    ["task", `${task.id}${at(task.revision)}, ${what}`],
    ["model", `${model.id}${at(model.revision)}, ${model.family}`],
    ["metric", `${settings.primaryMetric}, ties at their expected value`],
  ];
}

function metricTable({ systems, settings }: EvaluationReport, emphasise: (text: string) => string): string[] {
  const others = settings.metrics.slice(1);
  const heading = [
    "",
    settings.primaryMetric,
    "trec_eval",
    "95 % interval",
    "Δ",
    "at least",
    "kept",
    "p",
    ...others,
  ];
  const rows = systems.map(({ name, role, metrics }) => {
    const [primary] = metrics;
    const change = primary?.change;
    return [
      role === "reference" ? `${name} (reference)` : name,
      four(primary?.expected),
      four(primary?.trec),
      interval(primary),
      signed(change?.mean),
      signed(change?.lowerBound),
      percent(change?.retention),
      probability(change?.adjustedPValue ?? change?.pValue),
      ...others.map((metric) => four(metrics.find((one) => one.name === metric)?.expected)),
    ];
  });
  return emphasised([heading, ...rows], emphasise);
}

function runTable(systems: readonly SystemReport[], emphasise: (text: string) => string): string[] {
  const heading = ["", "artifact", "documents/s", "tokens/s", "query p50", "p95", "peak memory"];
  const rows = systems.map(({ name, model, speed, memory }) => [
    name,
    model === null
      ? ""
      : `${model.artifact.format} ${model.artifact.dtype} ${model.artifact.files[0]?.sha256.slice(0, 12) ?? ""}`,
    rate(speed?.documentsPerSecond),
    rate(speed?.tokensPerSecond),
    milliseconds(speed?.perQuery?.p50),
    milliseconds(speed?.perQuery?.p95),
    memory === null ? none : `${formatBytes(memory.peakBytes)}${memory.wholeRun ? "" : " (resumed)"}`,
  ]);
  return emphasised([heading, ...rows], emphasise, 2);
}

function scoreTable(candidates: readonly SystemReport[], emphasise: (text: string) => string): string[] {
  const heading = [
    "scores",
    "pairs",
    "|Δ| max",
    "mean",
    "p99",
    "slope",
    "intercept",
    "Spearman",
    "τ-b",
    "top-1",
    "top-10",
    "distinct",
  ];
  const rows = candidates.map(({ name, scores }) => [
    name,
    formatCount(scores?.pairs ?? 0),
    short(scores?.delta?.maximum),
    short(scores?.delta?.mean),
    short(scores?.delta?.p99),
    short(scores?.fit?.slope),
    short(scores?.fit?.intercept),
    four(scores?.spearman.pooled),
    four(scores?.kendall.withinQueries ?? scores?.kendall.pooled),
    ...[0, 1].map((index) => four(scores?.top[index]?.overlap)),
    percent(scores?.distinctShare.candidate),
  ]);
  return emphasised([heading, ...rows], emphasise);
}

function emphasised(
  rows: readonly (readonly string[])[],
  emphasise: (text: string) => string,
  left = 1,
): string[] {
  const clean = rows.map((row) => row.map(toSingleLine));
  const sides = (rows[0] ?? []).map((_, column) => (column < left ? ("left" as const) : ("right" as const)));
  const [heading = "", ...rest] = alignColumns(clean, sides);
  return [emphasise(heading), ...rest];
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  return alignColumns(
    rows.map((row) => row.map(toSingleLine)),
    ["left", "left"],
  );
}

function interval(metric: MetricReport | undefined): string {
  if (metric?.interval == null) return none;
  return `${four(metric.interval.lower)} to ${four(metric.interval.upper)}`;
}

function four(value: number | null | undefined): string {
  return value == null ? none : value.toFixed(4).replace("-", "−");
}

function signed(value: number | null | undefined): string {
  if (value == null) return none;
  const shown = value.toFixed(4);
  if (Number(shown) === 0) return "0.0000";
  return value > 0 ? `+${shown}` : shown.replace("-", "−");
}

function percent(value: number | null | undefined): string {
  return value == null ? none : `${(100 * value).toFixed(2)} %`;
}

function probability(value: number | null | undefined): string {
  if (value == null) return none;
  return value < 0.001 ? "< 0.001" : value.toFixed(3);
}

/** Differences of float32 and of 4 bits in one notation. */
export function short(value: number | null | undefined): string {
  if (value == null) return none;
  const size = Math.abs(value);
  return (size === 0 || size >= 1e-3 ? value.toFixed(4) : value.toExponential(1)).replace("-", "−");
}

function rate(value: number | undefined): string {
  return value === undefined ? none : value < 100 ? value.toFixed(1) : formatCount(Math.round(value));
}

function milliseconds(value: number | undefined): string {
  return value === undefined ? none : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** A sweep of cascades, for people. */
export function cascadeTable(report: CascadeReport): string {
  const { heading, rows } = cascadeRows(report);
  const lines = alignColumns(
    [heading, ...rows].map((row) => row.map(toSingleLine)),
    heading.map((_, index) => (index === 0 || index === heading.length - 1 ? "left" : "right")),
  );
  const timings = cascadeTimings(report).map((line) => `${line}\n`);
  return `${cascadeScope(report)}\n\n${lines.join("\n")}\n\n${timings.join("")}${cascadeHeadline(report)}\n`;
}
