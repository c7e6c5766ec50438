export {
  cascadeHeadline,
  cascadeRows,
  cascadeScope,
  cascadeTimings,
  renderCascadeHtml,
  renderCascadeMarkdown,
  writeCascadeReport,
} from "./cascade/report.js";
export { type CascadeReport, type RunCascadeSweepOptions, runCascadeSweep } from "./cascade/run-sweep.js";
export {
  type CascadeRow,
  type CascadeSweep,
  type CascadeSweepOptions,
  type DocumentCost,
  sweepCascade,
  withCosts,
} from "./cascade/sweep.js";
export type { CallTimes, CascadeCalls, CascadeTiming } from "./cascade/timing.js";
export {
  compareScores,
  logitOf,
  type RankAgreement,
  type ScoreComparison,
  type ScoreTable,
  sigmoid,
  type TopAgreement,
} from "./compare/compare-scores.js";
export {
  compareVectors,
  type RetrievalTable,
  retrievalTable,
  type VectorAgreement,
  type VectorTable,
} from "./compare/compare-vectors.js";
export { type Diagnosis, type DiagnosisKind, diagnose, diagnosisThresholds } from "./compare/diagnosis.js";
export {
  defaultMargin,
  type GateBounds,
  type GateResult,
  gateBounds,
  judgeChange,
  judgeNonInferiority,
  judgeNumerics,
  judgeQuality,
  judgeScores,
  type PrecisionClass,
  precisionClasses,
  precisionClassOf,
  type QualityFacts,
} from "./compare/gates.js";
export { fitLine, type LinearFit } from "./compare/linear-fit.js";
export { kendallTauB, spearman } from "./compare/rank-correlation.js";
export { type Saturation, saturationOf } from "./compare/saturation.js";
export { topOverlap } from "./compare/top-overlap.js";
export * from "./errors.js";
export { cascadeSystem, readCascadeSystem } from "./matrix/cascade-system.js";
export type {
  CascadeEntry,
  CrossrankConfig,
  ExcludeEntry,
  Gates,
  IncludeEntry,
  ModelEntry,
  TaskEntry,
} from "./matrix/config.js";
export { BaselineFileError, MatrixConfigError } from "./matrix/errors.js";
export {
  type EvaluateTaskOptions,
  type EvaluationHost,
  type EvaluationSubject,
  evaluateTask,
} from "./matrix/evaluate-task.js";
export {
  type Matrix,
  type MatrixRules,
  type PlannedCascade,
  type PlannedCell,
  planMatrix,
} from "./matrix/plan-matrix.js";
export { type RunMatrixOptions, runMatrix } from "./matrix/run-matrix.js";
export { matrixOverview, writeMatrixFolder } from "./matrix/write-matrix.js";
export {
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type MetricResult,
  queryValues,
} from "./metrics/evaluate.js";
export type { MetricValue } from "./metrics/measures.js";
export {
  type Metric,
  type MetricKind,
  mtebCutoffs,
  mtebMetrics,
  mtebName,
  parseMetric,
} from "./metrics/metric-names.js";
export { compareBytes, type Ranking, rank, type ScorePrecision, type TieGroup } from "./metrics/ranking.js";
export { checkReranking, rerankingViolations } from "./metrics/reranking-invariants.js";
export { constantRun, createQrels, createRun, type Qrels, type Run } from "./metrics/trec-data.js";
export * from "./report/index.js";
export {
  EvaluationSetupError,
  GateRulesError,
  NonFiniteSystemScoreError,
  ScoreIdentityError,
  ScoreStoreError,
} from "./run/errors.js";
export {
  type GateFile,
  type GateRules,
  judgeSystemScores,
  marginGate,
  readGateFile,
  rulesFor,
} from "./run/gate-rules.js";
export type { EvaluationProgress, ProgressListener } from "./run/progress.js";
export {
  type ComparedSystem,
  type ComparisonReport,
  type RunComparisonOptions,
  runComparison,
} from "./run/run-comparison.js";
export {
  defaultMetrics,
  gateReport,
  type RunEvaluationOptions,
  runEvaluation,
  type SystemSource,
} from "./run/run-evaluation.js";
export {
  createCascadeScorer,
  createScorer,
  describeReranker,
  type Scorer,
  type ScorerDescription,
  type ScorerResult,
  type ScorerStage,
} from "./run/scorer.js";
export {
  bootstrapInterval,
  bootstrapMeans,
  type ConfidenceInterval,
  type NonInferiority,
  nonInferiority,
  type ResamplingOptions,
} from "./statistics/bootstrap.js";
export { queriesNeeded, smallestDetectableDrop } from "./statistics/detectable.js";
export { type PairedDifferences, pairByQuery } from "./statistics/paired.js";
export { createRandom, type RandomGenerator } from "./statistics/random.js";
export { type Ratio, ratioOfRounds } from "./statistics/ratio.js";
export { holm, type SignFlipTest, signFlipTest } from "./statistics/significance.js";
export { mean, quantile, standardDeviation, sum } from "./statistics/summary.js";
export * from "./tasks/index.js";
