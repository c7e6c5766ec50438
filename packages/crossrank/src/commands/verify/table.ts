import type { Verification, VerifiedCase } from "@crossrank/core/verify";
import type { FoundGoldens } from "../../goldens.js";
import { alignColumns, toSingleLine } from "../../text.js";

/** One set of goldens and what came of it. */
export interface Outcome {
  readonly found: FoundGoldens;
  readonly verification: Verification;
}

/** @param files configuration, tokenizer and goldens that were read, by their content. */
export function verificationJson(
  outcomes: readonly Outcome[],
  files: readonly { readonly path: string; readonly sha256: string }[],
): string {
  const value = {
    passed: outcomes.every(({ verification }) => verification.passed),
    files,
    verifications: outcomes.map(({ found, verification }) => {
      const { passed, reason, summary, bound, model, backend, settings, scale, reference, cases } =
        verification;
      const goldens = { source: found.source, note: found.note ?? null, reference };
      const { id, revision = null, artifact } = model;
      const loaded = { id, revision, artifact };
      return { passed, reason, goldens, model: loaded, backend, settings, scale, bound, summary, cases };
    }),
  };
  // JSON has no NaN, and null would say that a case was not scored.
  const named = (_: string, one: unknown): unknown =>
    typeof one === "number" && !Number.isFinite(one) ? String(one) : one;
  return `${JSON.stringify(value, named, 2)}\n`;
}

export function verificationTable(outcomes: readonly Outcome[]): string {
  return outcomes.map(({ found, verification }) => section(found, verification)).join("\n");
}

function section({ source, note }: FoundGoldens, verification: Verification): string {
  const { model, backend, settings, reference, scale, cases, summary, bound, passed, reason } = verification;
  const revision = model.revision === undefined ? "" : ` at ${model.revision.slice(0, 12)}`;
  const versions = Object.entries(reference.versions ?? {}).map((version) => version.join(" "));
  const facts = [
    ["model", `${model.id}${revision}, ${model.artifact.format} ${model.artifact.dtype}`],
    ["backend", `${backend.name} (${backend.runtime.name} ${backend.runtime.version})`],
    ...Object.entries(settings).map(([name, value]) => [name, value]),
    ["scale", scale],
    ["goldens", source],
    ["reference", [reference.name, reference.dtype, ...versions].join(", ")],
    ...(note === undefined ? [] : [["note", note]]),
  ];
  const { compared, maximum, mean, median } = summary;
  const share = (part: number, of: number, what: string): string => `${part} of ${of} ${what}`;
  const results = [
    [
      "tokens",
      summary.tokensCompared === 0
        ? "not given by the source"
        : share(
            summary.tokensCompared - summary.tokensDifferent,
            summary.tokensCompared,
            "sequences are the same",
          ),
    ],
    [
      "numbers",
      `${share(compared, summary.cases, "cases compared")}${
        maximum === null ? "" : `; |Δ| max ${delta(maximum)}, mean ${delta(mean)}, median ${delta(median)}`
      }`,
    ],
    [
      "order",
      summary.orderAgreement === null
        ? "no two cases lie far enough apart to have one"
        : `${(100 * summary.orderAgreement).toFixed(2)} % of ${summary.orderedPairs} pairs of cases are ordered alike`,
    ],
    ["bound", describeBound(bound)],
  ];
  const aligned = (rows: readonly (readonly string[])[]): string[] =>
    alignColumns(
      rows.map((row) => row.map(toSingleLine)),
      ["left", "left"],
    );
  const lines = [
    ...aligned(facts),
    "",
    ...caseTable(cases),
    "",
    ...aligned(results),
    "",
    `${passed ? "PASS" : "FAIL"}: ${toSingleLine(reason)}.`,
  ];
  return `${lines.join("\n")}\n`;
}

function caseTable(cases: readonly VerifiedCase[]): string[] {
  const modes = new Set(cases.map(({ truncation }) => truncation)).size > 1;
  const measures = new Set(cases.map(({ measure }) => measure));
  const unit = measures.size === 1 ? [...measures][0] : "number";
  const rows = cases.map((one) => [
    toSingleLine(one.document === undefined ? one.name : `${one.name}[${one.document}]`),
    ...(modes ? [one.truncation ?? ""] : []),
    { same: "ok", different: "DIFFER", unknown: "–" }[one.tokens],
    number(one.expected),
    one.refused ? "–" : number(one.actual),
    delta(one.delta),
    remark(one),
  ]);
  return alignColumns(
    [["case", ...(modes ? ["truncation"] : []), "tokens", `expected ${unit}`, "actual", "|Δ|", ""], ...rows],
    ["left", ...(modes ? (["left"] as const) : []), "left", "right", "right", "right", "left"],
  );
}

function remark({ refused, expected, actual, difference }: VerifiedCase): string {
  if (difference !== undefined) {
    const { what, position } = difference;
    const [wanted, found] = [difference.expected, difference.actual].map((value) => value ?? "nothing");
    return `${what}${position === undefined ? "" : `[${position}]`} ${found} instead of ${wanted}`;
  }
  if (refused) return "not scored: an empty query";
  return expected === null && actual === null ? "query too long, as expected" : "";
}

function describeBound({ name, maximum, median, signMargin, order }: Verification["bound"]): string {
  if (maximum !== undefined) return `|Δ| at most ${maximum} (${name})`;
  if (median === undefined) return `none: reported only (${name})`;
  const alike = order && `, ${100 * order.least} % of pairs further apart than ${order.apart} ordered alike`;
  return `median |Δ| at most ${median}${signMargin === undefined ? "" : ", signs stable"}${alike ?? ""} (${name})`;
}

function number(value: number | null): string {
  return value === null ? "–" : value.toFixed(5);
}

/** Differences of float32 and of 4 bits in one notation. */
function delta(value: number | null): string {
  if (value === null) return "–";
  return value === 0 || value >= 1e-3 ? value.toFixed(4) : value.toExponential(1);
}
