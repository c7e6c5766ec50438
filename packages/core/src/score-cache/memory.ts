import { type OptionNames, requireKnownOptions } from "../call/option-names.js";
import { InvalidInputError } from "../contract/errors.js";
import type { CachedScore, ScoreCache } from "./score-cache.js";

export interface MemoryScoreCacheOptions {
  /** Most pairs, from 1. Default 100,000. */
  readonly maxEntries?: number | undefined;
  /** Most memory in bytes, at 256 a pair; at least 256. Default 64 MiB. */
  readonly maxBytes?: number | undefined;
}

/** A score cache that ends with the process. */
export interface MemoryScoreCache extends ScoreCache {
  /** Pairs that are kept now. */
  readonly size: number;
  clear(): void;
}

/** What a pair takes: its key, its numbers, and its place in the order. An estimate from above. */
const bytesOfEntry = 256;

const names: OptionNames<MemoryScoreCacheOptions> = { maxEntries: true, maxBytes: true };

/**
 * A score cache in memory. When it is full the pairs go that were not asked for the longest.
 *
 * @throws {InvalidInputError} when a bound is no number it can keep to.
 */
export function createMemoryScoreCache(options: MemoryScoreCacheOptions = {}): MemoryScoreCache {
  requireKnownOptions(options, names, "createMemoryScoreCache");
  const { maxEntries = 100_000, maxBytes = 64 * 2 ** 20 } = options;
  requireBound(maxEntries, 1, "maxEntries");
  requireBound(maxBytes, bytesOfEntry, "maxBytes");
  const most = Math.min(maxEntries, Math.floor(maxBytes / bytesOfEntry));
  // In the order of use: a Map gives its entries as they were put in.
  const kept = new Map<string, CachedScore>();
  return {
    get size() {
      return kept.size;
    },
    clear() {
      kept.clear();
    },
    async getMany(keys, { signal } = {}) {
      signal?.throwIfAborted();
      const found = new Map<string, CachedScore>();
      for (const key of keys) {
        const score = kept.get(key);
        if (score === undefined) continue;
        kept.delete(key);
        kept.set(key, score);
        found.set(key, score);
      }
      return found;
    },
    async setMany(entries, { signal } = {}) {
      signal?.throwIfAborted();
      for (const [key, { logit, score, tokens, truncatedTokens, flags }] of entries) {
        kept.delete(key);
        // A copy, which the caller cannot change.
        kept.set(key, { logit, score, tokens, truncatedTokens, flags });
      }
      for (const key of kept.keys()) {
        if (kept.size <= most) break;
        kept.delete(key);
      }
    },
  };
}

function requireBound(value: number, least: number, path: string): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new InvalidInputError(path, `must be a whole number from ${least}, not ${String(value)}`);
}
