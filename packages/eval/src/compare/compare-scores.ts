import { InvalidInputError, type Scale } from "@crossrank/core";
import { checkRun, type Run } from "../metrics/trec-data.js";
import { mean, quantileOfSorted, standardDeviation } from "../statistics/summary.js";
import { fitLine, type LinearFit } from "./linear-fit.js";
import { kendallTauB, spearman } from "./rank-correlation.js";
import { type Saturation, saturationOf } from "./saturation.js";
import { topOverlap } from "./top-overlap.js";

/** One system's numbers for pairs of query and document. */
export interface ScoreTable {
  /** For sentences, e.g. `"onnx:int8"`. */
  readonly name: string;
  /**
   * What `values` are. Prefer logits: of a probability the logit is ln(p / (1 − p)), as exact as p was, and none at
   * all where p is 0 or 1.
   */
  readonly scale: Scale;
  readonly values: Run;
  /** How the score that users read is made of a logit. Default `identity`. For the saturated share alone. */
  readonly activation?: "identity" | "sigmoid" | "tanh" | undefined;
}

/** A rank correlation, −1 to 1. */
export interface RankAgreement {
  /** Over all pairs at once; undefined where a side is constant. */
  readonly pooled: number | undefined;
  /**
   * Mean over the queries that have at least two pairs and a reference that is not constant; a constant candidate
   * counts 0 there. Ranking depends on this number. Undefined where there is no such query.
   */
  readonly withinQueries: number | undefined;
}

export interface TopAgreement {
  readonly k: number;
  /** Mean of the overlap, 0 to 1, over the queries with more than k pairs; undefined where there are none. */
  readonly overlap: number | undefined;
  readonly queries: number;
}

/** Two score tables over the same pairs: candidate against reference. Logits are compared, cosines as they are. */
export interface ScoreComparison {
  readonly reference: string;
  readonly candidate: string;
  /** Pairs that both have, and on which every number here rests. */
  readonly pairs: number;
  readonly queries: number;
  /** Pairs that only one of the tables has. Anything but 0 means that the two runs were not alike. */
  readonly unmatched: { readonly reference: number; readonly candidate: number };
  /** Common pairs that have a logit on both sides; fewer than `pairs` where a probability is exactly 0 or 1. */
  readonly finitePairs: number;
  /** |candidate − reference| in logits; undefined without finite pairs. */
  readonly delta:
    | { readonly maximum: number; readonly mean: number; readonly median: number; readonly p99: number }
    | undefined;
  /** Mean of candidate − reference, in logits. */
  readonly meanShift: number | undefined;
  /** Standard deviations of the logits. */
  readonly spread: { readonly reference: number; readonly candidate: number } | undefined;
  /** Candidate's logits on the reference's. */
  readonly fit: LinearFit | undefined;
  /** Candidate's logits on the reference's probabilities: fits when a sigmoid was applied once too often. */
  readonly squashFit: LinearFit | undefined;
  /** Largest |candidate's logit − reference's probability|. */
  readonly squashDelta: number | undefined;
  readonly spearman: RankAgreement;
  readonly kendall: RankAgreement;
  readonly topOne: TopAgreement;
  readonly topK: TopAgreement;
  /** Different values / pairs. */
  readonly distinctShare: { readonly reference: number; readonly candidate: number };
  readonly saturated: { readonly reference: Saturation; readonly candidate: Saturation };
  /** Share of finite pairs whose logits have the same sign; 0 agrees with 0 alone. */
  readonly signAgreement: number | undefined;
}

/**
 * The "L2" statistics of two score tables.
 * @param options.k places of the second overlap, default 10.
 * @throws {NonFiniteRunScoreError} for a number that is not finite.
 * @throws {InvalidInputError} for a probability outside 0 to 1, or one table of cosines and one of anything else.
 */
export function compareScores(
  tables: { readonly reference: ScoreTable; readonly candidate: ScoreTable },
  options: { readonly k?: number | undefined } = {},
): ScoreComparison {
  const { reference, candidate } = tables;
  const { k = 10 } = options;
  if (!Number.isSafeInteger(k) || k < 1) throw new InvalidInputError("k", `must be at least 1, found ${k}`);
  checkTable(reference);
  checkTable(candidate);
  if ((reference.scale === "cosine") !== (candidate.scale === "cosine")) {
    throw new InvalidInputError("candidate.scale", "cosines can be compared with cosines only");
  }
  const byQuery = align(reference.values, candidate.values);
  const left = Float64Array.from(byQuery.flatMap((query) => query.reference));
  const right = Float64Array.from(byQuery.flatMap((query) => query.candidate));

  const finite = finiteLogits(reference.scale, candidate.scale, left, right);
  const differences = finite.candidate.map((value, index) => value - (finite.reference[index] ?? 0));
  const absolute = differences.map(Math.abs).sort();
  const some = absolute.length > 0;
  const probabilities = finite.reference.map(sigmoid);
  const squash = finite.candidate.map((value, index) => Math.abs(value - (probabilities[index] ?? 0)));
  const signs = finite.candidate.filter(
    (value, index) => Math.sign(value) === Math.sign(finite.reference[index] ?? 0),
  );

  return {
    reference: reference.name,
    candidate: candidate.name,
    pairs: left.length,
    queries: byQuery.length,
    unmatched: {
      reference: sizeOf(reference.values) - left.length,
      candidate: sizeOf(candidate.values) - left.length,
    },
    finitePairs: absolute.length,
    delta: some
      ? {
          maximum: absolute.at(-1) ?? 0,
          mean: mean(absolute),
          median: quantileOfSorted(absolute, 0.5),
          p99: quantileOfSorted(absolute, 0.99),
        }
      : undefined,
    meanShift: some ? mean(differences) : undefined,
    spread: some
      ? { reference: standardDeviation(finite.reference), candidate: standardDeviation(finite.candidate) }
      : undefined,
    fit: fitLine(finite.reference, finite.candidate),
    squashFit: fitLine(probabilities, finite.candidate),
    squashDelta: some ? squash.reduce((most, value) => Math.max(most, value), 0) : undefined,
    spearman: agreement(spearman, left, right, byQuery),
    kendall: agreement(kendallTauB, left, right, byQuery),
    topOne: topAgreement(byQuery, 1),
    topK: topAgreement(byQuery, k),
    distinctShare: { reference: distinctShare(left), candidate: distinctShare(right) },
    saturated: { reference: tableSaturation(reference, left), candidate: tableSaturation(candidate, right) },
    signAgreement: some ? signs.length / absolute.length : undefined,
  };
}

/** 1 / (1 + e^−x), without overflow. */
export function sigmoid(logit: number): number {
  return logit >= 0 ? 1 / (1 + Math.exp(-logit)) : Math.exp(logit) / (1 + Math.exp(logit));
}

/** The inverse of {@link sigmoid}; infinite at 0 and 1. */
export function logitOf(probability: number): number {
  return Math.log(probability) - Math.log1p(-probability);
}

interface AlignedQuery {
  readonly reference: readonly number[];
  readonly candidate: readonly number[];
}

/** Common pairs. Their order is of no consequence: ranks are exact, and sums compensated. */
function align(reference: Run, candidate: Run): readonly AlignedQuery[] {
  const queries: AlignedQuery[] = [];
  for (const [query, left] of reference) {
    const right = candidate.get(query);
    if (right === undefined) continue;
    const documents = [...left.keys()].filter((document) => right.has(document));
    if (documents.length === 0) continue;
    queries.push({
      reference: documents.map((document) => left.get(document) ?? 0),
      candidate: documents.map((document) => right.get(document) ?? 0),
    });
  }
  return queries;
}

function finiteLogits(
  referenceScale: Scale,
  candidateScale: Scale,
  reference: Float64Array,
  candidate: Float64Array,
): { readonly reference: Float64Array; readonly candidate: Float64Array } {
  const left: number[] = [];
  const right: number[] = [];
  for (let index = 0; index < reference.length; index++) {
    const x = referenceScale === "probability" ? logitOf(reference[index] ?? 0) : (reference[index] ?? 0);
    const y = candidateScale === "probability" ? logitOf(candidate[index] ?? 0) : (candidate[index] ?? 0);
    if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
    left.push(x);
    right.push(y);
  }
  return { reference: Float64Array.from(left), candidate: Float64Array.from(right) };
}

function agreement(
  correlation: (x: ArrayLike<number>, y: ArrayLike<number>) => number | undefined,
  reference: Float64Array,
  candidate: Float64Array,
  queries: readonly AlignedQuery[],
): RankAgreement {
  const within = queries
    .filter((query) => !isConstant(query.reference))
    .map((query) => correlation(query.reference, query.candidate) ?? 0);
  return {
    pooled: correlation(reference, candidate),
    withinQueries: within.length === 0 ? undefined : mean(within),
  };
}

function topAgreement(queries: readonly AlignedQuery[], k: number): TopAgreement {
  const overlaps = queries
    .map((query) => topOverlap(query.reference, query.candidate, k))
    .filter((overlap) => overlap !== undefined);
  return { k, overlap: overlaps.length === 0 ? undefined : mean(overlaps), queries: overlaps.length };
}

function tableSaturation(table: ScoreTable, values: Float64Array): Saturation {
  if (table.scale === "logit" && table.activation === "sigmoid")
    return saturationOf(values.map(sigmoid), "probability");
  // Of a cosine's range, and its limits.
  if (table.scale === "logit" && table.activation === "tanh")
    return saturationOf(values.map(Math.tanh), "cosine");
  return saturationOf(values, table.scale === "tanh" ? "cosine" : table.scale);
}

function checkTable(table: ScoreTable): void {
  checkRun(table.values);
  if (table.scale !== "probability") return;
  for (const [query, row] of table.values) {
    for (const [document, value] of row) {
      if (value >= 0 && value <= 1) continue;
      throw new InvalidInputError(
        `${table.name}[${JSON.stringify(query)}][${JSON.stringify(document)}]`,
        `must be a probability of 0 to 1, found ${value}; is the table one of logits?`,
      );
    }
  }
}

function distinctShare(values: Float64Array): number {
  return values.length === 0 ? 0 : new Set(values).size / values.length;
}

function isConstant(values: readonly number[]): boolean {
  return values.every((value) => value === values[0]);
}

function sizeOf(run: Run): number {
  let size = 0;
  for (const row of run.values()) size += row.size;
  return size;
}
