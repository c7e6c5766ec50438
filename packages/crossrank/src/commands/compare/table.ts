import type { ComparedSystem, ComparisonReport, RunComparisonOptions } from "@crossrank/eval";
import {
  alignColumns,
  columnWidths,
  displayScore,
  fitToWidth,
  formatCount,
  toSingleLine,
} from "../../text.js";
import { short } from "../eval/table.js";

const none = "–";

/** A comparison for a terminal. */
export function comparisonTable(
  report: ComparisonReport,
  texts: Pick<RunComparisonOptions, "queries" | "documents">,
  terminal: { readonly top: number; readonly columns: number; readonly emphasise: (text: string) => string },
): string {
  const { systems, model } = report;
  const [reference, ...candidates] = systems;
  const revision = model.revision === null ? "" : ` at ${model.revision.slice(0, 12)}`;
  const facts = [
    ["model", `${model.id}${revision}`],
    ...systems.map(({ name, role, model: { artifact, backend } }) => [
      role,
      `${name}, ${artifact.format} ${artifact.dtype} ${artifact.files[0]?.sha256.slice(0, 12) ?? ""}, ${backend.runtime.name} ${backend.runtime.version}`,
    ]),
    ["scale", reference?.model.scale ?? ""],
  ];
  const lines = [...aligned(facts), "", ...pairTable(report, texts, terminal)];
  lines.push("", ...statistics(candidates, terminal.emphasise));
  for (const { name, scores } of candidates) {
    if (scores === null) continue;
    const { kind, sentence, likelyCause } = scores.diagnosis;
    lines.push("", `${name}: ${kind}. ${toSingleLine(sentence)}`, `  ${toSingleLine(likelyCause)}`);
  }
  if (systems.some(({ vectors }) => vectors !== null))
    lines.push("", ...vectorTable(systems, terminal.emphasise));
  const gates = systems.flatMap(({ name, gates: all }) => all.map((gate) => ({ name, gate })));
  if (gates.length > 0) lines.push("");
  for (const { name, gate } of gates) {
    lines.push(`${gate.passed ? "PASS" : "FAIL"}  ${name}: ${toSingleLine(gate.sentence)}`);
  }
  return `${lines.join("\n")}\n`;
}

/** The pairs that differ most, side by side. */
function pairTable(
  { systems, pairs }: ComparisonReport,
  { queries, documents }: Pick<RunComparisonOptions, "queries" | "documents">,
  {
    top,
    columns,
    emphasise,
  }: { readonly top: number; readonly columns: number; readonly emphasise: (text: string) => string },
): string[] {
  // On the other scales the score is the logit.
  const withScore = systems.some(({ model }) => model.scale === "probability");
  const distance = (logits: readonly (number | null)[]): number => {
    const [first, ...others] = logits;
    if (first == null || others.includes(null)) return Number.POSITIVE_INFINITY;
    return Math.max(...others.map((other) => Math.abs((other as number) - first)));
  };
  const shown = pairs
    .map((pair) => ({ ...pair, distance: distance(pair.logits) }))
    .sort((left, right) => right.distance - left.distance || 0)
    .slice(0, top);
  const logit = (value: number | null | undefined): string =>
    value == null ? none : value.toFixed(4).replace("-", "−");
  const heading = [
    ...systems.flatMap(({ name, model }) => [
      `${name} ${model.scale === "cosine" ? "cosine" : "logit"}`,
      ...(withScore ? ["score"] : []),
    ]),
    "|Δ|",
  ];
  const cells = shown.map(({ logits, scores, distance: most }) => [
    ...systems.flatMap(({ model }, index) => {
      const score = scores[index];
      return [
        logit(logits[index]),
        ...(withScore ? [score == null ? none : displayScore(score, model.scale)] : []),
      ];
    }),
    Number.isFinite(most) ? short(most) : none,
  ]);
  const width = columnWidths([heading, ...cells]).reduce((sum, one) => sum + one + 2, 0);
  const left = Math.max(20, columns - width - 2);
  const query = Math.floor(left * 0.4);
  const rows = shown.map((pair, index) => [
    ...(cells[index] ?? []),
    fitToWidth(queries.get(pair.query) ?? pair.query, query),
    fitToWidth(documents.get(pair.document) ?? pair.document, left - query),
  ]);
  const sides = [...heading.map(() => "right" as const), "left" as const, "left" as const];
  const [first = "", ...rest] = alignColumns([[...heading, "query", "document"], ...rows], sides);
  const note =
    shown.length < pairs.length
      ? [`the ${formatCount(shown.length)} that differ most, of ${formatCount(pairs.length)} pairs`]
      : [];
  return [emphasise(first), ...rest, ...note];
}

/** One column a candidate: there are more facts than fit a line. */
function statistics(candidates: readonly ComparedSystem[], emphasise: (text: string) => string): string[] {
  type Scores = NonNullable<ComparedSystem["scores"]>;
  const share = (value: number | null | undefined): string =>
    value == null ? none : `${(100 * value).toFixed(2)} %`;
  const facts: readonly (readonly [string, (scores: Scores) => string])[] = [
    ["pairs", ({ pairs }) => formatCount(pairs)],
    ["only in one of the two", ({ unmatched }) => formatCount(unmatched.reference + unmatched.candidate)],
    ["|Δ logit| max", ({ delta }) => short(delta?.maximum)],
    ["|Δ logit| mean", ({ delta }) => short(delta?.mean)],
    ["|Δ logit| median", ({ delta }) => short(delta?.median)],
    ["|Δ logit| p99", ({ delta }) => short(delta?.p99)],
    ["fit slope", ({ fit }) => short(fit?.slope)],
    ["fit intercept", ({ fit }) => short(fit?.intercept)],
    ["fit r²", ({ fit }) => short(fit?.rSquared)],
    ["Spearman, all pairs", ({ spearman }) => short(spearman.pooled)],
    ["τ-b, all pairs", ({ kendall }) => short(kendall.pooled)],
    ["τ-b, within queries", ({ kendall }) => short(kendall.withinQueries)],
    ["top-1 overlap", ({ top }) => share(top[0]?.overlap)],
    ["top-10 overlap", ({ top }) => share(top[1]?.overlap)],
    ["same sign", ({ signAgreement }) => share(signAgreement)],
    ["distinct, reference", ({ distinctShare }) => share(distinctShare.reference)],
    ["distinct, candidate", ({ distinctShare }) => share(distinctShare.candidate)],
    ["saturated in float32, reference", ({ saturated }) => share(saturated.reference.float32)],
    ["saturated in float32, candidate", ({ saturated }) => share(saturated.candidate.float32)],
  ];
  const rows = facts.map(([name, read]) => [
    name,
    ...candidates.map(({ scores }) => (scores === null ? none : read(scores))),
  ]);
  const table = [["against the reference", ...candidates.map(({ name }) => name)], ...rows];
  const [first = "", ...rest] = alignColumns(
    table.map((row) => row.map(toSingleLine)),
    ["left", ...candidates.map(() => "right" as const)],
  );
  return [emphasise(first), ...rest];
}

function vectorTable(systems: readonly ComparedSystem[], emphasise: (text: string) => string): string[] {
  const recalls = [1, 3, 5, 10];
  const four = (value: number | undefined): string => (value === undefined ? none : value.toFixed(4));
  const six = (value: number | undefined): string => (value === undefined ? none : value.toFixed(6));
  const heading = [
    "vectors",
    ...recalls.map((k) => `Recall@${k}`),
    "MRR",
    "gold cosine",
    "cosine to reference",
    "5th percentile",
  ];
  const rows = systems.map(({ name, retrieval, vectors }) => [
    name,
    ...recalls.map((k) => four(retrieval?.recall[String(k)])),
    four(retrieval?.mrr),
    four(retrieval?.meanGoldCosine),
    six(vectors?.agreement?.mean),
    six(vectors?.agreement?.fifthPercentile),
  ]);
  const [first = "", ...rest] = alignColumns(
    [heading, ...rows].map((row) => row.map(toSingleLine)),
    heading.map((_, column) => (column === 0 ? "left" : "right")),
  );
  const counted = systems.find(({ retrieval }) => retrieval !== null)?.retrieval;
  const note =
    counted == null
      ? ["no right answers are known, so nothing can be found"]
      : [`${formatCount(counted.queries)} queries among ${formatCount(counted.documents)} documents`];
  return [emphasise(first), ...rest, ...note];
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  return alignColumns(
    rows.map((row) => row.map(toSingleLine)),
    ["left", "left"],
  );
}
