import { compareBytes } from "../metrics/ranking.js";
import type { BaselineComparison, BaselineSystemComparison } from "./baseline.js";
import { showSettings } from "./figures.js";
import type { EvaluationReport, GateReport, MetricReport, SystemModel, SystemReport } from "./report-data.js";

/** What several renderers ask of a report. */

export const roleTitles: Readonly<Record<SystemReport["role"], string>> = {
  random: "baseline",
  constant: "baseline",
  "first-stage": "first stage",
  reference: "reference",
  candidate: "candidate",
};

export const outcomeSigns: Readonly<Record<GateReport["outcome"], string>> = {
  passed: "✓",
  degraded: "!",
  failed: "✗",
  reported: "·",
};

/** The metric that gates and plots are made on; undefined where a system has it not. */
export function primaryMetric(report: EvaluationReport, system: SystemReport): MetricReport | undefined {
  return system.metrics.find(({ name }) => name === report.settings.primaryMetric);
}

export function referenceOf(report: EvaluationReport): SystemReport | undefined {
  return report.systems.find(({ role }) => role === "reference");
}

export interface FailedGate {
  readonly system: SystemReport;
  readonly gate: GateReport;
}

export function failedGates(report: EvaluationReport): readonly FailedGate[] {
  return report.systems.flatMap((system) =>
    system.gates.filter(({ outcome }) => outcome === "failed").map((gate) => ({ system, gate })),
  );
}

export function isDegraded(system: SystemReport): boolean {
  return system.gates.some(({ outcome }) => outcome === "degraded");
}

/** A word for a system's verdict; `""` for rows that are not judged. */
export function verdictOf(system: SystemReport): "passed" | "degraded" | "failed" | "" {
  if (system.passed === null) return "";
  if (!system.passed) return "failed";
  return isDegraded(system) ? "degraded" : "passed";
}

/** One sentence for the top of a report. */
export function headline(report: EvaluationReport): string {
  if (report.passed === null) return "No gate was asked for, so nothing was judged.";
  const judged = report.systems.filter(({ gates }) => gates.length > 0);
  const gates = judged.flatMap((system) => system.gates.filter(({ outcome }) => outcome !== "reported"));
  if (gates.length === 0) return "Nothing is judged at these precisions; the numbers are only reported.";
  const failed = failedGates(report);
  const degraded = judged.filter((system) => verdictOf(system) === "degraded").map(({ name }) => name);
  const also = degraded.length === 0 ? "" : ` Degraded, within its bounds: ${degraded.join(", ")}.`;
  if (failed.length === 0) {
    const many = gates.length === 1 ? "The gate passed" : `All ${gates.length} gates passed`;
    return `${many} for ${judged.map(({ name }) => name).join(", ")}.${also}`;
  }
  const names = [...new Set(failed.map(({ system }) => system.name))].join(", ");
  return `${failed.length} of ${gates.length} gates failed: ${names}.${also}`;
}

/** What was measured on, in one line. */
export function scope(report: EvaluationReport): string {
  const { task, settings } = report;
  const { counts, candidates } = task;
  const queries =
    counts.queries === counts.allQueries
      ? `${counts.queries} queries`
      : `${counts.queries} of ${counts.allQueries} queries`;
  const pool =
    candidates === null
      ? `the whole corpus of ${counts.documents} documents searched`
      : candidates.depth.minimum === candidates.depth.maximum
        ? `${candidates.depth.maximum} candidates each`
        : `${candidates.depth.minimum} to ${candidates.depth.maximum} candidates each`;
  return [queries, pool, ...(settings.limit === null ? [] : [`limit ${settings.limit}`])].join(", ");
}

export interface QueryChange {
  readonly query: string;
  readonly reference: number;
  readonly candidate: number;
  readonly change: number;
}

/** Changes of the primary metric by query, the largest loss first, equal ones in the order of their ids' bytes. */
export function queryChanges(report: EvaluationReport, system: SystemReport): readonly QueryChange[] {
  const reference = referenceOf(report);
  const before = reference === undefined ? undefined : primaryMetric(report, reference);
  const after = primaryMetric(report, system);
  if (before === undefined || after === undefined) return [];
  return report.task.queryIds
    .map((query, index) => {
      const left = before.values[index] ?? 0;
      const right = after.values[index] ?? 0;
      return { query, reference: left, candidate: right, change: right - left };
    })
    .sort((a, b) => a.change - b.change || compareBytes(a.query, b.query));
}

/** One sentence for the comparison with a baseline. */
export function baselineHeadline(comparison: BaselineComparison): string {
  const count = (test: (system: BaselineSystemComparison) => boolean) =>
    comparison.systems.filter(test).length;
  const failed = count(({ gate }) => gate?.outcome === "failed");
  const apart = count(({ status }) => status === "not comparable");
  if (comparison.obstacles.length > 0)
    return "Nothing was compared with the baseline: the two do not measure the same.";
  const lost = apart === 0 ? "" : ` ${apart} cannot be compared.`;
  const compared = count(({ status }) => status === "compared");
  return failed > 0
    ? `${failed} of ${compared} systems got worse than the baseline, or may have.${lost}`
    : `${compared} systems hold the baseline.${lost}`;
}

/** Why a system did not pass against the baseline; undefined where it did, or where it is new. */
export function baselineProblem(system: BaselineSystemComparison): string | undefined {
  if (system.status === "not comparable") {
    return `cannot be compared with the baseline: ${system.obstacles.map(({ sentence }) => sentence).join(" ")}`;
  }
  return system.gate?.outcome === "failed" ? `against the baseline: ${system.gate.sentence}` : undefined;
}

/** What is done with a document that is longer than the model. */
export function showLength({ truncation, longDocuments }: SystemModel): string {
  if (longDocuments === undefined) return truncation;
  const { aggregate, top, passageTokens, overlapTokens } = longDocuments;
  const passages = passageTokens === undefined ? "passages" : `passages of ${passageTokens} tokens`;
  return `longer documents in ${passages} that share ${overlapTokens}, ${aggregate}${top === undefined ? "" : ` ${top}`}`;
}

/** What scores all documents before a model, and how many go on; undefined where it scores them all itself. */
export function showCascade({ cascade }: SystemModel): string | undefined {
  if (cascade === undefined) return undefined;
  const stages = cascade.stages.map(({ model, backend, artifact, settings, maxLength }, index) => {
    const runtime = `${backend.runtime.name} ${backend.runtime.version}`;
    return `${model.id} (${runtime}, ${artifact.format} ${artifact.dtype}, ${maxLength} tokens, settings: ${showSettings(settings)}), of which ${cascade.keep[index]} go on`;
  });
  return `after ${stages.join(", then ")}`;
}
