import { compareScores, type RankAgreement, type ScoreComparison } from "../compare/compare-scores.js";
import { diagnose } from "../compare/diagnosis.js";
import type { LinearFit } from "../compare/linear-fit.js";
import type { ScoreReport, SystemModel } from "../report/report-data.js";
import { type ScoredLists, scoreRun } from "./scored-lists.js";

/** Pairs of a scatter plot. */
const sampleSize = 2000;

export interface ScoredSystem {
  readonly name: string;
  readonly lists: ScoredLists;
  readonly model: Pick<SystemModel, "scale" | "activation">;
}

/** The "L2" statistics of two systems' scores of the same pairs, logits (or cosines) as the models gave them. */
export function compareSystems(reference: ScoredSystem, candidate: ScoredSystem): ScoreComparison {
  const tableOf = ({ name, lists, model }: ScoredSystem) => ({
    name,
    // What is stored is the logit, whatever the scale of the score that is made of it.
    scale: model.scale === "cosine" ? ("cosine" as const) : ("logit" as const),
    activation: model.activation,
    values: scoreRun(lists),
  });
  return compareScores({ reference: tableOf(reference), candidate: tableOf(candidate) });
}

/** @param queryIds in the report's order. */
export function scoreReport(
  comparison: ScoreComparison,
  reference: ScoredSystem,
  candidate: ScoredSystem,
  queryIds: readonly string[],
): ScoreReport {
  const { pairs, unmatched, delta, meanShift, spread, fit, spearman, kendall, topOne, topK } = comparison;
  const { kind, sentence, likelyCause, fewPairs } = diagnose(comparison);
  return {
    pairs,
    unmatched,
    delta: delta ?? null,
    meanShift: meanShift ?? null,
    spread: spread ?? null,
    fit: fit === undefined ? null : lineOf(fit),
    spearman: agreementOf(spearman),
    kendall: agreementOf(kendall),
    top: [topOne, topK].map(({ k, overlap, queries }) => ({ k, overlap: overlap ?? null, queries })),
    distinctShare: comparison.distinctShare,
    saturated: comparison.saturated,
    signAgreement: comparison.signAgreement ?? null,
    diagnosis: { kind, sentence, likelyCause, fewPairs },
    sample: samplePairs(reference.lists, candidate.lists, queryIds, pairs),
  };
}

function lineOf({
  slope,
  intercept,
  rSquared,
  residualDeviation,
}: LinearFit): NonNullable<ScoreReport["fit"]> {
  return { slope, intercept, rSquared, residualDeviation };
}

function agreementOf({ pooled, withinQueries }: RankAgreement): ScoreReport["spearman"] {
  return { pooled: pooled ?? null, withinQueries: withinQueries ?? null };
}

/** Every n-th of the pairs that both have. */
function samplePairs(
  reference: ScoredLists,
  candidate: ScoredLists,
  queryIds: readonly string[],
  pairs: number,
): ScoreReport["sample"] {
  const sample = {
    query: [] as number[],
    document: [] as string[],
    reference: [] as number[],
    candidate: [] as number[],
  };
  const step = Math.max(1, Math.ceil(pairs / sampleSize));
  let seen = 0;
  for (const [position, query] of queryIds.entries()) {
    const left = reference.get(query);
    const right = candidate.get(query);
    if (left === undefined || right === undefined) continue;
    // Both score the same candidates, in the same order.
    for (const [index, document] of left.documents.entries()) {
      const [x, y] = [left.logits[index] ?? Number.NaN, right.logits[index] ?? Number.NaN];
      if (Number.isNaN(x) || Number.isNaN(y) || right.documents[index] !== document) continue;
      if (seen % step === 0) {
        sample.query.push(position);
        sample.document.push(document);
        sample.reference.push(x);
        sample.candidate.push(y);
      }
      seen += 1;
    }
  }
  return sample;
}
