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

/** Warnings about the model, which every document of a call has. */
const ofTheModel: readonly string[] = [
  "segment-ids-ignored",
  "rows-affect-scores",
  "artifact-notes",
  "tokenizer-files-disagree",
];

/** Whether it is known which documents of a call its warnings are about. */
export function canBeDivided({ warnings = {} }: CallRow): boolean {
  return Object.keys(warnings).every((code) => ofTheModel.includes(code));
}

/** Sums of the calls that made the scores of a report, whichever run made them. */
export class Tally {
  #all = { documents: 0, tokens: 0, milliseconds: 0 };
  #together = { documents: 0, tokens: 0, milliseconds: 0 };
  readonly #alone: number[] = [];
  readonly #warnings = new Map<string, number>();

  /** @param part what the report covers of the call, where that is not all: the rest is counted in proportion. */
  add(row: CallRow, part: Pick<CallRow, "documents" | "tokens"> = row): void {
    const share = row.documents === 0 ? 1 : part.documents / row.documents;
    for (const sums of row.alone ? [this.#all] : [this.#all, this.#together]) {
      sums.documents += part.documents;
      sums.tokens += part.tokens;
      sums.milliseconds += share * row.milliseconds;
    }
    if (row.alone) this.#alone.push(row.milliseconds);
    for (const [code, count] of Object.entries(row.warnings ?? {})) {
      this.warn({ [code]: Math.round(share * count) });
    }
  }

  warn(warnings: Readonly<Record<string, number>> = {}): void {
    for (const [code, count] of Object.entries(warnings)) {
      if (count > 0) this.#warnings.set(code, (this.#warnings.get(code) ?? 0) + count);
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
  "damaged-scores": (n) =>
    `${n} stored ${n === 1 ? "line was" : "lines were"} not as they had been written, and what they held was scored again.`,
  "rows-affect-scores": () =>
    "Scores depend on which texts share a batch: this artifact is quantised for the batch as a whole.",
  "empty-documents": (n) => `${n} scored documents have no text.`,
  "artifact-notes": () => "The artifact is not what its name says, or was made for another machine.",
  "tokenizer-files-disagree": () => "Files of the model's tokenizer contradict each other.",
  "segment-ids-ignored": () =>
    "The artifact takes no segment ids, although the model's template has a second segment.",
};
