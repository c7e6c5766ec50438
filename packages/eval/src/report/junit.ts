import type { BaselineComparison } from "./baseline.js";
import { escapeXml } from "./escape.js";
import { baselineProblem } from "./reading.js";
import type { EvaluationReport, GateReport, SystemReport } from "./report-data.js";

export interface JunitOptions {
  /** Adds a suite with one case a system that the baseline or the report has. */
  readonly baseline?: BaselineComparison | undefined;
}

/**
 * JUnit XML: one suite a system that was judged, one test case a gate. A failed gate is a failure with its sentence; a
 * check without a bound at this precision is skipped; a degraded one passes with its sentence as output. Systems
 * without gates are left out. In the form of the schema that Jenkins checks by (jenkinsci/xunit-plugin, junit-10.xsd).
 */
export function renderJunit(report: EvaluationReport, options: JunitOptions = {}): string {
  const { baseline } = options;
  const suites = report.systems.filter(({ gates }) => gates.length > 0);
  const all = suites.flatMap(({ gates }) => gates);
  const since = baseline === undefined ? undefined : baselineSuite(report, baseline);
  const name = `crossrank: ${report.model.id} on ${report.task.name}`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    // Skipped tests have no attribute at this level in that schema.
    `<testsuites${attributes({ name, tests: all.length + (since?.tests ?? 0), failures: count(all, "failed") + (since?.failures ?? 0), errors: 0 })}>`,
    ...suites.map((system) => suite(report, system)),
    ...(since === undefined ? [] : [since.source]),
    "</testsuites>",
    "",
  ].join("\n");
}

function suite(report: EvaluationReport, system: SystemReport): string {
  const { gates } = system;
  const seconds = system.speed === null ? undefined : (system.speed.milliseconds / 1000).toFixed(3);
  const properties = {
    task: report.task.id,
    "task.revision": report.task.revision ?? "",
    "candidates.sha256": report.task.candidates?.sha256 ?? "",
    model: report.model.id,
    artifact: system.model?.artifact.files[0]?.sha256 ?? "",
    dtype: system.model?.artifact.dtype ?? "",
  };
  return [
    `  <testsuite${attributes({
      name: system.name,
      tests: gates.length,
      failures: count(gates, "failed"),
      errors: 0,
      skipped: count(gates, "reported"),
      time: seconds,
      // Without fractions and zone, which the other common schema (windyroad/JUnit-Schema) asks for.
      timestamp: report.created.slice(0, 19),
      id: report.systems.indexOf(system),
      package: "crossrank",
    })}>`,
    "    <properties>",
    ...Object.entries(properties).map(([name, value]) => `      <property${attributes({ name, value })}/>`),
    "    </properties>",
    ...gates.map((gate) => testCase(report.task.name, system, gate)),
    "  </testsuite>",
  ].join("\n");
}

function baselineSuite(
  report: EvaluationReport,
  baseline: BaselineComparison,
): { readonly source: string; readonly tests: number; readonly failures: number } {
  const cases = [
    ...baseline.obstacles.map(({ what, sentence }) => ({
      name: `same ${what}`,
      problem: sentence as string | undefined,
    })),
    ...baseline.systems
      .filter(({ status }) => status !== "new")
      .map((system) => ({ name: system.name, problem: baselineProblem(system) })),
  ];
  const failures = cases.filter(({ problem }) => problem !== undefined).length;
  const source = [
    `  <testsuite${attributes({ name: "baseline", tests: cases.length, failures, errors: 0, skipped: 0, package: "crossrank" })}>`,
    ...cases.map(({ name, problem }) => {
      const open = `    <testcase${attributes({ classname: `crossrank.${report.task.name}.baseline`, name, time: "0" })}`;
      return problem === undefined
        ? `${open}/>`
        : `${open}>\n      <failure${attributes({ type: "crossrank.baseline", message: problem })}>${escapeXml(problem)}</failure>\n    </testcase>`;
    }),
    "  </testsuite>",
  ].join("\n");
  return { source, tests: cases.length, failures };
}

/** @param scope tells apart equal gates of several reports. */
export function testCase(scope: string, system: SystemReport, gate: GateReport): string {
  const open = `    <testcase${attributes({
    classname: `crossrank.${scope}.${system.name}`,
    name: `${gate.level} ${gate.check}`,
    time: "0",
  })}`;
  const { sentence } = gate;
  switch (gate.outcome) {
    case "passed":
      return `${open}/>`;
    case "failed":
      return `${open}>\n      <failure${attributes({ type: `crossrank.${gate.level}`, message: sentence })}>${escapeXml(sentence)}</failure>\n    </testcase>`;
    case "reported":
      return `${open}>\n      <skipped${attributes({ message: sentence })}/>\n    </testcase>`;
    case "degraded":
      return `${open}>\n      <system-out>${escapeXml(sentence)}</system-out>\n    </testcase>`;
  }
}

function count(gates: readonly GateReport[], outcome: GateReport["outcome"]): number {
  return gates.filter((gate) => gate.outcome === outcome).length;
}

export function attributes(values: Readonly<Record<string, string | number | undefined>>): string {
  return Object.entries(values)
    .map(([name, value]) => (value === undefined ? "" : ` ${name}="${escapeXml(String(value))}"`))
    .join("");
}
