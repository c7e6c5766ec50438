import type { Metric } from "./metric-names.js";
import { type Ranking, rank, type ScorePrecision, type TieGroup } from "./ranking.js";

/** A metric of one query, or a mean of such. All 0 to 1. */
export interface MetricValue {
  /** In trec_eval's order, where ties are broken by document id. */
  readonly trec: number;
  /** The mean over all orders of tied documents, each as likely. */
  readonly expected: number;
  /** The least and the most that an order of tied documents can give. */
  readonly worst: number;
  readonly best: number;
}

/** One query, ready to be measured. */
export interface JudgedRanking {
  readonly groups: readonly TieGroup[];
  /** Grades in trec_eval's order; 0 where a document is not judged. */
  readonly grades: readonly number[];
  /** The same with the grades of every tie group descending, and ascending. */
  readonly bestGrades: readonly number[];
  readonly worstGrades: readonly number[];
  /** Positive grades of all judged documents, retrieved or not, descending. */
  readonly ideal: readonly number[];
  /** Judged documents of at least the relevance level, retrieved or not. */
  readonly relevant: number;
  readonly relevanceLevel: number;
}

export function judge(
  judgements: ReadonlyMap<string, number>,
  scores: ReadonlyMap<string, number>,
  precision: ScorePrecision,
  relevanceLevel: number,
): JudgedRanking {
  const ranking = rank(scores, precision);
  const grades = ranking.documents.map((document) => judgements.get(document) ?? 0);
  const judged = [...judgements.values()];
  return {
    groups: ranking.groups,
    grades,
    bestGrades: sortedWithinGroups(grades, ranking, (a, b) => b - a),
    worstGrades: sortedWithinGroups(grades, ranking, (a, b) => a - b),
    ideal: judged.filter((grade) => grade > 0).sort((a, b) => b - a),
    relevant: judged.filter((grade) => grade >= relevanceLevel).length,
    relevanceLevel,
  };
}

/**
 * The metric of one query. trec_eval's definitions: m_ndcg_cut.c (gain = the grade where positive, discount
 * 1 / log2(rank + 1), ideal from all judged documents), m_map_cut.c, m_recip_rank.c, m_recall.c, m_P.c, m_success.c.
 * 0 where nothing is relevant. The relevance level does not touch nDCG, which reads grades.
 *
 * Worst and best are exact: every metric here grows, or stays, when a document moves above one of a lower grade, so
 * that descending grades in every tie group are the best order and ascending ones the worst.
 */
export function measure(metric: Metric, query: JudgedRanking): MetricValue {
  const trec = ordered(metric, query, query.grades);
  if (query.groups.length === query.grades.length) return { trec, expected: trec, worst: trec, best: trec };
  return {
    trec,
    expected: expectedOverTies(metric, query),
    worst: ordered(metric, query, query.worstGrades),
    best: ordered(metric, query, query.bestGrades),
  };
}

/** The metric of one definite order. `grades` (ranked) */
function ordered(metric: Metric, query: JudgedRanking, grades: readonly number[]): number {
  const depth = Math.min(metric.cutoff ?? grades.length, grades.length);
  if (metric.kind === "ndcg") {
    const ideal = idealGain(query, metric.cutoff);
    if (ideal === 0) return 0;
    let gain = 0;
    for (let index = 0; index < depth; index++) {
      const grade = grades[index] ?? 0;
      if (grade > 0) gain += grade / Math.log2(index + 2);
    }
    return gain / ideal;
  }
  let found = 0;
  let precisions = 0;
  for (let index = 0; index < depth; index++) {
    if ((grades[index] ?? 0) < query.relevanceLevel) continue;
    found++;
    if (metric.kind === "mrr") return 1 / (index + 1);
    if (metric.kind === "success") return 1;
    precisions += found / (index + 1);
  }
  return ofCounts(metric, query, found, precisions);
}

/** What the counts of the first ranks, or their expectations, amount to. */
function ofCounts(metric: Metric, query: JudgedRanking, found: number, precisions: number): number {
  if (query.relevant === 0) return 0;
  switch (metric.kind) {
    case "map":
      return precisions / query.relevant;
    case "recall":
      return found / query.relevant;
    case "precision":
      return found / (metric.cutoff ?? query.grades.length);
    default:
      return 0;
  }
}

function idealGain(query: JudgedRanking, cutoff: number | undefined): number {
  let gain = 0;
  const depth = Math.min(cutoff ?? query.ideal.length, query.ideal.length);
  for (let index = 0; index < depth; index++) gain += (query.ideal[index] ?? 0) / Math.log2(index + 2);
  return gain;
}

/**
 * The mean over all orders of tied documents in one pass, after McSherry and Najork, "Computing information retrieval
 * performance measures efficiently in the presence of tied scores" (ECIR 2008). A group of n documents, r of them
 * relevant with gains that sum to S, begins after s documents of which c are relevant.
 *
 * - A position of the group holds any of its documents with the same chance. So each position adds S/n times its
 *   discount to the gain, and r/n to the count of relevant documents: nDCG, precision and recall are linear in these.
 * - Average precision adds, at position i (from 0) of the group, P(relevant there) · E(relevant up to there | relevant
 *   there) / rank = (r/n) · (c + 1 + i·(r−1)/(n−1)) / (s+i+1).
 * - The first relevant document lies in the first group that has one; P(it is at i) is the chance that i documents
 *   drawn without replacement are not relevant, times r/(n−i). Reciprocal rank is the mean of 1/rank under it, and
 *   success the sum of it, up to the cutoff.
 */
function expectedOverTies(metric: Metric, query: JudgedRanking): number {
  const depth = Math.min(metric.cutoff ?? query.grades.length, query.grades.length);
  let gain = 0;
  let found = 0;
  let precisions = 0;
  for (const { start, end } of query.groups) {
    if (start >= depth) break;
    const size = end - start;
    const counted = Math.min(end, depth) - start;
    let gains = 0;
    let relevant = 0;
    for (let index = start; index < end; index++) {
      const grade = query.grades[index] ?? 0;
      if (grade > 0) gains += grade;
      if (grade >= query.relevanceLevel) relevant++;
    }
    if (metric.kind === "ndcg") {
      for (let offset = 0; gains > 0 && offset < counted; offset++) {
        gain += gains / size / Math.log2(start + offset + 2);
      }
      continue;
    }
    if (relevant === 0) continue;
    if (metric.kind === "mrr" || metric.kind === "success") {
      return firstRelevant(metric.kind, start, size, relevant, counted);
    }
    for (let offset = 0; metric.kind === "map" && offset < counted; offset++) {
      const before = size === 1 ? 0 : (offset * (relevant - 1)) / (size - 1);
      precisions += ((relevant / size) * (found + 1 + before)) / (start + offset + 1);
    }
    found += (relevant * counted) / size;
  }
  if (metric.kind === "ndcg") {
    const ideal = idealGain(query, metric.cutoff);
    return ideal === 0 ? 0 : gain / ideal;
  }
  return ofCounts(metric, query, found, precisions);
}

function firstRelevant(
  kind: "mrr" | "success",
  start: number,
  size: number,
  relevant: number,
  counted: number,
): number {
  let value = 0;
  let noneSoFar = 1;
  for (let offset = 0; offset < counted && noneSoFar > 0; offset++) {
    const here = noneSoFar * (relevant / (size - offset));
    value += kind === "mrr" ? here / (start + offset + 1) : here;
    noneSoFar *= (size - relevant - offset) / (size - offset);
  }
  return value;
}

function sortedWithinGroups(
  grades: readonly number[],
  ranking: Ranking,
  compare: (a: number, b: number) => number,
): readonly number[] {
  if (ranking.groups.length === grades.length) return grades;
  return ranking.groups.flatMap(({ start, end }) => grades.slice(start, end).sort(compare));
}
