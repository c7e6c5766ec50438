import type { BaselineComparison } from "./baseline.js";
import { codeCell, escapeMarkdown, escapeXml, html } from "./escape.js";
import { showChange, showMetric, showMetricName, showShare, unknown } from "./figures.js";
import { attributes, testCase } from "./junit.js";
import { renderMarkdown } from "./markdown.js";
import { renderPage } from "./page.js";
import { failedGates, outcomeSigns, primaryMetric, scope, verdictOf } from "./reading.js";
import type { EvaluationReport } from "./report-data.js";

/** Several evaluations that are judged together. */
export interface MatrixReport {
  /** ISO 8601, UTC. */
  readonly created: string;
  readonly cells: readonly MatrixCell[];
  /** What is wrong with the run as a whole, a sentence each; one is enough to fail. */
  readonly problems: readonly string[];
  /** What else has to be known, a sentence each. */
  readonly notes: readonly string[];
}

/** One evaluation, or why there is none. */
export interface MatrixCell {
  /** Unique, e.g. `"nano on scifact"`. */
  readonly name: string;
  /** Of its own reports, relative to the matrix's, with forward slashes. */
  readonly folder: string;
  /** Null when it failed before there was a result. */
  readonly report: EvaluationReport | null;
  /** Null when there was nothing to compare with. */
  readonly baseline: BaselineComparison | null;
  /** Why there is no report; null when there is one. */
  readonly error: string | null;
  /** Systems that the report does without, since they could not be run, and why. */
  readonly failures: readonly { readonly system: string; readonly error: string }[];
}

/** `error`: no result. `not judged`: a result, and neither gate nor baseline. */
export type CellOutcome = "passed" | "failed" | "error" | "not judged";

export function cellOutcome({ report, baseline, failures }: MatrixCell): CellOutcome {
  if (report === null) return "error";
  if (failures.length > 0 || report.passed === false || (baseline !== null && baseline.outcome !== "passed"))
    return "failed";
  return report.passed === null && baseline === null ? "not judged" : "passed";
}

/** A sentence for each thing that made a cell fail. */
export function cellProblems({ report, baseline, error, failures }: MatrixCell): readonly string[] {
  if (report === null) return [error ?? "There is no result."];
  return [
    ...failures.map(({ system, error: why }) => `${system} has no result: ${why}`),
    ...failedGates(report).map(({ system, gate }) => `${system.name}: ${gate.sentence}`),
    ...baselineProblems(baseline),
  ];
}

function baselineProblems(baseline: BaselineComparison | null): readonly string[] {
  if (baseline === null || baseline.outcome === "passed") return [];
  const failed = baseline.systems.flatMap(({ name, gate }) =>
    gate?.outcome === "failed" ? [`${name} against the baseline: ${gate.sentence}`] : [],
  );
  const obstacles = [
    ...baseline.obstacles.map(({ sentence }) => `Not comparable with the baseline: ${sentence}`),
    ...baseline.systems.flatMap(({ name, obstacles: own }) =>
      own.map(({ sentence }) => `${name} cannot be compared with the baseline: ${sentence}`),
    ),
  ];
  const told = [...failed, ...obstacles];
  return told.length > 0 ? told : baseline.sentences;
}

/** False when anything failed; null when nothing was judged. */
export function matrixPassed({ cells, problems }: MatrixReport): boolean | null {
  const outcomes = cells.map(cellOutcome);
  if (problems.length > 0 || outcomes.some((outcome) => outcome === "failed" || outcome === "error")) {
    return false;
  }
  return outcomes.includes("passed") ? true : null;
}

/** One sentence for the top. */
export function matrixHeadline(matrix: MatrixReport): string {
  const { cells } = matrix;
  const count = (outcome: CellOutcome): number =>
    cells.filter((cell) => cellOutcome(cell) === outcome).length;
  const parts = (["passed", "failed", "error", "not judged"] as const)
    .map((outcome) => ({ outcome, number: count(outcome) }))
    .filter(({ number }) => number > 0)
    .map(({ outcome, number }) => `${number} ${outcome === "error" ? "without a result" : outcome}`);
  return `${cells.length} ${cells.length === 1 ? "cell" : "cells"}: ${parts.join(", ")}.`;
}

/** The overview, what failed and why, and each cell's own summary folded beneath. */
export function renderMatrixMarkdown(matrix: MatrixReport): string {
  const passed = matrixPassed(matrix);
  const sign = passed === null ? "⚪ not judged" : passed ? "✅ passed" : "❌ failed";
  const problems = problemsOf(matrix);
  const head = [
    "cell",
    "system",
    "metric",
    "value",
    "Δ",
    "lower bound of Δ",
    "kept",
    "Δ to baseline",
    "verdict",
  ];
  const rows = rowsOf(matrix).map(({ cell, system, figures, outcome }) => [
    codeCell(cell.name),
    system === undefined ? unknown : codeCell(system),
    ...figures,
    `${signOf(outcome)} ${outcome}`.trim(),
  ]);
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return `${[
    `## crossrank: ${sign}`,
    escapeMarkdown(matrixHeadline(matrix)),
    ...(problems.length === 0 ? [] : [problems.map((text) => `- ${escapeMarkdown(text)}`).join("\n")]),
    [
      line(head),
      line(head.map((_, index) => (index < 3 ? ":---" : "---:"))),
      ...rows.map((row) => line(row)),
    ].join("\n"),
    ...(matrix.notes.length === 0
      ? []
      : [matrix.notes.map((text) => `- note: ${escapeMarkdown(text)}`).join("\n")]),
    ...matrix.cells.flatMap(({ name, report, baseline }) => {
      if (report === null) return [];
      const body = renderMarkdown(report, { baseline: baseline ?? undefined }).trim();
      // In code GitHub looks for no mentions.
      return [`<details><summary><code>${escapeXml(name)}</code></summary>\n\n${body}\n\n</details>`];
    }),
  ].join("\n\n")}\n`;
}

/** One file that links to the cells' own pages; like theirs without script, font, image or network. */
export function renderMatrixHtml(matrix: MatrixReport): string {
  const passed = matrixPassed(matrix);
  const word = passed === null ? "not judged" : passed ? "passed" : "failed";
  const problems = problemsOf(matrix);
  const notes = matrix.cells.flatMap((cell) =>
    baselineLines(cell).map((text) => html`<li>${cell.name}: ${text}</li>`),
  );
  return renderPage({
    title: `${word}: ${matrixHeadline(matrix)}`,
    header: html`<h1>crossrank <small>of ${matrix.cells.length} ${matrix.cells.length === 1 ? "cell" : "cells"}</small></h1>
<p class="soft"><time datetime="${matrix.created}">${matrix.created.slice(0, 16).replace("T", " ")} UTC</time></p>`,
    main: html`<section aria-labelledby="verdict">
<h2 id="verdict" class="verdict ${word.replace(" ", "-")}"><span aria-hidden="true">${passed === null ? "·" : passed ? "✓" : "✗"}</span> ${word}</h2>
<p class="lead">${matrixHeadline(matrix)}</p>
${problems.length === 0 ? "" : html`<ul class="failures">${problems.map((text) => html`<li>${text}</li>`)}</ul>`}
${matrix.notes.length === 0 ? "" : html`<ul>${matrix.notes.map((text) => html`<li>${text}</li>`)}</ul>`}
</section>
<section aria-labelledby="cells">
<h2 id="cells">Cells</h2>
<p class="soft">Expected value over ties; Δ against the cell's reference, with its one-sided lower bound, and against the baseline.</p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="cells"><table>
<thead><tr><th scope="col">cell</th><th scope="col">system</th><th scope="col">metric</th><th scope="col">value</th><th scope="col">Δ</th><th scope="col">at least</th><th scope="col">kept</th><th scope="col">Δ to baseline</th><th scope="col">verdict</th></tr></thead>
<tbody>${rowsOf(matrix).map(
      ({ cell, system, figures, outcome }) =>
        html`<tr><th scope="row">${
          cell.report === null
            ? cell.name
            : html`<a href="${`${encodeURI(cell.folder)}/report.html`}">${cell.name}</a><small>${scope(cell.report)}</small>`
        }</th><td>${system ?? unknown}</td>${figures.map((figure) => html`<td>${figure}</td>`)}<td>${
          outcome === ""
            ? unknown
            : html`<span class="chip ${outcome === "error" ? "failed" : outcome}"><span aria-hidden="true">${signOf(outcome)}</span> ${outcome}</span>`
        }</td></tr>`,
    )}</tbody>
</table></div>
</section>
${notes.length === 0 ? "" : html`<section aria-labelledby="baseline"><h2 id="baseline">Against the baseline</h2><ul>${notes}</ul></section>`}`,
    style: "a{color:var(--candidate)}",
  });
}

/**
 * One suite a cell: its gates, its comparison with the baseline, or its error. In the form of {@link renderJunit}.
 */
export function renderMatrixJunit(matrix: MatrixReport): string {
  const suites = matrix.cells.map((cell) => ({ cell, cases: casesOf(cell) }));
  const whole = matrix.problems.map((text) => failureCase("crossrank", "matrix", text));
  const all = [...suites.flatMap(({ cases }) => cases), ...whole];
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites${attributes({ name: "crossrank", tests: all.length, failures: count(all, "failure"), errors: count(all, "error") })}>`,
    ...suites.map(({ cell, cases }, id) => suite(cell.name, cases, id, matrix.created)),
    ...(whole.length === 0 ? [] : [suite("matrix", whole, suites.length, matrix.created)]),
    "</testsuites>",
    "",
  ].join("\n");
}

interface Row {
  readonly cell: MatrixCell;
  readonly system: string | undefined;
  readonly figures: readonly string[];
  readonly outcome: "passed" | "degraded" | "failed" | "error" | "reference" | "";
}

/** The systems that are models; a cell without a result has one row. */
function rowsOf({ cells }: MatrixReport): readonly Row[] {
  return cells.flatMap((cell): Row[] => {
    const { report, baseline } = cell;
    const nothing = { cell, figures: Array<string>(6).fill(unknown), outcome: "error" as const };
    if (report === null) return [{ ...nothing, system: undefined }];
    const rows = report.systems
      .filter(({ model }) => model !== null)
      .map((system) => {
        const metric = primaryMetric(report, system);
        const against = baseline?.systems.find(({ name }) => name === system.name);
        const before = against?.changes.find((change) => change.metric === report.settings.primaryMetric);
        const lost =
          against?.gate?.outcome === "failed" ||
          against?.status === "not comparable" ||
          baseline?.obstacles.length;
        const judged = against?.gate?.outcome === "passed" ? ("passed" as const) : ("" as const);
        return {
          cell,
          system: system.name,
          figures: [
            showMetricName(report.settings.primaryMetric),
            showMetric(metric?.expected),
            system.role === "reference" ? "reference" : showChange(metric?.change?.mean),
            showChange(metric?.change?.lowerBound),
            showShare(metric?.change?.retention),
            showChange(before?.mean),
          ],
          outcome: lost ? ("failed" as const) : verdictOf(system) || judged,
        };
      });
    return [...rows, ...cell.failures.map(({ system }) => ({ ...nothing, system }))];
  });
}

function signOf(outcome: Row["outcome"]): string {
  if (outcome === "" || outcome === "reference") return "";
  return outcomeSigns[outcome === "error" ? "failed" : outcome];
}

function problemsOf({ cells, problems }: MatrixReport): readonly string[] {
  return [...cells.flatMap((cell) => cellProblems(cell).map((text) => `${cell.name}: ${text}`)), ...problems];
}

/** What a comparison says and what it only notes, without what made it fail. */
function baselineLines(cell: MatrixCell): readonly string[] {
  const { baseline } = cell;
  if (baseline === null) return [];
  const failed = new Set(cellProblems(cell));
  return [...baseline.sentences.filter((sentence) => !failed.has(sentence)), ...baseline.notes];
}

function casesOf(cell: MatrixCell): readonly string[] {
  const { report, baseline, error, failures } = cell;
  if (report === null) return [errorCase(cell.name, error ?? "There is no result.")];
  const gates = [
    ...failures.map(({ system, error: why }) => errorCase(`${cell.name}.${system}`, why)),
    ...report.systems.flatMap((system) => system.gates.map((gate) => testCase(cell.name, system, gate))),
  ];
  if (baseline === null) return gates;
  const failed = baselineProblems(baseline);
  return [
    ...gates,
    failed.length === 0
      ? `${openCase(cell.name, "baseline")}/>`
      : failureCase(cell.name, "baseline", failed.join(" ")),
  ];
}

function openCase(scopeName: string, name: string): string {
  return `    <testcase${attributes({ classname: `crossrank.${scopeName}`, name, time: "0" })}`;
}

function errorCase(scopeName: string, text: string): string {
  return `${openCase(scopeName, "evaluation")}>\n      <error${attributes({ type: "crossrank.error", message: text })}>${escapeXml(text)}</error>\n    </testcase>`;
}

function failureCase(scopeName: string, name: string, text: string): string {
  return `${openCase(scopeName, name)}>\n      <failure${attributes({ type: "crossrank.baseline", message: text })}>${escapeXml(text)}</failure>\n    </testcase>`;
}

function suite(name: string, cases: readonly string[], id: number, created: string): string {
  return [
    `  <testsuite${attributes({
      name,
      tests: cases.length,
      failures: count(cases, "failure"),
      errors: count(cases, "error"),
      skipped: count(cases, "skipped"),
      timestamp: created.slice(0, 19),
      id,
      package: "crossrank",
    })}>`,
    ...cases,
    "  </testsuite>",
  ].join("\n");
}

/** Texts are escaped, so that an element's name stands for the element. */
function count(cases: readonly string[], element: "failure" | "error" | "skipped"): number {
  return cases.filter((text) => text.includes(`<${element} `)).length;
}
