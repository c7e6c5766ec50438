// @crossrank/eval/scorer: a loaded model as a scorer, and nothing else, for a process that only scores.
export {
  createCascadeScorer,
  createScorer,
  type Scorer,
  type ScorerDescription,
  type ScorerResult,
  type ScorerStage,
} from "../run/scorer.js";
