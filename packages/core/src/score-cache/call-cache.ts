import type { Capabilities } from "../contract/backend.js";
import type { ModelProfile } from "../contract/model-profile.js";
import type { PairScore } from "../contract/result.js";
import type { CheckedPair } from "../families/family.js";
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
  /** Of the pairs that are to be scored, by position. */
  readonly #keys = new Map<number, string>();
  readonly #truncatedQueries = new Set<number>();
  #hits = 0;
  #failure: unknown;
  #failed = false;

  /** @param session gives the key of everything but the texts. */
  constructor(facts: {
    readonly cache: ScoreCache;
    readonly session: () => Promise<string>;
    readonly profile: Pick<ModelProfile, "family">;
    readonly capabilities: Capabilities;
  }) {
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
    const hits: CacheHit[] = [];
    if (this.#unused !== undefined || pairs.length === 0) return hits;
    await this.#attempt(signal, async () => {
      const { subtle } = globalThis.crypto ?? {};
      if (subtle === undefined) throw new Error("this platform has no sha256 (a page not served securely)");
      const session = await this.#session();
      for (let start = 0; start < pairs.length; start += mostCachedAtOnce) {
        const window = pairs.slice(start, start + mostCachedAtOnce);
        const keys = await Promise.all(window.map((pair) => pairKey(session, pair, subtle)));
        signal?.throwIfAborted();
        const found = await this.#cache.getMany([...new Set(keys)], { signal });
        for (const [index, key] of keys.entries()) {
          const position = start + index;
          const kept: unknown = found.get(key);
          if (kept === undefined) this.#keys.set(position, key);
          else if (!isCachedScore(kept)) throw new Error("it holds something that is no score");
          else hits.push(hitOf(position, kept));
        }
      }
    });
    // Part of the pairs may have been found before the cache failed: none of them is taken.
    if (this.#failed) hits.length = 0;
    this.#hits = hits.length;
    return hits;
  }

  /** That the query of a pair was cut, which its score does not say. */
  noteTruncatedQuery(position: number): void {
    this.#truncatedQueries.add(position);
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
      for (const [position, key] of this.#keys) {
        const score = scores[position];
        if (score === undefined || score.logit === null || score.score === null) continue;
        const { logit, score: own, tokens, truncatedTokens } = score;
        entries.set(key, { logit, score: own, tokens, truncatedTokens, flags: this.#flags(position, score) });
        if (entries.size < mostCachedAtOnce) continue;
        await this.#cache.setMany(entries);
        entries = new Map();
      }
      if (entries.size > 0) await this.#cache.setMany(entries);
    });
  }

  #flags(position: number, { truncatedTokensIsMinimum }: PairScore): number {
    return (
      (truncatedTokensIsMinimum === true ? cachedFlags.truncatedTokensIsMinimum : 0) |
      (this.#truncatedQueries.has(position) ? cachedFlags.queryTruncated : 0)
    );
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

function hitOf(position: number, { logit, score, tokens, truncatedTokens, flags }: CachedScore): CacheHit {
  const isMinimum = (flags & cachedFlags.truncatedTokensIsMinimum) !== 0;
  return {
    position,
    score: {
      ...{ logit, score, tokens, truncatedTokens },
      ...(isMinimum ? { truncatedTokensIsMinimum: true } : {}),
    },
    queryTruncated: (flags & cachedFlags.queryTruncated) !== 0,
  };
}
