import { InvalidInputError } from "@crossrank/core";
import {
  DuplicateDocumentError,
  EmptyQrelsError,
  InvalidGradeError,
  NoCommonQueryError,
  NonFiniteRunScoreError,
} from "../errors.js";

/** Judgements: query id → document id → grade, an integer. A grade below 1 is judged and not relevant. */
export type Qrels = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** What a system returned: query id → document id → score, finite, higher is better. The order of the maps says nothing. */
export type Run = ReadonlyMap<string, ReadonlyMap<string, number>>;

/**
 * Qrels from rows, as a file lists them.
 * @throws {DuplicateDocumentError} when a document is judged twice for a query, even with the same grade.
 * @throws {InvalidGradeError}
 */
export function createQrels(
  rows: Iterable<{ readonly query: string; readonly document: string; readonly grade: number }>,
): Qrels {
  const qrels = new Map<string, Map<string, number>>();
  for (const { query, document, grade } of rows) {
    if (!Number.isSafeInteger(grade)) throw new InvalidGradeError({ query, document, value: grade });
    put(qrels, "qrels", query, document, grade);
  }
  return qrels;
}

/**
 * A run from rows, as a file lists them.
 * @throws {DuplicateDocumentError}
 * @throws {NonFiniteRunScoreError}
 */
export function createRun(
  rows: Iterable<{ readonly query: string; readonly document: string; readonly score: number }>,
): Run {
  const run = new Map<string, Map<string, number>>();
  for (const { query, document, score } of rows) {
    if (!Number.isFinite(score)) throw new NonFiniteRunScoreError({ query, document, value: score });
    put(run, "run", query, document, score);
  }
  return run;
}

function put(
  table: Map<string, Map<string, number>>,
  what: "run" | "qrels",
  query: string,
  document: string,
  value: number,
): void {
  let row = table.get(query);
  if (row === undefined) {
    row = new Map();
    table.set(query, row);
  }
  if (row.has(document)) throw new DuplicateDocumentError({ what, query, document });
  row.set(document, value);
}

/**
 * The same scores for every document. Its expected values over tie orders are, exactly, those of a random order; its
 * trec values are those of an order by document id.
 */
export function constantRun(candidates: Run): Run {
  return new Map(
    Array.from(candidates, ([query, row]) => [query, new Map(Array.from(row.keys(), (id) => [id, 0]))]),
  );
}

/** @throws {EmptyQrelsError} @throws {InvalidGradeError} */
export function checkQrels(qrels: Qrels): void {
  if (qrels.size === 0) throw new EmptyQrelsError();
  for (const [query, row] of qrels) {
    if (row.size === 0) throw new EmptyQrelsError(query);
    for (const [document, value] of row) {
      if (!Number.isSafeInteger(value)) throw new InvalidGradeError({ query, document, value });
    }
  }
}

/** @throws {NonFiniteRunScoreError} */
export function checkRun(run: Run): void {
  for (const [query, row] of run) {
    for (const [document, value] of row) {
      if (!Number.isFinite(value)) throw new NonFiniteRunScoreError({ query, document, value });
    }
  }
}

/** @throws {NoCommonQueryError} when not one query of the run is judged. */
export function checkCommonQueries(qrels: Qrels, run: Run): void {
  for (const query of run.keys()) if (qrels.has(query)) return;
  throw new NoCommonQueryError({
    judged: qrels.keys().next().value ?? "",
    ranked: run.keys().next().value,
  });
}

/** @throws {InvalidInputError} unless the level is an integer of at least 1. */
export function checkRelevanceLevel(level: number): void {
  if (!Number.isSafeInteger(level) || level < 1) {
    throw new InvalidInputError("relevanceLevel", `must be an integer of at least 1, found ${level}`);
  }
}
