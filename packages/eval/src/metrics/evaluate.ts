import { sum } from "../statistics/summary.js";
import { judge, type MetricValue, measure } from "./measures.js";
import { type Metric, parseMetric } from "./metric-names.js";
import type { ScorePrecision } from "./ranking.js";
import {
  checkCommonQueries,
  checkQrels,
  checkRelevanceLevel,
  checkRun,
  type Qrels,
  type Run,
} from "./trec-data.js";

export interface EvaluateOptions {
  /** Least grade that counts as relevant, for every metric but nDCG. At least 1, the default. */
  readonly relevanceLevel?: number | undefined;
  /** Default `float64`. */
  readonly scorePrecision?: ScorePrecision | undefined;
}

export interface MetricResult {
  readonly metric: Metric;
  /** Over all queries of the qrels, a missing one counting 0 (trec_eval -c). */
  readonly mean: MetricValue;
  /** Over the queries that the run has (trec_eval without -c). For comparison with others' numbers; never gate on it. */
  readonly meanOverPresent: MetricValue;
  /** All queries of the qrels, in their order. */
  readonly queries: ReadonlyMap<string, MetricValue>;
}

export interface Evaluation {
  /** One entry a metric, in the order asked for. */
  readonly results: readonly MetricResult[];
  /** Queries of the qrels: the n of the means. */
  readonly queryCount: number;
  /** Queries of the qrels that the run does not have, or has without a document. They count 0. */
  readonly missingQueries: readonly string[];
  /** Queries of the run that the qrels do not have. They count nothing. */
  readonly unjudgedQueries: readonly string[];
}

const zero: MetricValue = { trec: 0, expected: 0, worst: 0, best: 0 };

/**
 * Measures a run. Each metric is given in trec_eval's order, as the expected value over tie orders, and with the range
 * that ties leave open.
 * @throws {EmptyQrelsError}, {@link InvalidGradeError}, {@link NonFiniteRunScoreError}, {@link NoCommonQueryError},
 *   {@link UnknownMetricError} before anything is computed.
 */
export function evaluate(
  qrels: Qrels,
  run: Run,
  metrics: readonly (Metric | string)[],
  options: EvaluateOptions = {},
): Evaluation {
  const { relevanceLevel = 1, scorePrecision = "float64" } = options;
  const parsed = metrics.map((metric) => (typeof metric === "string" ? parseMetric(metric) : metric));
  checkRelevanceLevel(relevanceLevel);
  checkQrels(qrels);
  checkRun(run);
  checkCommonQueries(qrels, run);

  const tables = parsed.map(() => new Map<string, MetricValue>());
  const missingQueries: string[] = [];
  for (const [query, judgements] of qrels) {
    const scores = run.get(query);
    if (scores === undefined || scores.size === 0) {
      missingQueries.push(query);
      for (const table of tables) table.set(query, zero);
      continue;
    }
    const ranking = judge(judgements, scores, scorePrecision, relevanceLevel);
    parsed.forEach((metric, index) => {
      tables[index]?.set(query, measure(metric, ranking));
    });
  }
  return {
    results: parsed.map((metric, index) => {
      const queries = tables[index] ?? new Map<string, MetricValue>();
      return {
        metric,
        mean: meanOf(queries, qrels.size),
        // Missing queries add 0 to the sums, so that only the count differs.
        meanOverPresent: meanOf(queries, qrels.size - missingQueries.length),
        queries,
      };
    }),
    queryCount: qrels.size,
    missingQueries,
    unjudgedQueries: [...run.keys()].filter((query) => !qrels.has(query)),
  };
}

/** One number a query, ready for the paired statistics. Default: the expected value, which gates are made on. */
export function queryValues(
  result: MetricResult,
  which: keyof MetricValue = "expected",
): ReadonlyMap<string, number> {
  return new Map(Array.from(result.queries, ([query, value]) => [query, value[which]]));
}

function meanOf(queries: ReadonlyMap<string, MetricValue>, count: number): MetricValue {
  const values = [...queries.values()];
  // A run whose common queries are all empty has none present.
  const mean = (which: keyof MetricValue) =>
    count === 0 ? 0 : sum(values.map((value) => value[which])) / count;
  return { trec: mean("trec"), expected: mean("expected"), worst: mean("worst"), best: mean("best") };
}
