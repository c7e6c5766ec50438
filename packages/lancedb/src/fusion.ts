import { InvalidInputError } from "crossrank";

/** Reciprocal rank fusion: each list adds `weight / (k + rank)`, the rank counted from 1. */
export interface RankFusion {
  readonly method: "rrf";
  /** Above 0. The greater, the less the first places count. Default 60. */
  readonly k?: number | undefined;
  /** 0 or more each, one of them above. Default 1 each. */
  readonly weights?:
    | {
        readonly reranker?: number | undefined;
        readonly vector?: number | undefined;
        readonly fullText?: number | undefined;
      }
    | undefined;
}

/**
 * `weight · score + (1 − weight) · first`: the model's score from 0 to 1, and the two searches' reciprocal rank fusion
 * (k 60) divided by the greatest of the candidates'.
 */
export interface WeightedFusion {
  readonly method: "weighted";
  /** Of the model's score, 0 to 1. Default 0.7. */
  readonly weight?: number | undefined;
}

/** How the model's ranking is mixed with those of the two searches. `"none"`: the model's score alone. */
export type Fusion = "none" | RankFusion | WeightedFusion;

/** A candidate's places in the two searches, from 1; undefined where a search has not found it. */
export interface Places {
  readonly vector: number | undefined;
  readonly fullText: number | undefined;
}

/** A candidate that the model has scored. */
export interface Scored extends Places {
  /** From 1. */
  readonly rank: number;
  /** As the library gives it. */
  readonly score: number;
  /** 0 to 1. */
  readonly unit: number;
}

const defaultK = 60;

/** @throws {InvalidInputError} */
export function checkFusion(fusion: Fusion): Fusion {
  if (fusion === "none") return fusion;
  if (fusion?.method === "weighted") {
    const { weight = 0.7 } = fusion;
    if (!(weight >= 0 && weight <= 1)) {
      throw new InvalidInputError("fusion.weight", `must lie between 0 and 1, not ${weight}`);
    }
    return { method: "weighted", weight };
  }
  if (fusion?.method !== "rrf") {
    throw new InvalidInputError("fusion", 'must be "none", or have the method "rrf" or "weighted"');
  }
  const { k = defaultK, weights: { reranker = 1, vector = 1, fullText = 1 } = {} } = fusion;
  if (!(k > 0 && k < Number.POSITIVE_INFINITY)) {
    throw new InvalidInputError("fusion.k", `must be a number above 0, not ${k}`);
  }
  const weights = { reranker, vector, fullText };
  for (const [name, weight] of Object.entries(weights)) {
    if (!(weight >= 0 && weight < Number.POSITIVE_INFINITY)) {
      throw new InvalidInputError(`fusion.weights.${name}`, `must be a number of 0 or more, not ${weight}`);
    }
  }
  if (reranker + vector + fullText === 0) {
    throw new InvalidInputError("fusion.weights", "are all 0. Give one of them more");
  }
  return { method: "rrf", k, weights };
}

/** The order of the two searches together, for the candidates before the model has seen them. */
export function firstStage({ vector, fullText }: Places, k: number = defaultK): number {
  return term(vector, k) + term(fullText, k);
}

/** The relevance of each candidate, in their order. */
export function fuse(fusion: Fusion, candidates: readonly Scored[]): number[] {
  if (fusion === "none") return candidates.map(({ score }) => score);
  if (fusion.method === "weighted") {
    const { weight = 0.7 } = fusion;
    const first = candidates.map((one) => firstStage(one));
    const greatest = first.reduce((most, one) => Math.max(most, one), 0);
    return candidates.map(({ unit }, index) => {
      const share = greatest === 0 ? 0 : (first[index] as number) / greatest;
      return weight * unit + (1 - weight) * share;
    });
  }
  const { k = defaultK, weights: { reranker = 1, vector = 1, fullText = 1 } = {} } = fusion;
  return candidates.map(
    (one) => reranker * term(one.rank, k) + vector * term(one.vector, k) + fullText * term(one.fullText, k),
  );
}

function term(rank: number | undefined, k: number): number {
  return rank === undefined ? 0 : 1 / (k + rank);
}
