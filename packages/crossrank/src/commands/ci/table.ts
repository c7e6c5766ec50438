import { cellOutcome, cellProblems, type MatrixReport, matrixHeadline } from "@crossrank/eval";
import { alignColumns, toSingleLine } from "../../text.js";

/** For a terminal: a row a system, then what failed and why. */
export function matrixTable(matrix: MatrixReport, emphasise: (text: string) => string): string {
  const rows = matrix.cells.flatMap((cell) => {
    const outcome = cellOutcome(cell);
    if (cell.report === null) return [[cell.name, "", "", "", "", "", "", outcome]];
    const { systems, settings } = cell.report;
    const failed = cell.failures.map(({ system }) => ["", system, "", none, none, none, none, "error"]);
    const measured = systems
      .filter(({ model }) => model !== null)
      .map((system, index) => {
        const metric = system.metrics.find(({ name }) => name === settings.primaryMetric);
        const before = cell.baseline?.systems
          .find(({ name }) => name === system.name)
          ?.changes.find((change) => change.metric === settings.primaryMetric);
        return [
          index === 0 ? cell.name : "",
          system.role === "reference" ? `${system.name} (reference)` : system.name,
          settings.primaryMetric,
          metric === undefined ? none : metric.expected.toFixed(4),
          signed(metric?.change?.mean),
          signed(metric?.change?.lowerBound),
          signed(before?.mean),
          index === 0 ? outcome : "",
        ];
      });
    return [...measured, ...failed];
  });
  const heading = ["cell", "system", "metric", "value", "Δ", "at least", "Δ baseline", "outcome"];
  const [first = "", ...rest] = alignColumns(
    [heading, ...rows].map((row) => row.map(toSingleLine)),
    ["left", "left", "left", "right", "right", "right", "right", "left"],
  );
  const lines = [emphasise(first), ...rest];
  const told = matrix.cells.flatMap((cell) =>
    cellProblems(cell).map((text) => `FAIL  ${cell.name}: ${toSingleLine(text)}`),
  );
  told.push(...matrix.problems.map((text) => `FAIL  ${toSingleLine(text)}`));
  if (told.length > 0) lines.push("", ...told);
  const notes = [
    ...matrix.notes,
    ...matrix.cells.flatMap(({ name, baseline }) => [
      ...(baseline?.notes ?? []).map((note) => `${name}: ${note}`),
      ...(baseline?.systems ?? []).flatMap((system) =>
        system.notes.map((note) => `${name}, ${system.name}: ${note}`),
      ),
    ]),
  ];
  if (notes.length > 0) lines.push("", ...notes.map((note) => `note: ${toSingleLine(note)}`));
  lines.push("", matrixHeadline(matrix));
  return `${lines.join("\n")}\n`;
}

const none = "–";

function signed(value: number | null | undefined): string {
  if (value == null) return none;
  const shown = value.toFixed(4);
  if (Number(shown) === 0) return "0.0000";
  return value > 0 ? `+${shown}` : shown.replace("-", "−");
}
