export { createMemoryScoreCache, type MemoryScoreCache, type MemoryScoreCacheOptions } from "./memory.js";
export { type CachedScore, isCachedScore, type ScoreCache, type ScoreCacheWarning } from "./score-cache.js";
