import { evaluate, type MetricResult } from "../metrics/evaluate.js";
import { type MetricValue, measure } from "../metrics/measures.js";
import { type Metric, mtebMetrics, mtebName } from "../metrics/metric-names.js";
import { compareBytes } from "../metrics/ranking.js";
import type { Qrels, Run } from "../metrics/trec-data.js";
import { sum } from "../statistics/summary.js";

/** A row of the report before it is compared with others. */
export interface RowMetrics {
  /** One a metric asked for, in order. */
  readonly results: readonly Pick<MetricResult, "metric" | "mean" | "queries">[];
  /** By MTEB's names: in trec_eval's order, and as expected values over ties. */
  readonly mteb: Readonly<Record<string, number>>;
  readonly expectedMteb: Readonly<Record<string, number>>;
  readonly missingQueries: readonly string[];
}

/**
 * MTEB takes nDCG, MAP, recall and precision from pytrec_eval, which is built on trec_eval 9.0.8 and holds scores as
 * float32; MRR and hit rate it computes itself.
 */
const fromTrecEval = mtebMetrics.filter(({ kind }) => kind !== "mrr" && kind !== "success");
const ownOfMteb = mtebMetrics.filter(({ kind }) => kind === "mrr" || kind === "success");

export function measureRun(qrels: Qrels, run: Run, metrics: readonly Metric[]): RowMetrics {
  const evaluation = evaluate(qrels, run, metrics);
  const mteb = [
    ...evaluate(qrels, run, fromTrecEval, { scorePrecision: "float32" }).results,
    ...evaluate(qrels, run, ownOfMteb).results,
  ];
  return {
    results: evaluation.results,
    mteb: byMtebName(mteb.map(({ metric, mean }) => [metric, mean.trec])),
    expectedMteb: byMtebName(mteb.map(({ metric, mean }) => [metric, mean.expected])),
    missingQueries: evaluation.missingQueries,
  };
}

/** The same score for every document of a corpus, without a list of them for each query. */
export function measureConstantCorpus(
  qrels: Qrels,
  ids: Iterable<string>,
  metrics: readonly Metric[],
): RowMetrics {
  const sorted = [...ids].sort((left, right) => compareBytes(right, left));
  const positionOf = new Map(sorted.map((id, position) => [id, position]));
  const tables = new Map<Metric, Map<string, MetricValue>>();
  for (const metric of [...metrics, ...mtebMetrics]) tables.set(metric, new Map());
  for (const [query, judgements] of qrels) {
    const grades = new Array<number>(sorted.length).fill(0);
    const found: number[] = [];
    for (const [document, grade] of judgements) {
      const position = positionOf.get(document);
      if (position === undefined) continue;
      grades[position] = grade;
      found.push(grade);
    }
    const judged = [...judgements.values()];
    const negative = found.filter((grade) => grade < 0).sort((left, right) => right - left);
    const positive = found.filter((grade) => grade > 0).sort((left, right) => right - left);
    const bestGrades = new Array<number>(sorted.length).fill(0);
    positive.forEach((grade, index) => {
      bestGrades[index] = grade;
    });
    negative.forEach((grade, index) => {
      bestGrades[sorted.length - negative.length + index] = grade;
    });
    const ranking = {
      groups: [{ start: 0, end: sorted.length }],
      grades,
      bestGrades,
      worstGrades: bestGrades.slice().reverse(),
      ideal: judged.filter((grade) => grade > 0).sort((left, right) => right - left),
      relevant: judged.filter((grade) => grade >= 1).length,
      relevanceLevel: 1,
    };
    for (const [metric, table] of tables) table.set(query, measure(metric, ranking));
  }
  const meanOf = (metric: Metric): MetricValue => {
    const values = [...(tables.get(metric)?.values() ?? [])];
    const mean = (which: keyof MetricValue) => sum(values.map((value) => value[which])) / values.length;
    return { trec: mean("trec"), expected: mean("expected"), worst: mean("worst"), best: mean("best") };
  };
  return {
    results: metrics.map((metric) => ({
      metric,
      mean: meanOf(metric),
      queries: tables.get(metric) ?? new Map(),
    })),
    mteb: byMtebName(mtebMetrics.map((metric) => [metric, meanOf(metric).trec])),
    expectedMteb: byMtebName(mtebMetrics.map((metric) => [metric, meanOf(metric).expected])),
    missingQueries: [],
  };
}

function byMtebName(values: readonly (readonly [Metric, number])[]): Record<string, number> {
  return Object.fromEntries(
    values.flatMap(([metric, value]) => {
      const name = mtebName(metric);
      return name === undefined ? [] : [[name, value]];
    }),
  );
}
