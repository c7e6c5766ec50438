import { UnpairedQueriesError } from "../errors.js";
import { compareBytes } from "../metrics/ranking.js";

/** Differences of two systems, one a query: the unit of every statistic here. */
export interface PairedDifferences {
  /** In the order of their ids' bytes, so that nothing drawn at random depends on the order of a file. */
  readonly queries: readonly string[];
  /** Candidate − reference. */
  readonly differences: Float64Array;
}

/** @throws {UnpairedQueriesError} unless both have exactly the same queries. */
export function pairByQuery(
  candidate: ReadonlyMap<string, number>,
  reference: ReadonlyMap<string, number>,
): PairedDifferences {
  const onlyCandidate = [...candidate.keys()].filter((query) => !reference.has(query));
  const onlyReference = [...reference.keys()].filter((query) => !candidate.has(query));
  if (onlyCandidate.length > 0 || onlyReference.length > 0) {
    throw new UnpairedQueriesError({ onlyCandidate, onlyReference });
  }
  const queries = [...candidate.keys()].sort(compareBytes);
  return {
    queries,
    differences: Float64Array.from(
      queries,
      (query) => (candidate.get(query) ?? 0) - (reference.get(query) ?? 0),
    ),
  };
}
