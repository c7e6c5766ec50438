import { InvalidInputError } from "@crossrank/core";
import { judge, measure } from "../metrics/measures.js";
import { type Metric, parseMetric } from "../metrics/metric-names.js";
import { mean, quantileOfSorted } from "../statistics/summary.js";

/** Text id → vector. All of one length, finite and not zero; they need not be normalised. */
export type VectorTable = ReadonlyMap<string, ArrayLike<number>>;

/** What a bi-encoder finds, with cosines over the whole corpus. */
export interface RetrievalTable {
  /** Share of the gold documents among the first k, mean over queries, by k: 1, 3, 5, 10. Expected value over ties. */
  readonly recall: ReadonlyMap<number, number>;
  /** Mean reciprocal rank of the first gold document, no cutoff. Expected value over ties. */
  readonly mrr: number;
  /** Mean cosine of query and gold document, over all such pairs. */
  readonly meanGoldCosine: number;
  readonly queries: number;
  readonly documents: number;
}

const recallMetrics: readonly Metric[] = [1, 3, 5, 10].map((k) => parseMetric(`recall@${k}`));
const mrrMetric = parseMetric("mrr");

/**
 * Retrieval by cosine.
 * @param facts.gold query id → ids of its right documents, at least one each; queries without an entry are left out.
 * @throws {InvalidInputError} for a missing, zero or non-finite vector, unequal lengths, or no gold.
 */
export function retrievalTable(facts: {
  readonly queries: VectorTable;
  readonly documents: VectorTable;
  readonly gold: ReadonlyMap<string, readonly string[]>;
}): RetrievalTable {
  const queries = normalizeAll("queries", facts.queries);
  const documents = normalizeAll("documents", facts.documents);
  if (facts.gold.size === 0) throw new InvalidInputError("gold", "must name at least one query");
  const goldCosines: number[] = [];
  const recalls = recallMetrics.map((): number[] => []);
  const ranks: number[] = [];
  for (const [query, gold] of facts.gold) {
    const vector = queries.get(query);
    if (vector === undefined)
      throw new InvalidInputError(`queries[${JSON.stringify(query)}]`, "has no vector");
    if (gold.length === 0)
      throw new InvalidInputError(`gold[${JSON.stringify(query)}]`, "must name a document");
    const scores = new Map(
      Array.from(documents, ([document, other]) => [document, dot(vector, other)] as const),
    );
    for (const document of gold) {
      const cosine = scores.get(document);
      if (cosine === undefined) {
        throw new InvalidInputError(`documents[${JSON.stringify(document)}]`, "has no vector");
      }
      goldCosines.push(cosine);
    }
    const ranking = judge(new Map(gold.map((document) => [document, 1])), scores, "float64", 1);
    recallMetrics.forEach((metric, index) => {
      recalls[index]?.push(measure(metric, ranking).expected);
    });
    ranks.push(measure(mrrMetric, ranking).expected);
  }
  return {
    recall: new Map(recallMetrics.map((metric, index) => [metric.cutoff ?? 0, mean(recalls[index] ?? [])])),
    mrr: mean(ranks),
    meanGoldCosine: mean(goldCosines),
    queries: ranks.length,
    documents: documents.size,
  };
}

/** How alike two backends' vectors of the same texts are. Cosines, −1 to 1. */
export interface VectorAgreement {
  readonly mean: number;
  readonly fifthPercentile: number;
  readonly minimum: number;
  /** Text with the least cosine. */
  readonly minimumText: string;
  readonly texts: number;
}

/** @throws {InvalidInputError} unless both tables hold vectors of exactly the same texts. */
export function compareVectors(reference: VectorTable, candidate: VectorTable): VectorAgreement {
  const left = normalizeAll("reference", reference);
  const right = normalizeAll("candidate", candidate);
  if (left.size !== right.size) {
    throw new InvalidInputError("candidate", `has ${right.size} texts, the reference ${left.size}`);
  }
  let minimumText = "";
  let minimum = Number.POSITIVE_INFINITY;
  const cosines = Array.from(left, ([text, vector]) => {
    const other = right.get(text);
    if (other === undefined)
      throw new InvalidInputError(`candidate[${JSON.stringify(text)}]`, "has no vector");
    const cosine = dot(vector, other);
    if (cosine < minimum) {
      minimum = cosine;
      minimumText = text;
    }
    return cosine;
  });
  return {
    mean: mean(cosines),
    fifthPercentile: quantileOfSorted(
      cosines.slice().sort((a, b) => a - b),
      0.05,
    ),
    minimum,
    minimumText,
    texts: cosines.length,
  };
}

function normalizeAll(path: string, table: VectorTable): Map<string, Float64Array> {
  if (table.size === 0) throw new InvalidInputError(path, "must hold at least one vector");
  let length: number | undefined;
  const normalized = new Map<string, Float64Array>();
  for (const [text, values] of table) {
    const place = `${path}[${JSON.stringify(text)}]`;
    const vector = Float64Array.from(values);
    length ??= vector.length;
    if (vector.length !== length) {
      throw new InvalidInputError(place, `has ${vector.length} dimensions, others ${length}`);
    }
    const norm = Math.sqrt(dot(vector, vector));
    if (!Number.isFinite(norm) || norm === 0) {
      throw new InvalidInputError(place, "must be finite and not zero: it has no direction");
    }
    normalized.set(
      text,
      vector.map((value) => value / norm),
    );
  }
  return normalized;
}

function dot(a: Float64Array, b: Float64Array): number {
  if (a.length !== b.length) {
    throw new InvalidInputError("vectors", `differ in length: ${a.length} and ${b.length}`);
  }
  let total = 0;
  for (let index = 0; index < a.length; index++) total += (a[index] ?? 0) * (b[index] ?? 0);
  return total;
}
