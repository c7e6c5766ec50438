export { ScoreJobError, type ScoreJobProblem } from "./errors.js";
export type { ScoreSummary } from "./join-scores.js";
export type { ScoreCallOptions } from "./manifest.js";
export { type ScorePairsOptions, type ScorePairsProgress, scorePairs } from "./score-pairs.js";
