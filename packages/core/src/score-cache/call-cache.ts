import type { Capabilities } from "../contract/backend.js";
import type { ModelProfile } from "../contract/model-profile.js";
import type { PairScore } from "../contract/result.js";
import type { CheckedPair } from "../families/family.js";
import { derive, untilAborted } from "../run/abort.js";
import { rowsTogether } from "../run/scheduler.js";
import { pairKey } from "./pair-key.js";
import {
  type CachedScore,
  cachedFlags,
  isCachedScore,
  mostCachedAtOnce,
  type ScoreCache,
  type ScoreCacheWarning,
} from "./score-cache.js";

/** Why the scores of a session are not kept by pair; undefined where they are. */
export function whyNotCached(
  { family }: Pick<ModelProfile, "family">,
  capabilities: Pick<Capabilities, "rowsAffectScores" | "batchSize" | "batchPreference">,
): "listwise" | "rows-affect-scores" | undefined {
  if (family === "listwise") return "listwise";
  return capabilities.rowsAffectScores && rowsTogether(capabilities) > 1 ? "rows-affect-scores" : undefined;
}

/**
 * How long a call waits for one answer of a cache, in milliseconds. Longer than a file of many processes takes, which
 * waits for the others itself.
 */
const patience = 60_000;

/** A pair whose score was kept. */
export interface CacheHit {
  readonly position: number;
  readonly score: PairScore;
  readonly queryTruncated: boolean;
}

/**
 * The score cache as one call uses it: what is kept is taken from it at first, what was scored is given to it at last. A
 * cache that fails costs the call nothing but a warning; no score is taken from it after that.
 */
export class CallCache {
  readonly #cache: ScoreCache;
  readonly #session: () => Promise<string>;
  readonly #unused: ReturnType<typeof whyNotCached>;
  readonly #patience: number;
  /** Of the pairs that are to be scored, by position. */
  readonly #missing = new Map<number, { readonly key: string; readonly query: string }>();
  /** Positions of pairs whose query was cut in their sequence. */
  readonly #cutPairs = new Set<number>();
  /** Queries that were cut in a sequence of their own. */
  readonly #cutQueries = new Set<string>();
  #hits = 0;
  #failure: unknown;
  #failed = false;

  /**
   * @param facts.session gives the key of everything but the texts.
   * @param facts.patience see {@link patience}.
   */
  constructor(facts: {
    readonly cache: ScoreCache;
    readonly session: () => Promise<string>;
    readonly profile: Pick<ModelProfile, "family">;
    readonly capabilities: Capabilities;
    readonly patience?: number | undefined;
  }) {
    this.#patience = facts.patience ?? patience;
    this.#cache = facts.cache;
    this.#session = facts.session;
    this.#unused = whyNotCached(facts.profile, facts.capabilities);
  }

  /** Pairs whose score was kept. */
  get hits(): number {
    return this.#hits;
  }

  get warnings(): readonly ScoreCacheWarning[] {
    const code = "score-cache-unused";
    if (this.#failed) {
      const problem = this.#failure instanceof Error ? this.#failure.message : String(this.#failure);
      return [{ code, reason: "failed", message: `the score cache failed, and was left aside: ${problem}` }];
    }
    if (this.#unused === "listwise") {
      const message = "scores of a listwise model depend on the other documents, and are not kept by pair";
      return [{ code, reason: this.#unused, message }];
    }
    if (this.#unused === "rows-affect-scores") {
      const message = "scores depend on which texts share a batch, and are not kept by pair";
      return [{ code, reason: this.#unused, message }];
    }
    return [];
  }

  /**
   * What is kept of these pairs. The others are to be scored.
   *
   * @throws the signal's reason, once aborted.
   */
  async take(pairs: readonly CheckedPair[], signal: AbortSignal | undefined): Promise<CacheHit[]> {
    const hits: (CacheHit & { readonly sharesQuery: boolean })[] = [];
    if (this.#unused !== undefined || pairs.length === 0) return hits;
    await this.#attempt(signal, async () => {
      const { subtle } = globalThis.crypto ?? {};
      if (subtle === undefined) throw new Error("this platform has no sha256 (a page not served securely)");
      const session = await this.#session();
      for (let start = 0; start < pairs.length; start += mostCachedAtOnce) {
        const window = pairs.slice(start, start + mostCachedAtOnce);
        const keys = await Promise.all(window.map((pair) => pairKey(session, pair, subtle)));
        signal?.throwIfAborted();
        const found = await this.#answer(signal, (options) =>
          this.#cache.getMany([...new Set(keys)], options),
        );
        for (const [index, key] of keys.entries()) {
          const position = start + index;
          const kept: unknown = found.get(key);
          const { query } = window[index] as CheckedPair;
          if (kept === undefined) this.#missing.set(position, { key, query });
          else if (!isCachedScore(kept)) throw new Error("it holds something that is no score");
          else hits.push(hitOf(position, kept));
        }
      }
    });
    // Part of the pairs may have been found before the cache failed: none of them is taken.
    if (this.#failed) hits.length = 0;
    this.#hits = hits.length;
    return this.#tellOnce(hits, pairs);
  }

  /**
   * That a query was cut, which no score says.
   *
   * @param position of the pair in whose sequence it was; undefined where it has a sequence of its own.
   */
  noteTruncatedQuery(query: string, position: number | undefined): void {
    if (position === undefined) this.#cutQueries.add(query);
    else this.#cutPairs.add(position);
  }

  /**
   * Keeps what was scored. Pairs without a score are left out.
   *
   * @param scores of all pairs, by position.
   */
  async keep(scores: readonly (PairScore | undefined)[]): Promise<void> {
    if (this.#unused !== undefined || this.#failed) return;
    await this.#attempt(undefined, async () => {
      let entries = new Map<string, CachedScore>();
      for (const [position, { key, query }] of this.#missing) {
        const score = scores[position];
        if (score === undefined || score.logit === null || score.score === null) continue;
        const { logit, score: own, tokens, truncatedTokens } = score;
        const flags = this.#flags(position, query, score);
        entries.set(key, { logit, score: own, tokens, truncatedTokens, flags });
        if (entries.size < mostCachedAtOnce) continue;
        await this.#set(entries);
        entries = new Map();
      }
      if (entries.size > 0) await this.#set(entries);
    });
  }

  #flags(position: number, query: string, { truncatedTokensIsMinimum }: PairScore): number {
    return (
      (truncatedTokensIsMinimum === true ? cachedFlags.truncatedTokensIsMinimum : 0) |
      (this.#cutPairs.has(position) ? cachedFlags.queryTruncated : 0) |
      (this.#cutQueries.has(query) ? cachedFlags.sharedQueryTruncated : 0)
    );
  }

  /** A query with a sequence of its own is told of once, and by the family where that runs it. */
  #tellOnce(
    hits: readonly (CacheHit & { readonly sharesQuery: boolean })[],
    pairs: readonly CheckedPair[],
  ): CacheHit[] {
    const told = new Set([...this.#missing.values()].map(({ query }) => query));
    return hits.map(({ sharesQuery, ...hit }) => {
      const { query } = pairs[hit.position] as CheckedPair;
      const isNew = sharesQuery && !told.has(query);
      if (isNew) told.add(query);
      return { ...hit, queryTruncated: hit.queryTruncated || isNew };
    });
  }

  #set(entries: ReadonlyMap<string, CachedScore>): Promise<void> {
    return this.#answer(undefined, (options) => this.#cache.setMany(entries, options));
  }

  /** What the cache answers. One that does not answer is told to stop, and fails: the call does not hang with it. */
  async #answer<T>(
    signal: AbortSignal | undefined,
    ask: (options: { readonly signal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const stop = derive(signal);
    const timer = setTimeout(
      () => stop.abort(new Error(`it gave no answer within ${this.#patience / 1000} s`)),
      this.#patience,
    );
    try {
      return await untilAborted(async () => ask({ signal: stop.signal }), stop.signal);
    } finally {
      clearTimeout(timer);
      stop.release();
    }
  }

  async #attempt(signal: AbortSignal | undefined, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      signal?.throwIfAborted();
      this.#failed = true;
      this.#failure = error;
    }
  }
}

function hitOf(
  position: number,
  { logit, score, tokens, truncatedTokens, flags }: CachedScore,
): CacheHit & { readonly sharesQuery: boolean } {
  const isMinimum = (flags & cachedFlags.truncatedTokensIsMinimum) !== 0;
  return {
    position,
    score: {
      ...{ logit, score, tokens, truncatedTokens },
      ...(isMinimum ? { truncatedTokensIsMinimum: true } : {}),
    },
    queryTruncated: (flags & cachedFlags.queryTruncated) !== 0,
    sharesQuery: (flags & cachedFlags.sharedQueryTruncated) !== 0,
  };
}
