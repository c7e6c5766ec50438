/** What is kept of a scored pair: everything that its result is made of beside the texts, exact. */
export interface CachedScore {
  /** Finite, float64. */
  readonly logit: number;
  /** Of the model's own activation; finite, float64. */
  readonly score: number;
  /** Tokens the model was given. */
  readonly tokens: number;
  /** Document tokens that were cut off. */
  readonly truncatedTokens: number;
  /** What else is said of the pair: bits that core alone reads, 0 to 7. */
  readonly flags: number;
}

/** What else a call says of a pair, in its result and in its warnings, as bits. */
export const cachedFlags = {
  truncatedTokensIsMinimum: 1,
  /** In this pair, whose sequence holds both. */
  queryTruncated: 2,
  /** In its own sequence, which all pairs of the query share. */
  sharedQueryTruncated: 4,
} as const;

/** Whether a cache gives what it may: a number that is none, or a count below 0, makes no score. */
export function isCachedScore(value: unknown): value is CachedScore {
  if (typeof value !== "object" || value === null) return false;
  const { logit, score, tokens, truncatedTokens, flags } = value as Readonly<
    Record<keyof CachedScore, unknown>
  >;
  const isCount = (one: unknown): boolean => Number.isSafeInteger(one) && (one as number) >= 0;
  return (
    typeof logit === "number" &&
    Number.isFinite(logit) &&
    typeof score === "number" &&
    Number.isFinite(score) &&
    isCount(tokens) &&
    isCount(truncatedTokens) &&
    isCount(flags) &&
    (flags as number) <= 7
  );
}

/**
 * Scores of pairs, kept from call to call. Keys are 64 lower-case hex digits; the same key means the same number, so that
 * entries never change and may be dropped at any time. A key is made of everything that the score depends on: model,
 * artifact, settings, template, truncation, instruction, query and document.
 */
export interface ScoreCache {
  /**
   * @param keys at most 1,024, each once.
   * @returns what is there, in any order; a key that is not there has no entry.
   */
  getMany(
    keys: readonly string[],
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<ReadonlyMap<string, CachedScore>>;
  /** @param entries at most 1,024. What is there already may stay. */
  setMany(
    entries: ReadonlyMap<string, CachedScore>,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<void>;
}

/** Entries of one call of a cache at most. */
export const mostCachedAtOnce = 1024;

/** A score cache that was given, and no score is taken from it or put into it. */
export interface ScoreCacheWarning {
  readonly code: "score-cache-unused";
  readonly message: string;
  /**
   * - `listwise`: a score depends on the other documents of the call.
   * - `rows-affect-scores`: a score depends on which texts share a batch.
   * - `failed`: the cache threw, gave what is no score, or no answer for a minute. The message says what; the scores were computed.
   */
  readonly reason: "listwise" | "rows-affect-scores" | "failed";
}
