import { InvalidInputError } from "@crossrank/core";
import { evaluate, queryValues } from "../metrics/evaluate.js";
import { parseMetric } from "../metrics/metric-names.js";
import type { Qrels, Run } from "../metrics/trec-data.js";
import { rankingRun, type ScoredList, type ScoredLists } from "../run/scored-lists.js";
import { bootstrapInterval, nonInferiority } from "../statistics/bootstrap.js";
import { pairByQuery } from "../statistics/paired.js";
import { mean } from "../statistics/summary.js";

/** Milliseconds of processor time, or of anything else that is paid for each document. */
export interface DocumentCost {
  readonly small: number;
  readonly large: number;
}

export interface CascadeSweepOptions {
  readonly qrels: Qrels;
  /** Of the same queries and documents as `large`, in the same order. */
  readonly small: ScoredLists;
  readonly large: ScoredLists;
  /** What cascades are held against, of the same queries. Default: the large model alone. */
  readonly reference?: ScoredLists | undefined;
  /** Numbers of documents that go on to the large model. Default: a grid up to the longest list. */
  readonly keeps?: readonly number[] | undefined;
  /** Default `"ndcg@10"`. */
  readonly metric?: string | undefined;
  /** The loss against the large model alone that is accepted, in the metric's unit, 0 or more. */
  readonly margin: number;
  /** What a document costs, for the times. Default: none are told. */
  readonly milliseconds?: DocumentCost | undefined;
  /** Default 1. */
  readonly seed?: number | undefined;
}

/** A cascade with one `keep`. */
export interface CascadeRow {
  readonly keep: number;
  /** Mean of the metric over all judged queries. */
  readonly value: number;
  /** Mean of cascade − reference, which is the large model alone, paired by query, and its interval of 95 %. */
  readonly change: { readonly mean: number; readonly lower: number; readonly upper: number };
  /** One-sided lower bound of the change, at 95 %. */
  readonly lowerBound: number;
  /** The bound lies above −margin. */
  readonly passed: boolean;
  /** Documents of a query that the small and the large model score, on average. */
  readonly documents: DocumentCost;
  /** Milliseconds of a query; null where no cost was given. */
  readonly milliseconds: number | null;
  /** How many times as fast as the large model alone; null where no cost was given. */
  readonly speedup: number | null;
}

export interface CascadeSweep {
  readonly metric: string;
  readonly margin: number;
  readonly queries: number;
  /** Of the models alone. */
  readonly small: { readonly value: number; readonly milliseconds: number | null };
  readonly large: { readonly value: number; readonly milliseconds: number | null };
  /** By `keep`, ascending. The last one leaves nothing out: there the large model runs alone. */
  readonly rows: readonly CascadeRow[];
  /**
   * The smallest `keep` that passes with every larger one of the sweep. The longest list's length where none smaller
   * does: the large model alone.
   */
  readonly smallestSafe: number;
  /** Milliseconds of a document, as given. */
  readonly documentMilliseconds: DocumentCost | null;
}

const grid = [1, 2, 3, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 100, 150, 200, 300, 500, 750, 1000];

/**
 * What cascades of two models come to at each `keep`, from the scores of both: nothing is scored here. A document's
 * score does not depend on the others of its list, so that this is what `cascade` of core would rank.
 *
 * @throws {InvalidInputError} for fewer than two queries with documents, lists that are not of the same documents, and
 * options that are none.
 */
export function sweepCascade(options: CascadeSweepOptions): CascadeSweep {
  const { qrels, small, large, margin, milliseconds, seed = 1 } = options;
  const metric = parseMetric(options.metric ?? "ndcg@10");
  requireSameDocuments(small, large);
  const longest = [...large.values()].reduce((most, { documents }) => Math.max(most, documents.length), 0);
  const lengths = [...large.values()].map(({ documents }) => documents.length);
  const valuesIn = (run: Run): ReadonlyMap<string, number> => {
    const { results } = evaluate(qrels, run, [metric]);
    return queryValues(results[0] as (typeof results)[number]);
  };
  const valuesOf = (keep: number): ReadonlyMap<string, number> => {
    const lists = new Map(
      [...large].map(([query, list]) => [query, cascaded(small.get(query) as ScoredList, list, keep)]),
    );
    return valuesIn(rankingRun(lists));
  };
  const alone = valuesOf(longest);
  const reference = options.reference === undefined ? alone : valuesIn(rankingRun(options.reference));
  if (reference.size < 2) {
    throw new InvalidInputError(
      "qrels",
      `must judge two queries or more: of ${reference.size} no interval can be told`,
    );
  }
  const least = valuesOf(0);
  const rows = keepsOf(options.keeps, longest).map((keep): CascadeRow => {
    const values = valuesOf(keep);
    const { differences } = pairByQuery(values, reference);
    const { lower, upper, mean: change } = bootstrapInterval(differences, { seed });
    const { lowerBound, passed } = nonInferiority(differences, { seed, margin });
    const documents = {
      small: mean(lengths.map((length) => (length > keep ? length : 0))),
      large: mean(lengths.map((length) => Math.min(length, keep))),
    };
    return {
      keep,
      value: mean([...values.values()]),
      change: { mean: change, lower, upper },
      ...{ lowerBound, passed, documents, milliseconds: null, speedup: null },
    };
  });
  const failed = rows.findLastIndex(({ passed }) => !passed);
  const sweep: CascadeSweep = {
    metric: metric.name,
    margin,
    queries: reference.size,
    small: { value: mean([...least.values()]), milliseconds: null },
    large: { value: mean([...alone.values()]), milliseconds: null },
    rows,
    smallestSafe: rows[failed + 1]?.keep ?? longest,
    documentMilliseconds: null,
  };
  return milliseconds === undefined ? sweep : withCosts(sweep, milliseconds);
}

/** The same sweep with times, from what a document costs. */
export function withCosts(sweep: CascadeSweep, cost: DocumentCost): CascadeSweep {
  const { rows } = sweep;
  const all = rows.at(-1)?.documents.large ?? 0;
  const costOf = ({ small, large }: DocumentCost): number => small * cost.small + large * cost.large;
  const alone = costOf({ small: 0, large: all });
  return {
    ...sweep,
    small: { ...sweep.small, milliseconds: costOf({ small: all, large: 0 }) },
    large: { ...sweep.large, milliseconds: alone },
    rows: rows.map((row) => {
      const milliseconds = costOf(row.documents);
      return { ...row, milliseconds, speedup: alone / milliseconds };
    }),
    documentMilliseconds: cost,
  };
}

/** What a cascade would have scored of a list. */
function cascaded(small: ScoredList, { documents, logits }: ScoredList, keep: number): ScoredList {
  if (documents.length <= keep)
    return { documents, logits, earlier: [new Float64Array(documents.length).fill(Number.NaN)] };
  const kept = new Set(descending([...documents.keys()], small.logits).slice(0, keep));
  return {
    documents,
    logits: logits.map((logit, index) => (kept.has(index) ? logit : Number.NaN)),
    earlier: [small.logits],
  };
}

/** Best first, ties in the caller's order, what has no logit last. */
function descending(indexes: readonly number[], logits: Float64Array): number[] {
  const keyOf = (index: number): number => {
    const logit = logits[index] ?? Number.NaN;
    return Number.isNaN(logit) ? Number.NEGATIVE_INFINITY : logit;
  };
  return [...indexes].sort((a, b) => {
    const [left, right] = [keyOf(a), keyOf(b)];
    return left === right ? a - b : right > left ? 1 : -1;
  });
}

/** @throws {InvalidInputError} */
function keepsOf(given: readonly number[] | undefined, longest: number): readonly number[] {
  for (const [index, keep] of (given ?? []).entries()) {
    if (Number.isSafeInteger(keep) && keep > 0) continue;
    throw new InvalidInputError(`keeps[${index}]`, `must be a whole number above 0, not ${keep}`);
  }
  const below = (given ?? grid).filter((keep) => keep < longest);
  return [...new Set([...below, longest])].sort((a, b) => a - b);
}

/** @throws {InvalidInputError} */
function requireSameDocuments(small: ScoredLists, large: ScoredLists): void {
  const isSame =
    small.size === large.size &&
    [...large].every(([query, { documents }]) => {
      const other = small.get(query)?.documents;
      return (
        other?.length === documents.length && documents.every((document, index) => document === other[index])
      );
    });
  if (!isSame)
    throw new InvalidInputError("small", "has other queries or documents than large: score both on one task");
}
