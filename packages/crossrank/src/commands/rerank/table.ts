import type {
  CascadeRerankResult,
  CascadeStage,
  ChunkingProvenance,
  CrossrankWarning,
  RankedDocument,
  RerankResult,
  Scale,
} from "@crossrank/core";
import type { InputDocument } from "../../input.js";
import { baseIn } from "../../model-origin.js";
import {
  alignColumns,
  columnWidths,
  displayScore,
  fitToWidth,
  formatCount,
  toSingleLine,
} from "../../text.js";

export const outputFormats = ["table", "json", "jsonl"] as const;
export type OutputFormat = (typeof outputFormats)[number];

export interface Ranking {
  readonly query: string;
  readonly result: RerankResult<string> | CascadeRerankResult<string>;
  /** In the order that `result`'s indexes mean. */
  readonly documents: readonly InputDocument[];
  readonly returnDocuments: boolean;
}

/** What `--format json` prints; documented in README.md. */
export function formatJson(ranking: Ranking): string {
  const {
    model,
    backend,
    settings,
    scale,
    calibration,
    scoring,
    longDocuments,
    text,
    status,
    belowThreshold,
  } = ranking.result;
  const { warnings, usage } = ranking.result;
  const base = baseIn(model);
  const value = {
    model: {
      ...{ id: model.id, revision: model.revision ?? null, artifact: model.artifact },
      ...(base === undefined ? {} : { base: { ...base, revision: base.revision ?? null } }),
    },
    backend,
    settings,
    scale,
    ...(calibration === undefined ? {} : { calibration }),
    scoring,
    ...(longDocuments === undefined ? {} : { longDocuments }),
    ...(text === undefined ? {} : { text }),
    status,
    ...(belowThreshold === undefined ? {} : { belowThreshold }),
    ...("stages" in ranking.result ? { stages: ranking.result.stages } : {}),
    results: ranking.result.results.map((one) => jsonResult(one, ranking)),
    warnings,
    usage,
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** One result a line, best first. */
export function formatJsonLines(ranking: Ranking): string {
  return ranking.result.results.map((one) => `${JSON.stringify(jsonResult(one, ranking))}\n`).join("");
}

/** For people. `columns` is the terminal's width; `emphasise` makes a heading stand out, or returns it as it is. */
export function formatTable(
  ranking: Ranking,
  terminal: { readonly columns: number; readonly emphasise: (text: string) => string },
): string {
  const { result, documents } = ranking;
  const { model, backend, scale, calibration, scoring, longDocuments, usage, belowThreshold = 0 } = result;
  const revision = model.revision === undefined ? "" : ` at ${model.revision.slice(0, 12)}`;
  const facts = [
    ["query", fitToWidth(ranking.query, Math.max(terminal.columns - "passages  ".length, 12))],
    ["model", `${model.id}${revision}, ${model.artifact.format} ${model.artifact.dtype}`],
    ["backend", `${backend.name} (${backend.runtime.name} ${backend.runtime.version})`],
    ...("stages" in result ? [["cascade", stagesText(result.stages)]] : []),
    ["scale", scaleText(scale, scoring, calibration)],
    ...(longDocuments === undefined ? [] : [["passages", passagesText(longDocuments)]]),
    ...(result.status === "reranked" ? [] : [["status", result.status]]),
  ];
  const lines = alignColumns(
    facts.map((fact) => fact.map(toSingleLine)),
    ["left", "left"],
  );
  if (result.results.length > 0) {
    const [heading = "", ...rows] = tableOf(result.results, scale, documents, terminal.columns);
    lines.push("", terminal.emphasise(heading), ...rows);
    if (result.results.some(isCut)) {
      lines.push("", "* cut to the length that the model reads");
    }
  }
  if (belowThreshold > 0) lines.push("", `${formatCount(belowThreshold)} below the threshold`);
  const seconds = usage.milliseconds.total / 1000;
  const speed =
    documents.length === 0 ? "" : ` (${formatCount(Math.round(documents.length / seconds))} documents/s)`;
  const count = `${formatCount(documents.length)} document${documents.length === 1 ? "" : "s"}`;
  lines.push("", `scored ${count}, ${formatCount(usage.tokens)} tokens, in ${seconds.toFixed(2)} s${speed}`);
  return `${lines.join("\n")}\n`;
}

function scaleText(
  scale: Scale,
  scoring: RerankResult<string>["scoring"],
  calibration: RerankResult<string>["calibration"],
): string {
  if (scoring === "listwise") return `${scale}, comparable within this list only`;
  if (calibration === undefined) return scale;
  const { method, source } = calibration;
  return method === "sigmoid" ? `${scale}, not calibrated` : `${scale}, calibrated by ${method} (${source})`;
}

/** What each stage has scored, the first one first. */
function stagesText(stages: readonly CascadeStage[]): string {
  const told = stages.map(({ model, status, scored }) =>
    status === "not-needed"
      ? `${model.id} was not needed`
      : `${model.id} scored ${formatCount(scored)}${status === "reranked" ? "" : ` (${status})`}`,
  );
  return told.join(", ");
}

function passagesText({ aggregate, top, maxPassages }: ChunkingProvenance): string {
  const how = { max: "the best", "mean-of-top": `the mean of the best ${top}`, first: "the first" }[
    aggregate
  ];
  return `${how} of at most ${formatCount(maxPassages)} a document`;
}

export function formatWarning({ message }: CrossrankWarning): string {
  return `warning: ${toSingleLine(message)}\n`;
}

function jsonResult(one: RankedDocument<string>, { documents, returnDocuments }: Ranking): object {
  return returnDocuments ? { ...one, document: documents[one.index]?.original } : one;
}

/** Heading and rows; the document gets the width that is left. */
function tableOf(
  results: readonly RankedDocument<string>[],
  scale: Scale,
  documents: readonly InputDocument[],
  columns: number,
): string[] {
  // On the other scales the score is the logit.
  const withLogit = scale === "probability";
  const marked = results.some(isCut);
  const cells = results.map((one, position) => [
    String(position + 1),
    String(one.index),
    one.score === null ? "–" : displayScore(one.score, scale),
    ...(withLogit ? [one.logit === null ? "–" : one.logit.toFixed(4)] : []),
    ...("stage" in one ? [one.stage === null ? "–" : String(Number(one.stage) + 1)] : []),
    (one.logit === null ? "–" : String(one.tokens)) + (marked ? (isCut(one) ? "*" : " ") : ""),
  ]);
  const staged = results.some((one) => "stage" in one) ? ["stage"] : [];
  const heading = ["rank", "index", "score", ...(withLogit ? ["logit"] : []), ...staged, "tokens"];
  const widths = columnWidths([heading, ...cells]);
  const left = Math.max(columns - widths.reduce((sum, width) => sum + width + 2, 0), 12);
  const texts = results.map(({ index, queryOverflow, notScored, passages = 1, relevantSpans }) => {
    const reason = queryOverflow ? "[query too long] " : notScored ? "[not scored] " : "";
    const text = documents[index]?.text ?? "";
    const [span] = relevantSpans ?? [];
    // Of a long document that is its passage, and not its beginning.
    const shown =
      span === undefined || passages < 2 ? text : `[at ${span.start}] ${text.slice(span.start, span.end)}`;
    return fitToWidth(reason + shown, left);
  });
  return alignColumns(
    [[...heading, "document"], ...cells.map((row, position) => [...row, texts[position] ?? ""])],
    // Digits, not decimals, are fixed on the probability scale: there the points align on the left.
    [...heading.map((name) => (name === "score" && withLogit ? "left" : "right")), "left"],
  );
}

/** Scored, but not to its end. */
function isCut({ logit, truncatedTokens }: RankedDocument<string>): boolean {
  return logit !== null && truncatedTokens > 0;
}
