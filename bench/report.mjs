// The Markdown of a report.
/** @import { Machine, ModelReport, Result, SweepCell } from "./types.js" */

/** @param {Machine} machine */
export function renderMachine({ processor, features, threads, memory, platform, node }) {
  const having = features === undefined || features.length === 0 ? "" : ` (${features.join(", ")})`;
  return `${processor}${having}, ${threads} threads, ${(memory / 2 ** 30).toFixed(0)} GB memory, ${platform}, Node ${node}`;
}

/** @param {ModelReport} report */
export function renderReport(report) {
  const { documents, logits, results } = report;
  const { least, mean, most } = documents.tokens;
  const cut = documents.truncated === 0 ? "none cut" : `${documents.truncated} cut to fit`;
  const versions = [...new Set(results.flatMap(({ version }) => version.split(", ")))];
  const lines = [
    `### ${report.model}, ${report.dtype}, ${(report.bytes / 1e6).toFixed(1)} MB`,
    "",
    `${documents.count} documents, pairs of ${least}–${most} tokens (mean ${mean.toFixed(0)}), ${cut}; crossrank's logits ` +
      `from ${logits.least.toFixed(2)} to ${logits.most.toFixed(2)}. Versions: ${versions.join(", ")}.`,
    "",
    "| | documents/s | crossrank = 1 | event-loop delay p50, ms | p99 | max | peak memory, MB | largest Δ logit | runs |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ...results.map(renderRow),
    "",
  ];
  for (const { title, reason } of report.skipped) {
    lines.push(`- ${title} — skipped: ${reason.split("\n").at(-1)}`);
  }
  for (const { title, difference, ratio } of results) {
    if (difference !== undefined && ratio === undefined) {
      lines.push(`- ${title} — no ratio: its logits are not crossrank's`);
    }
  }
  if (lines.at(-1) !== "") lines.push("");
  if (report.sweep.length > 0) lines.push(...renderSweep(report.sweep), "");
  lines.push(
    ...report.aims.map(
      ({ text, met }) => `- ${met === undefined ? "not judged" : met ? "met" : "**missed**"}: ${text}`,
    ),
  );
  return lines.join("\n");
}

/** @param {Result} result */
function renderRow({ name, title, rate, ratio, delay, peakMemory, difference, seconds }) {
  /** @type {(value: number | undefined) => string} */
  const milliseconds = (value) => (value === undefined ? "" : value.toFixed(value < 9.95 ? 1 : 0));
  const cells = [
    name === "crossrank" ? `**${title}**` : name === "sweep" ? `best of the sweep: ${title}` : title,
    rate.toFixed(rate < 99.5 ? 1 : 0),
    ratio?.toFixed(2) ?? "",
    milliseconds(delay?.p50),
    milliseconds(delay?.p99),
    milliseconds(delay?.max),
    peakMemory === undefined ? "" : (peakMemory / 1e6).toFixed(0),
    difference === undefined ? "" : difference === 0 ? "0" : difference.toExponential(0),
    `${seconds.length}`,
  ];
  return `| ${cells.join(" | ")} |`;
}

/** @param {readonly SweepCell[]} sweep */
function renderSweep(sweep) {
  const rows = [...new Set(sweep.map((cell) => cell.rows))];
  const places = new Map(sweep.map((cell) => [`${cell.workers}|${cell.threads}`, cell]));
  return [
    "The sweep's heats (sorted by length, one run each, documents/s); the four best went into the rounds:",
    "",
    `| batches of | ${rows.join(" | ")} |`,
    `|---|${rows.map(() => "---:").join("|")}|`,
    ...[...places.values()].map(({ workers, threads }) => {
      const cells = rows.map((size) => {
        const cell = sweep.find(
          (one) => one.workers === workers && one.threads === threads && one.rows === size,
        );
        return cell?.rate.toFixed(1) ?? "";
      });
      const place = workers === 0 ? `one session × ${threads}` : `workers: ${workers} × ${threads}`;
      return `| ${place} | ${cells.join(" | ")} |`;
    }),
  ];
}
