import { drawCurves } from "./curve-chart.js";
import { evaluationsOf, factsOf, headline, signed, type TrainingReport } from "./training-report.js";

/** One page without scripts, links and fonts of others: it opens from a disk and in a mail. */
export function renderTrainingHtml(report: TrainingReport): string {
  const rows = evaluationsOf(report).map(({ step, mean, lower, upper, change, best }) =>
    cells([
      `${step}${best ? " (best)" : ""}`,
      mean.toFixed(4),
      `${lower.toFixed(4)} to ${upper.toFixed(4)}`,
      change === null ? "" : signed(change.mean),
      change === null ? "" : signed(change.lowerBound),
    ]),
  );
  const gates = report.gates.map(
    ({ passed, artifact, sentence }) =>
      `<li class="${passed ? "pass" : "fail"}">${passed ? "PASS" : "FAIL"} ${escapeText(artifact)}: ${escapeText(sentence)}</li>`,
  );
  const notes = report.data.warnings.map(({ message }) => `<li>${escapeText(message)}</li>`);
  const bad = report.data.skipped.map(
    ({ file, line, problem }) => `<li>${escapeText(`${file}:${line}: ${problem}`)}</li>`,
  );
  const title = escapeText(headline(report));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${style}</style>
</head>
<body>
<h1>${title}</h1>
<table>${factsOf(report)
    .map(([name, value]) => `<tr><th>${escapeText(name)}</th><td>${escapeText(value)}</td></tr>`)
    .join("")}</table>
<h2>Curve</h2>
${drawCurves(report.curve)}
<table><tr><th>step</th><th>nDCG@10</th><th>95 % interval</th><th>change</th><th>at least</th></tr>${rows.join("")}</table>
${gates.length === 0 ? "" : `<h2>Gates</h2><ul>${gates.join("")}</ul>`}
${notes.length === 0 ? "" : `<h2>Notes on the data</h2><ul>${notes.join("")}</ul>`}
${bad.length === 0 ? "" : `<h2>Rows that were skipped (${report.data.skippedCount})</h2><ul>${bad.join("")}</ul>`}
</body>
</html>
`;
}

function cells(texts: readonly string[]): string {
  return `<tr>${texts.map((text) => `<td>${escapeText(text)}</td>`).join("")}</tr>`;
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Also of control characters, which no document may hold. */
function escapeText(text: string): string {
  return text
    .replace(/(?![\t\n\r])\p{Cc}|[\ufffe\uffff]/gu, "\ufffd")
    .replace(/[&<>"']/g, (letter) => entities[letter] ?? letter);
}

const style = `
:root { color-scheme: light dark; --ink: #1a1a1a; --grid: #d0d0d0; --loss: #8a6d00; --value: #0b5cad; --band: #0b5cad33; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --grid: #444; --loss: #e0b94a; --value: #6cb2ff; --band: #6cb2ff33; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; font-variant-numeric: tabular-nums; }
svg { max-width: 100%; height: auto; }
.fail { color: #b3261e; font-weight: 600; }
`;
