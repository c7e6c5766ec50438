import { CrossrankError } from "@crossrank/core";

/** A score of a run or of a score table that is no finite number. No metric is made from it; trec_eval would make one. */
export class NonFiniteRunScoreError extends CrossrankError<"non-finite-run-score"> {
  static override readonly code = "non-finite-run-score";

  readonly query: string;
  readonly document: string;
  /** As text: `"NaN"`, `"Infinity"`, `"-Infinity"`. */
  readonly value: string;

  constructor(facts: { query: string; document: string; value: number }) {
    super(
      "non-finite-run-score",
      `The score of document ${quote(facts.document)} for query ${quote(facts.query)} is ${facts.value}. ` +
        "Nothing is computed from such a run: find out why the model or the file gave it.",
    );
    this.query = facts.query;
    this.document = facts.document;
    this.value = String(facts.value);
  }
}

/** A document that stands twice under one query, in a run or in the qrels. */
export class DuplicateDocumentError extends CrossrankError<"duplicate-document"> {
  static override readonly code = "duplicate-document";

  readonly query: string;
  readonly document: string;

  constructor(facts: { what: "run" | "qrels"; query: string; document: string }) {
    super(
      "duplicate-document",
      `The ${facts.what} ${facts.what === "run" ? "ranks" : "judge"} document ${quote(facts.document)} twice for query ` +
        `${quote(facts.query)}. Keep one of the rows.`,
    );
    this.query = facts.query;
    this.document = facts.document;
  }
}

/** There are no judgements, for any query or for one of those listed. */
export class EmptyQrelsError extends CrossrankError<"empty-qrels"> {
  static override readonly code = "empty-qrels";

  /** The query without judgements; undefined when there is no query at all. */
  readonly query: string | undefined;

  constructor(query?: string) {
    super(
      "empty-qrels",
      query === undefined
        ? "The qrels hold no query, so there is nothing to measure. Check the file and the split."
        : `The qrels list query ${quote(query)} without any judged document. Remove the query, or judge a document for it.`,
    );
    this.query = query;
  }
}

/** A grade that is no integer. */
export class InvalidGradeError extends CrossrankError<"invalid-grade"> {
  static override readonly code = "invalid-grade";

  readonly query: string;
  readonly document: string;
  readonly value: number;

  constructor(facts: { query: string; document: string; value: number }) {
    super(
      "invalid-grade",
      `The grade of document ${quote(facts.document)} for query ${quote(facts.query)} is ${facts.value}. ` +
        "A grade is an integer, as in TREC qrels.",
    );
    this.query = facts.query;
    this.document = facts.document;
    this.value = facts.value;
  }
}

/** Run and qrels share no query: almost always ids of two different data sets. */
export class NoCommonQueryError extends CrossrankError<"no-common-query"> {
  static override readonly code = "no-common-query";

  /** One query id of each side. */
  readonly judged: string;
  readonly ranked: string | undefined;

  constructor(facts: { judged: string; ranked: string | undefined }) {
    super(
      "no-common-query",
      `No query of the run is in the qrels (which list e.g. ${quote(facts.judged)}; the run ` +
        `${facts.ranked === undefined ? "is empty" : `has e.g. ${quote(facts.ranked)}`}). Check that both are of one data set and split.`,
    );
    this.judged = facts.judged;
    this.ranked = facts.ranked;
  }
}

/** A metric's name that is not known. */
export class UnknownMetricError extends CrossrankError<"unknown-metric"> {
  static override readonly code = "unknown-metric";

  readonly metric: string;
  /** Patterns of names that exist. */
  readonly supported: readonly string[];

  constructor(facts: { metric: string; problem: string; supported: readonly string[] }) {
    super(
      "unknown-metric",
      `${quote(facts.metric)} ${facts.problem}. There is (k a positive integer): ${facts.supported.join(", ")}.`,
    );
    this.metric = facts.metric;
    this.supported = facts.supported;
  }
}

/** Two lists of values per query that are not of the same queries, so that no paired statistic exists. */
export class UnpairedQueriesError extends CrossrankError<"unpaired-queries"> {
  static override readonly code = "unpaired-queries";

  readonly onlyCandidate: readonly string[];
  readonly onlyReference: readonly string[];

  constructor(facts: { onlyCandidate: readonly string[]; onlyReference: readonly string[] }) {
    super(
      "unpaired-queries",
      "A paired comparison needs the same queries on both sides. " +
        `${facts.onlyCandidate.length} are in the candidate alone${examples(facts.onlyCandidate)}, ` +
        `${facts.onlyReference.length} in the reference alone${examples(facts.onlyReference)}. Evaluate both on the same qrels.`,
    );
    this.onlyCandidate = facts.onlyCandidate;
    this.onlyReference = facts.onlyReference;
  }
}

/** One way in which a reranking run is not an order of its candidates. */
export interface RerankingViolation {
  readonly query: string;
  /**
   * `missing`: candidates that have no score; `extra`: scored documents that are no candidates; `recall`: the recall
   * at the pool's depth differs.
   */
  readonly kind: "missing" | "extra" | "recall";
  readonly detail: string;
}

/** A reranking run whose scores are not one a candidate: what it measures is not the reranker. */
export class RerankingInvariantError extends CrossrankError<"reranking-invariant"> {
  static override readonly code = "reranking-invariant";

  readonly violations: readonly RerankingViolation[];

  constructor(violations: readonly RerankingViolation[]) {
    const first = violations[0];
    super(
      "reranking-invariant",
      `The run is not a reranking of its candidates: ${violations.length} ` +
        `${violations.length === 1 ? "violation" : "violations"}` +
        `${first === undefined ? "" : `, first query ${quote(first.query)}: ${first.detail}`}. ` +
        "Score every candidate of every query, and nothing else.",
    );
    this.violations = violations;
  }
}

/** A dtype that no precision class covers, so that no gate is known for it. */
export class UnknownPrecisionError extends CrossrankError<"unknown-precision"> {
  static override readonly code = "unknown-precision";

  readonly dtype: string;
  readonly supported: readonly string[];

  constructor(facts: { dtype: string; supported: readonly string[] }) {
    super(
      "unknown-precision",
      `No gate is known for dtype ${quote(facts.dtype)}. Name its precision class: ${facts.supported.join(", ")}.`,
    );
    this.dtype = facts.dtype;
    this.supported = facts.supported;
  }
}

function quote(text: string): string {
  return JSON.stringify(text);
}

function examples(queries: readonly string[]): string {
  return queries.length === 0 ? "" : ` (e.g. ${quote(queries[0] ?? "")})`;
}
