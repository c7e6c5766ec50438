import { RerankingInvariantError, type RerankingViolation } from "../errors.js";
import { judge, measure } from "./measures.js";
import { parseMetric } from "./metric-names.js";
import type { Qrels, Run } from "./trec-data.js";

/**
 * Ways in which a run is not an order of its candidates: as many scores as candidates for every query, of the same
 * documents, and so the same recall at the pool's depth. Empty when all is well.
 */
export function rerankingViolations(candidates: Run, run: Run, qrels?: Qrels): readonly RerankingViolation[] {
  const violations: RerankingViolation[] = [];
  const recall = parseMetric("recall");
  for (const query of new Set([...candidates.keys(), ...run.keys()])) {
    const pool = candidates.get(query) ?? new Map<string, number>();
    const scored = run.get(query) ?? new Map<string, number>();
    const missing = [...pool.keys()].filter((document) => !scored.has(document));
    const extra = [...scored.keys()].filter((document) => !pool.has(document));
    if (missing.length > 0) {
      const detail = `${missing.length} of ${pool.size} candidates have no score, e.g. ${JSON.stringify(missing[0])}`;
      violations.push({ query, kind: "missing", detail });
    }
    if (extra.length > 0) {
      const detail = `${extra.length} scored documents are no candidates, e.g. ${JSON.stringify(extra[0])}`;
      violations.push({ query, kind: "extra", detail });
    }
    const judgements = qrels?.get(query);
    if (judgements === undefined) continue;
    const before = measure(recall, judge(judgements, pool, "float64", 1)).trec;
    const after = measure(recall, judge(judgements, scored, "float64", 1)).trec;
    if (before !== after) {
      violations.push({
        query,
        kind: "recall",
        detail: `recall at pool depth went from ${before} to ${after}`,
      });
    }
  }
  return violations;
}

/** @throws {RerankingInvariantError} when {@link rerankingViolations} finds any. */
export function checkReranking(candidates: Run, run: Run, qrels?: Qrels): void {
  const violations = rerankingViolations(candidates, run, qrels);
  if (violations.length > 0) throw new RerankingInvariantError(violations);
}
