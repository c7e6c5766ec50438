import type { ScoreResult } from "@crossrank/core";
import type { ReportWarning, SpeedReport } from "../report/report-data.js";

/** One call of a scorer, as it is stored beside what it gave: what was timed survives the process that timed it. */
export interface CallRow {
  readonly documents: number;
  /** Real tokens, padding not counted. */
  readonly tokens: number;
  readonly milliseconds: number;
  /** True where the call held one query alone, so that its time is a query's. */
  readonly alone?: true;
  /** Warning → how many. */
  readonly warnings?: Readonly<Record<string, number>>;
}

export function callRow(facts: {
  readonly documents: number;
  readonly tokens: number;
  readonly milliseconds: number;
  readonly alone: boolean;
  readonly warnings: ScoreResult["warnings"];
}): CallRow {
  const { documents, tokens, alone } = facts;
  const warnings = Object.fromEntries(
    facts.warnings.map((warning) => [warning.code, "count" in warning ? warning.count : documents]),
  );
  return {
    documents,
    tokens,
    milliseconds: Math.round(facts.milliseconds * 1000) / 1000,
    ...(alone ? { alone: true as const } : {}),
    ...(Object.keys(warnings).length === 0 ? {} : { warnings }),
  };
}

/** Sums of the calls of all runs that made a system's scores. */
export class Tally {
  #all = { documents: 0, tokens: 0, milliseconds: 0 };
  #together = { documents: 0, tokens: 0, milliseconds: 0 };
  readonly #alone: number[] = [];
  readonly #warnings = new Map<string, number>();

  add(row: CallRow): void {
    for (const sums of row.alone ? [this.#all] : [this.#all, this.#together]) {
      sums.documents += row.documents;
      sums.tokens += row.tokens;
      sums.milliseconds += row.milliseconds;
    }
    if (row.alone) this.#alone.push(row.milliseconds);
    for (const [code, count] of Object.entries(row.warnings ?? {})) {
      this.#warnings.set(code, (this.#warnings.get(code) ?? 0) + count);
    }
  }

  /** Null where nothing was timed. */
  speed(loadMilliseconds: number | null): SpeedReport | null {
    const timed = this.#together.documents > 0 ? this.#together : this.#all;
    if (timed.documents === 0 || timed.milliseconds === 0) return null;
    const sorted = this.#alone.slice().sort((left, right) => left - right);
    const at = (share: number): number =>
      sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0;
    return {
      documents: timed.documents,
      documentsPerSecond: (1000 * timed.documents) / timed.milliseconds,
      tokensPerSecond: (1000 * timed.tokens) / timed.milliseconds,
      tokens: this.#all.tokens,
      milliseconds: this.#all.milliseconds,
      perQuery: sorted.length === 0 ? null : { p50: at(0.5), p95: at(0.95), queries: sorted.length },
      loadMilliseconds,
    };
  }

  warnings(): ReportWarning[] {
    return Array.from(this.#warnings, ([code, count]) => ({
      code,
      count,
      message: (sentences[code] ?? ((n: number) => `${code}: ${n}`))(count),
    }));
  }
}

const sentences: Readonly<Record<string, (count: number) => string>> = {
  "documents-truncated": (n) => `${n} documents were cut to fit the maximum length.`,
  "query-overflow": (n) => `${n} pairs were not scored, since their query alone is too long; they rank last.`,
  "query-truncated": (n) => `Queries were cut in ${n} sequences.`,
  "ill-formed-unicode": (n) => `${n} texts hold lone surrogates, read as U+FFFD.`,
  "empty-documents": (n) => `${n} scored documents have no text.`,
  "segment-ids-ignored": () =>
    "The artifact takes no segment ids, although the model's template has a second segment.",
};
