import { readFileSync } from "node:fs";
import type { EvaluationReport, SystemReport } from "../../src/report/report-data.js";

type Writable<Value> = Value extends object
  ? { -readonly [Key in keyof Value]: Writable<Value[Key]> }
  : Value;
export type OpenReport = Writable<EvaluationReport>;
export type OpenSystem = Writable<SystemReport>;

/** A real evaluation, as it was recorded; a copy of one's own each time. See README.md beside it. */
export function recordedReport(): OpenReport {
  return JSON.parse(readFileSync(new URL("report.json", import.meta.url), "utf8")) as OpenReport;
}

export function systemOf(report: OpenReport, name: string): OpenSystem {
  const system = report.systems.find((entry) => entry.name === name);
  if (system === undefined) throw new Error(`the recorded report has no ${name}`);
  return system;
}

/** What breaks out of HTML, attributes, XML, Markdown tables, code spans, comments, and lines. */
export const hostileText: string =
  "\"'><script>alert(1)</script><img src=x onerror=alert(1)> a|b `c` ``d`` @everyone #1 https://evil.example/x " +
  "[l](javascript:alert(1)) --> ]]> &lt; </style></title></details> \u0000\u0007\u202e\ud800 two\nlines \\| end";

/** The recorded report with hostile text wherever a text of data, files or models can stand. */
export function hostileReport(): OpenReport {
  const report = recordedReport();
  report.task.id = report.task.name = report.task.source = hostileText;
  report.task.license = report.task.citation = report.task.revision = hostileText;
  report.model.id = report.model.revision = hostileText;
  report.settings.instruction = hostileText;
  report.environment.cpu = hostileText;
  report.environment.packages = { [hostileText]: hostileText };
  report.task.queryIds = report.task.queryIds.map((id) => `${id}${hostileText}`);
  report.warnings = [{ code: hostileText, count: 1, message: hostileText }];
  if (report.task.candidates !== null) report.task.candidates.origin = hostileText;
  for (const file of report.task.files) file.path = file.role = hostileText;
  for (const system of report.systems) {
    system.name = `${system.name}${hostileText}`;
    system.runFile = hostileText;
    system.warnings = [{ code: "x", count: 1, message: hostileText }];
    for (const gate of system.gates) {
      gate.sentence = `${gate.sentence}${hostileText}`;
      gate.check = hostileText;
    }
    if (system.scores !== null) {
      system.scores.diagnosis.sentence = system.scores.diagnosis.likelyCause = hostileText;
    }
    if (system.model !== null) {
      system.model.template = system.model.instruction = hostileText;
      system.model.backend.runtime = { name: hostileText, version: hostileText };
      system.model.artifact.files = [{ path: hostileText, sha256: hostileText }];
    }
  }
  return report;
}

/** The recorded report with everything that may be unknown unknown, and no model but the reference. */
export function bareReport(): OpenReport {
  const report = recordedReport();
  report.passed = null;
  report.systems = report.systems.filter(({ role }) => role !== "first-stage");
  report.task.candidates = null;
  report.task.kind = "retrieval";
  report.task.queryIds = report.task.queryIds.slice(0, 1);
  for (const system of report.systems) {
    system.speed = system.memory = system.scores = system.runFile = system.passed = null;
    system.gates = [];
    for (const metric of system.metrics) {
      metric.values = metric.values.slice(0, 1);
      metric.interval = null;
      if (metric.change !== null) {
        Object.assign(metric.change, {
          retention: null,
          lowerBound: null,
          deviation: null,
          detectableDrop: null,
          adjustedPValue: null,
        });
      }
    }
  }
  return report;
}
