import { join } from "node:path";
import { removeUnfinished, writeWholeFile } from "@crossrank/disk";
import { drawBars, drawSpeed } from "../report/charts.js";
import { codeSpan, escapeMarkdown, html, Markup } from "../report/escape.js";
import { showChange, showCount, showMetric, showMetricName, showNumber, unknown } from "../report/figures.js";
import { renderPage } from "../report/page.js";
import { json } from "../report/write-report.js";
import type { Ratio } from "../statistics/ratio.js";
import type { CascadeReport } from "./run-sweep.js";
import type { CascadeRow } from "./sweep.js";

/** What the sweep says, in one sentence. */
export function cascadeHeadline(report: CascadeReport): string {
  const { rows, smallestSafe, metric, margin, systems, timings } = report;
  const safe = rows.find(({ keep }) => keep === smallestSafe);
  const last = rows.at(-1)?.keep;
  const loss = `${showMetricName(metric)} by less than ${margin}`;
  if (safe === undefined || smallestSafe === last) {
    return `No keep below ${last} loses ${loss} for certain on these queries: ${systems.large} alone, or more queries.`;
  }
  const { speedup } = safe;
  if (speedup !== null && speedup <= 1) {
    return `No cascade that loses ${loss} is faster than ${systems.large} alone: ${systems.small} costs as much as it saves.`;
  }
  const measured = timings.find(({ keep }) => keep === smallestSafe);
  const times =
    measured !== undefined
      ? `, ${showRatio(measured.processor ?? measured.wall)} times as fast as ${systems.large} alone in whole calls`
      : speedup === null
        ? ""
        : `, ${showNumber(speedup)} times as fast as ${systems.large} alone`;
  return `keep ${smallestSafe} is the smallest that loses ${loss}, with every larger one${times}.`;
}

/** Heading and rows of figures, for people. */
export function cascadeRows(report: CascadeReport): {
  readonly heading: readonly string[];
  readonly rows: readonly (readonly string[])[];
} {
  const { small, large, systems, rows, smallestSafe } = report;
  const last = rows.at(-1)?.keep;
  const alone = (name: string, { value, milliseconds }: CascadeReport["small"]): string[] => {
    const speedup = milliseconds === null ? null : (large.milliseconds as number) / milliseconds;
    return [
      `${name} alone`,
      showMetric(value),
      unknown,
      unknown,
      showTime(milliseconds),
      showNumber(speedup),
      "",
    ];
  };
  return {
    heading: [
      "cascade",
      showMetricName(report.metric),
      "Δ",
      "lower bound",
      "ms a query",
      "times as fast",
      "",
    ],
    rows: [
      alone(systems.small, small),
      ...rows
        .filter(({ keep }) => keep !== last)
        .map((row) => [
          `keep ${row.keep}`,
          showMetric(row.value),
          showChange(row.change.mean),
          showChange(row.lowerBound),
          showTime(row.milliseconds),
          showNumber(row.speedup),
          row.keep === smallestSafe ? "smallest safe" : row.passed ? "passed" : "failed",
        ]),
      alone(systems.large, large),
    ],
  };
}

/** Whole calls of cascades beside the figures from a document's cost, a line each. */
export function cascadeTimings({ timings, systems }: CascadeReport): readonly string[] {
  return timings.map(({ keep, calls, milliseconds, wall, processor, calculated }) => {
    const own =
      processor === null
        ? "its processor time cannot be told"
        : `${showRatio(processor)} in processor time (${showTime(milliseconds.processor)} ms a call)`;
    const beside = calculated === null ? "" : `; ${showNumber(calculated)} from the cost of a document`;
    return `keep ${keep}, whole calls of ${calls} queries in turns with ${systems.large} alone: times as fast ${own}, ${showRatio(wall)} by the clock (${showTime(milliseconds.wall)} ms)${beside}`;
  });
}

function showRatio({ value, lower, upper }: Ratio): string {
  return `${showNumber(value)} (${showNumber(lower)} to ${showNumber(upper)})`;
}

function showTime(milliseconds: number | null): string {
  return milliseconds === null ? unknown : milliseconds.toFixed(1);
}

/** What was done, for the line beneath. */
export function cascadeScope({
  task,
  queries,
  timedQueries,
  documentMilliseconds: cost,
}: CascadeReport): string {
  const times =
    cost === null
      ? "no times were measured"
      : `processor time of a document ${cost.small.toFixed(2)} and ${cost.large.toFixed(2)} ms, from ${timedQueries} queries in turns`;
  return `${task}, ${showCount(queries)} queries; ${times}`;
}

/** For a pull request. */
export function renderCascadeMarkdown(report: CascadeReport): string {
  const { heading, rows } = cascadeRows(report);
  const line = (cells: readonly string[]): string => `| ${cells.map(escapeMarkdown).join(" | ")} |`;
  return `${[
    `### crossrank: cascade of ${codeSpan(report.systems.small)} and ${codeSpan(report.systems.large)}`,
    `${escapeMarkdown(cascadeHeadline(report))} Measured on ${escapeMarkdown(cascadeScope(report))}.`,
    [
      line(heading),
      `| ${heading.map((_, index) => (index === 0 ? ":--" : "--:")).join(" | ")} |`,
      ...rows.map(line),
    ].join("\n"),
    ...(report.timings.length === 0
      ? []
      : [
          cascadeTimings(report)
            .map((text) => `- ${escapeMarkdown(text)}`)
            .join("\n"),
        ]),
  ].join("\n\n")}\n`;
}

/** One HTML file that needs nothing else, as `renderHtml`'s. */
export function renderCascadeHtml(report: CascadeReport): string {
  const { systems, metric } = report;
  const { heading, rows } = cascadeRows(report);
  const title = `cascade of ${systems.small} and ${systems.large}`;
  return renderPage({
    title: `${title} on ${report.task}`,
    header: html`<h1>${title} <small>on</small> ${report.task}</h1>
<p class="soft">${cascadeScope(report)}</p>`,
    main: html`<p class="lead">${cascadeHeadline(report)}</p>
<div class="cards"><figure><div class="drawing">${new Markup(drawing(report))}</div>
<figcaption>${showMetricName(metric)}${report.documentMilliseconds === null ? "" : " against time"}: the diamond is ${systems.large} alone, the grey disc ${systems.small} alone, a cross loses more than ${report.margin}.</figcaption></figure></div>
<div class="scroll" tabindex="0" role="region" aria-label="Cascades"><table>
<thead><tr>${heading.map((cell) => html`<th scope="col">${cell}</th>`)}</tr></thead>
<tbody>${rows.map(([name = "", ...cells]) => html`<tr><th scope="row">${name}</th>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody>
</table></div>
${cascadeTimings(report).map((text) => html`<p>${text}.</p>`)}
<p class="soft">Δ is the cascade minus the large model alone, paired by query; the lower bound is one-sided at 95 % (bootstrap, seed ${report.seed}). Times in the table are of the documents that each model scores; reading a query is counted in them. Intervals of whole calls are of 95 %, over the calls.</p>`,
  });
}

function drawing(report: CascadeReport): string {
  const { rows, small, large, systems, metric } = report;
  const last = rows.at(-1) as CascadeRow;
  const bars = [
    { name: systems.small, role: "baseline" as const, ...small, interval: undefined, failed: false },
    ...rows.slice(0, -1).map(({ keep, value, milliseconds, passed }) => ({
      ...{
        name: `keep ${keep}`,
        role: "candidate" as const,
        value,
        milliseconds,
        interval: undefined,
        failed: !passed,
      },
    })),
    { name: systems.large, role: "reference" as const, ...large, interval: undefined, failed: false },
  ];
  const speeds = bars.flatMap((bar) =>
    bar.milliseconds !== null && bar.milliseconds > 0
      ? [{ ...bar, documentsPerSecond: (1000 * last.documents.large) / bar.milliseconds }]
      : [],
  );
  return speeds.length === bars.length
    ? drawSpeed(speeds, showMetricName(metric))
    : drawBars(bars, showMetricName(metric));
}

/** Writes `cascade.json`, `cascade.md` and `cascade.html`, each in whole or not at all. @throws {FileWriteError} */
export async function writeCascadeReport(folder: string, report: CascadeReport): Promise<void> {
  await removeUnfinished(folder);
  await writeWholeFile(join(folder, "cascade.json"), json(report));
  await writeWholeFile(join(folder, "cascade.md"), renderCascadeMarkdown(report));
  await writeWholeFile(join(folder, "cascade.html"), renderCascadeHtml(report));
}
