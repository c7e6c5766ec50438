import type { Conversion } from "@crossrank/convert";
import type { ModelFiles } from "@crossrank/core";
import type { Bound } from "@crossrank/core/verify";
import { packagesAmong } from "../../backends.js";
import { alignColumns, formatBytes, toSingleLine } from "../../text.js";
export function conversionJson(model: ModelFiles, done: readonly Conversion[]): string {
  const value = {
    model: { id: model.id, revision: model.revision ?? null },
    output: done[0]?.folder,
    artifacts: done.map(({ provenance, verifications }) => ({
      ...provenance,
      // Case by case here; provenance.json has the sums.
      verifications: verifications.map(({ against, batches, leftOut, verification }) => {
        const { passed, reason, reference, backend, scale, bound, summary, cases } = verification;
        return {
          against,
          batches,
          leftOut,
          passed,
          reason,
          reference,
          backend,
          scale,
          bound,
          summary,
          cases,
        };
      }),
    })),
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

export function conversionTable(model: ModelFiles, output: string, done: readonly Conversion[]): string {
  const revision = model.revision === undefined ? "" : ` at ${model.revision.slice(0, 12)}`;
  const weights = done[0]?.provenance.source.files ?? [];
  const size = formatBytes(weights.reduce((sum, file) => sum + file.size, 0));
  const facts = [
    ["model", `${model.id}${revision}, ${weights.map(({ path }) => path).join(", ")} (${size})`],
    ["output", output],
  ];
  const judges = done.flatMap(({ verifications }) =>
    verifications.map(({ verification }) => verification.backend.name),
  );
  const isOneJudge = new Set(judges).size <= 1;
  const rows = done.flatMap(({ provenance, verifications }) => {
    const bytes = provenance.files.reduce((sum, file) => sum + file.size, 0);
    const own = [
      artifactName(provenance.files.map(({ path }) => path)),
      provenance.dtype,
      formatBytes(bytes),
    ];
    if (verifications.length === 0) return [[...own, "nothing: not verified", "", "", "", ""]];
    return verifications.map(({ against, batches, leftOut = 0, verification }, index) => {
      const { summary, bound, backend } = verification;
      const held = [
        against === "source" ? "its weights" : against,
        ...(isOneJudge ? [] : [backend.name]),
        ...(batches === undefined ? [] : [batches]),
      ];
      return [
        ...(index === 0 ? own : ["", "", ""]),
        held.join(", "),
        leftOut === 0 ? String(summary.compared) : `${summary.compared} of ${summary.cases + leftOut}`,
        delta(summary.maximum),
        delta(summary.median),
        describeBound(bound),
      ];
    });
  });
  const heading = ["artifact", "dtype", "size", "held against", "cases", "max |Δ|", "median |Δ|", "bound"];
  const lines = [
    ...alignColumns(
      facts.map((row) => row.map(toSingleLine)),
      ["left", "left"],
    ),
    "",
    ...alignColumns(
      [heading, ...rows.map((row) => row.map(toSingleLine))],
      ["left", "left", "right", "left", "right", "right", "right", "left"],
    ),
  ];
  return `${lines.join("\n")}\n`;
}

/** The main file, or the packages that the files lie in. */
function artifactName(paths: readonly string[]): string {
  const packages = packagesAmong(paths);
  return packages.length > 0 ? packages.join(", ") : (paths[0] ?? "");
}

function describeBound({ maximum, median, signMargin, order }: Bound): string {
  if (maximum !== undefined) return `max ${maximum}`;
  if (median === undefined) return "none: reported";
  const alike = order === undefined ? "" : `, ${100 * order.least} % ordered alike`;
  return `median ${median}${signMargin === undefined ? "" : ", signs stable"}${alike}`;
}

function delta(value: number | null): string {
  if (value === null) return "–";
  return value === 0 || value >= 1e-3 ? value.toFixed(4) : value.toExponential(1);
}
