import { UnknownMetricError } from "../errors.js";

/** `mrr` is the reciprocal rank of the first relevant document, 0 where it lies beyond the cutoff. */
export type MetricKind = "ndcg" | "map" | "mrr" | "recall" | "precision" | "success";

export interface Metric {
  readonly kind: MetricKind;
  /** Ranks that count, at least 1; undefined for all of the run. Always given for precision and success. */
  readonly cutoff: number | undefined;
  /** Our spelling: `ndcg@10`, `map`, `precision@1`. */
  readonly name: string;
}

/** Spellings of a kind, ours first; trec_eval's and MTEB's after it. */
const spellings: Readonly<
  Record<MetricKind, { readonly cut: readonly string[]; readonly whole: readonly string[] }>
> = {
  ndcg: { cut: ["ndcg@k", "ndcg_cut_k", "ndcg_at_k"], whole: ["ndcg"] },
  map: { cut: ["map@k", "map_cut_k", "map_at_k"], whole: ["map"] },
  mrr: { cut: ["mrr@k", "recip_rank@k", "mrr_at_k"], whole: ["mrr", "recip_rank"] },
  recall: { cut: ["recall@k", "recall_k", "recall_at_k"], whole: ["recall"] },
  precision: { cut: ["precision@k", "P@k", "P_k", "precision_at_k"], whole: [] },
  success: { cut: ["success@k", "success_k", "hit_rate_at_k"], whole: [] },
};

const kinds = Object.keys(spellings) as MetricKind[];
const supported = kinds.flatMap((kind) => [...spellings[kind].cut, ...spellings[kind].whole]);

/**
 * Reads a metric's name in our spelling, trec_eval's or MTEB's.
 * @throws {UnknownMetricError} listing what exists.
 */
export function parseMetric(name: string): Metric {
  for (const kind of kinds) {
    if (spellings[kind].whole.includes(name)) return metric(kind, undefined);
    for (const pattern of spellings[kind].cut) {
      const stem = pattern.slice(0, -1);
      if (!name.startsWith(stem)) continue;
      const digits = name.slice(stem.length);
      if (/^[1-9]\d{0,8}$/.test(digits)) return metric(kind, Number(digits));
    }
  }
  const uncut = kinds.some((kind) => kind === name);
  throw new UnknownMetricError({
    metric: name,
    problem: uncut ? "needs a cutoff" : "is no metric",
    supported,
  });
}

function metric(kind: MetricKind, cutoff: number | undefined): Metric {
  return { kind, cutoff, name: cutoff === undefined ? kind : `${kind}@${cutoff}` };
}

/** The cutoffs that MTEB's retrieval and reranking results list. */
export const mtebCutoffs: readonly number[] = [1, 3, 5, 10, 20, 100, 1000];

const mtebStems: Readonly<Record<MetricKind, string>> = {
  ndcg: "ndcg_at_",
  map: "map_at_",
  mrr: "mrr_at_",
  recall: "recall_at_",
  precision: "precision_at_",
  success: "hit_rate_at_",
};

/** Key of the metric in an MTEB result, e.g. `ndcg_at_10`; undefined where MTEB has none: other cutoffs, or no cutoff. */
export function mtebName(metric: Metric): string | undefined {
  if (metric.cutoff === undefined || !mtebCutoffs.includes(metric.cutoff)) return undefined;
  return `${mtebStems[metric.kind]}${metric.cutoff}`;
}

/** All metrics of an MTEB result, ours in MTEB's order of kinds: nDCG, MAP, recall, precision, MRR, hit rate. */
export const mtebMetrics: readonly Metric[] = (
  ["ndcg", "map", "recall", "precision", "mrr", "success"] as const
).flatMap((kind) => mtebCutoffs.map((cutoff) => metric(kind, cutoff)));
