import { defaultRankConstant, InvalidInputError, reciprocalRank } from "crossrank";

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

/** @throws {InvalidInputError} */
export function checkFusion(fusion: Fusion): Fusion {
  if (fusion === "none") return fusion;
  if (fusion?.method === "weighted") {
    requireFields(fusion, ["method", "weight"], "fusion");
    const { weight = 0.7 } = fusion;
    if (!(isNumber(weight) && weight >= 0 && weight <= 1)) {
      throw new InvalidInputError("fusion.weight", `must be a number from 0 to 1, not ${shown(weight)}`);
    }
    return { method: "weighted", weight };
  }
  if (fusion?.method !== "rrf") {
    throw new InvalidInputError("fusion", 'must be "none", or have the method "rrf" or "weighted"');
  }
  requireFields(fusion, ["method", "k", "weights"], "fusion");
  const { k = defaultRankConstant, weights: given = {} } = fusion;
  if (!(isNumber(k) && k > 0)) {
    throw new InvalidInputError("fusion.k", `must be a number above 0, not ${shown(k)}`);
  }
  requireFields(given, ["reranker", "vector", "fullText"], "fusion.weights");
  const { reranker = 1, vector = 1, fullText = 1 } = given;
  const weights = { reranker, vector, fullText };
  for (const [name, weight] of Object.entries(weights)) {
    if (!(isNumber(weight) && weight >= 0)) {
      throw new InvalidInputError(
        `fusion.weights.${name}`,
        `must be a number of 0 or more, not ${shown(weight)}`,
      );
    }
  }
  if (reranker + vector + fullText === 0) {
    throw new InvalidInputError("fusion.weights", "are all 0. Give one of them more");
  }
  return { method: "rrf", k, weights };
}

/** A string that looks like a number is none: it would be put beside another, not added. */
function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/** @throws {InvalidInputError} for a field that would be left aside in silence. */
function requireFields(value: object, names: readonly string[], path: string): void {
  const list = `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidInputError(path, `must be an object with ${list}`);
  }
  const [unknown] = Object.entries(value).flatMap(([name, one]) =>
    one === undefined || names.includes(name) ? [] : name,
  );
  if (unknown === undefined) return;
  throw new InvalidInputError(`${path}.${unknown}`, `is not known: there are ${list}`);
}

/** The order of the two searches together, for the candidates before the model has seen them. */
export function firstStage({ vector, fullText }: Places, k: number = defaultRankConstant): number {
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
  const { k = defaultRankConstant, weights: { reranker = 1, vector = 1, fullText = 1 } = {} } = fusion;
  return candidates.map(
    (one) => reranker * term(one.rank, k) + vector * term(one.vector, k) + fullText * term(one.fullText, k),
  );
}

function term(rank: number | undefined, k: number): number {
  return rank === undefined ? 0 : reciprocalRank(rank, k);
}
