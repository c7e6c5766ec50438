import type { BaselineComparison } from "./baseline.js";
import { codeCell, codeSpan, escapeMarkdown } from "./escape.js";
import {
  showChange,
  showMetric,
  showMetricName,
  showNumber,
  showProbability,
  showSettings,
  showShare,
  unknown,
} from "./figures.js";
import {
  baselineHeadline,
  baselineProblem,
  failedGates,
  headline,
  outcomeSigns,
  primaryMetric,
  scope,
  showCascade,
  showLength,
  verdictOf,
} from "./reading.js";
import type { EvaluationReport, SystemReport } from "./report-data.js";

export interface MarkdownOptions {
  /** What a comparison with a baseline came to. It does not change the verdict of the gates. */
  readonly baseline?: BaselineComparison | undefined;
}

/**
 * A comment for a pull request, or GITHUB_STEP_SUMMARY: the verdict, one table, what failed and why; everything else
 * folded. Texts of data and models are escaped: they make no markup, mention nobody and link nowhere.
 */
export function renderMarkdown(report: EvaluationReport, options: MarkdownOptions = {}): string {
  const { baseline } = options;
  const failed = failedGates(report);
  const sign = report.passed === null ? "⚪ not judged" : report.passed ? "✅ passed" : "❌ failed";
  return `${[
    `### crossrank: ${sign} · ${escapeMarkdown(report.model.id)} on ${escapeMarkdown(report.task.name)}`,
    `${escapeMarkdown(headline(report))} Measured on ${escapeMarkdown(scope(report))}.`,
    ...(failed.length === 0
      ? []
      : [
          failed
            .map(({ system, gate }) => `- ${codeSpan(system.name)} ${escapeMarkdown(gate.sentence)}`)
            .join("\n"),
        ]),
    mainTable(report),
    ...(baseline === undefined ? [] : [baselinePart(baseline)]),
    details("Gates", gateLists(report)),
    details("Other metrics and speed", otherTable(report)),
    details("Provenance", provenance(report)),
  ]
    .filter((part) => part !== "")
    .join("\n\n")}\n`;
}

function mainTable(report: EvaluationReport): string {
  const metric = showMetricName(report.settings.primaryMetric);
  const interval = `${showNumber(report.settings.level * 100)} % interval`;
  const rows = report.systems.map((system) => {
    const result = primaryMetric(report, system);
    const change = result?.change ?? undefined;
    const verdict = verdictOf(system);
    return [
      codeCell(system.name),
      showMetric(result?.expected),
      result?.interval
        ? `${showMetric(result.interval.lower)} to ${showMetric(result.interval.upper)}`
        : unknown,
      system.role === "reference" ? "reference" : showChange(change?.mean),
      showChange(change?.lowerBound),
      showShare(change?.retention),
      showMetric(system.scores?.kendall.withinQueries ?? system.scores?.kendall.pooled),
      showNumber(system.speed?.documentsPerSecond),
      verdict === "" ? "" : `${outcomeSigns[verdict]} ${verdict}`,
    ];
  });
  return table(
    ["system", metric, interval, "Δ", "lower bound of Δ", "kept", "τ-b", "documents/s", "verdict"],
    rows,
  );
}

function baselinePart(comparison: BaselineComparison): string {
  const signs = { passed: "✅", failed: "❌", "not comparable": "⚠️" };
  const problems = [
    ...comparison.obstacles.map(({ sentence }) => `- ${escapeMarkdown(sentence)}`),
    ...comparison.systems.flatMap((system) => {
      const problem = baselineProblem(system);
      return problem === undefined ? [] : [`- ${codeSpan(system.name)} ${escapeMarkdown(problem)}`];
    }),
  ];
  const rows = comparison.systems.flatMap((system) =>
    system.changes.map((change) => [
      codeCell(system.name),
      showMetricName(change.metric),
      showMetric(change.before),
      showMetric(change.now),
      showChange(change.mean),
      showChange(change.lowerBound),
      showProbability(change.adjustedPValue),
    ]),
  );
  const notes = [
    ...comparison.notes,
    ...comparison.systems.flatMap(({ name, notes }) => notes.map((note) => `${name}: ${note}`)),
  ];
  const changes =
    rows.length === 0
      ? ""
      : table(["system", "metric", "baseline", "now", "Δ", "lower bound of Δ", "p after Holm"], rows);
  const folded = [changes, notes.map((note) => `- ${escapeMarkdown(note)}`).join("\n")]
    .filter((part) => part !== "")
    .join("\n\n");
  return [
    `**Baseline**: ${signs[comparison.outcome]} ${comparison.outcome}. ${baselineHeadline(comparison)}`,
    problems.join("\n"),
    details("Changes since the baseline", folded),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}

function gateLists(report: EvaluationReport): string {
  return report.systems
    .filter(({ gates }) => gates.length > 0)
    .map((system) =>
      [
        `**${escapeMarkdown(system.name)}**${system.scores === null ? "" : `: ${system.scores.diagnosis.kind}. ${escapeMarkdown(system.scores.diagnosis.sentence)} ${escapeMarkdown(system.scores.diagnosis.likelyCause)}`}`,
        "",
        ...system.gates.map((gate) => `- ${outcomeSigns[gate.outcome]} ${escapeMarkdown(gate.sentence)}`),
      ].join("\n"),
    )
    .join("\n\n");
}

function otherTable(report: EvaluationReport): string {
  const others = report.settings.metrics.filter((name) => name !== report.settings.primaryMetric);
  const rows = report.systems.map((system) => [
    codeCell(system.name),
    ...others.map((name) => {
      const result = system.metrics.find((metric) => metric.name === name);
      return result === undefined
        ? unknown
        : `${showMetric(result.expected)}${result.change === null ? "" : ` (${showChange(result.change.mean)}, p ${showProbability(result.change.adjustedPValue ?? result.change.pValue)})`}`;
    }),
    ...speedCells(system),
  ]);
  return table(
    ["system", ...others.map(showMetricName), "tokens/s", "query p50", "query p95", "peak memory"],
    rows,
  );
}

function speedCells({ speed, memory }: SystemReport): readonly string[] {
  const query = speed?.perQuery;
  return [
    showNumber(speed?.tokensPerSecond),
    query ? `${showNumber(query.p50)} ms` : unknown,
    query ? `${showNumber(query.p95)} ms` : unknown,
    memory === null ? unknown : `${showNumber(memory.peakBytes / 2 ** 20)} MiB`,
  ];
}

function provenance(report: EvaluationReport): string {
  const { task, environment, settings, model } = report;
  const lines = [
    `model ${codeSpan(model.id)}${model.revision === null ? "" : ` at ${codeSpan(model.revision)}`}`,
    `task ${codeSpan(task.id)}${task.revision === null ? "" : ` at ${codeSpan(task.revision)}`}${task.license === null ? "" : `, licence ${escapeMarkdown(task.license)}`}`,
    ...(task.candidates === null
      ? []
      : [`candidates ${escapeMarkdown(task.candidates.origin)}, sha256 ${codeSpan(task.candidates.sha256)}`]),
    ...report.systems.flatMap(({ name, model: ran }) =>
      ran === null
        ? []
        : [
            `${codeSpan(name)}: ${escapeMarkdown(`${ran.backend.runtime.name} ${ran.backend.runtime.version}, ${ran.artifact.format} ${ran.artifact.dtype}, ${ran.maxLength} tokens${ran.longDocuments === undefined ? "" : `, ${showLength(ran)}`}, settings: ${showSettings(ran.settings)}${ran.cascade === undefined ? "" : `, ${showCascade(ran)}`}`)}, artifact sha256 ${codeSpan(ran.artifact.files[0]?.sha256 ?? "unknown")}${ran.tokenizerSha256 === null ? "" : `, tokenizer ${codeSpan(ran.tokenizerSha256)}`}`,
          ],
    ),
    `${settings.resamples} resamples, seed ${settings.seed}, margin ${showNumber(settings.margin)}`,
    escapeMarkdown(
      `${environment.cpu ?? "unknown processor"}, ${environment.cores} cores, ${environment.platform}, Node.js ${environment.node}; ${Object.entries(
        environment.packages,
      )
        .map(([name, version]) => `${name} ${version}`)
        .join(", ")}`,
    ),
    ...report.warnings.map(({ message }) => `note: ${escapeMarkdown(message)}`),
    ...report.systems.flatMap(({ name, warnings }) =>
      warnings.map(({ message }) => `note, ${codeSpan(name)}: ${escapeMarkdown(message)}`),
    ),
  ];
  return lines.map((line) => `- ${line}`).join("\n");
}

function details(title: string, body: string): string {
  return body === "" ? "" : `<details><summary>${title}</summary>\n\n${body}\n\n</details>`;
}

/** The first and the last column hold words, the others numbers. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = head.map((_, index) => (index === 0 ? ":---" : "---:"));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}
