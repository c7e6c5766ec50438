// What `import … from "crossrank"` gives: rerankers, and what a crossrank.config.ts needs.
export { BackendNotInstalledError, RuntimeStartError } from "@crossrank/backend-kit";
export type {
  Backend,
  Calibration,
  FallbackReranker,
  FusedDocument,
  FusionEntry,
  FusionList,
  FusionOptions,
  LongDocumentSettings,
  LongDocuments,
  MemoryScoreCache,
  MemoryScoreCacheOptions,
  ModelFiles,
  RelevantSpan,
  Reranker,
  RerankManyResult,
  RerankResult,
  ScoreCache,
  ScoreResult,
  TimeBudget,
} from "@crossrank/core";
export {
  CalibrationError,
  CrossrankError,
  createMemoryScoreCache,
  DisposedError,
  DrainingError,
  defaultRankConstant,
  fuse,
  InvalidInputError,
  reciprocalRank,
  requireKnownOptions,
} from "@crossrank/core";
export { DocumentNotScoredError, requireScore, toUnitScore } from "./adapter-scores.js";
export type {
  AutoConversionOptions,
  AutoConversionProgress,
  ConvertedArtifact,
} from "./auto-conversion.js";
export {
  BackendModuleError,
  BackendUnavailableError,
  UnknownBackendError,
} from "./backend-errors.js";
export * from "./config/index.js";
export { NotConvertedError } from "./conversion-errors.js";
export {
  type AdapterNames,
  type LazyReranker,
  type LazyRerankerOptions,
  lazyReranker,
  type RerankerSource,
  requireAdapterOptions,
} from "./lazy-reranker.js";
export type { TakenBase } from "./model-origin.js";
export type { ModelSourceOptions } from "./model-source.js";
export {
  type OpenFallbackOptions,
  type OpenRerankerOptions,
  openReranker,
  type RunOptions,
  type VariantOptions,
} from "./open-reranker.js";
export {
  CardError,
  type EvidencePaths,
  type PlanPublicationOptions,
  type Publication,
  type PublicationPlan,
  type PublishModelOptions,
  PublishRefusedError,
  planPublication,
  publishModel,
  type WriteCardOptions,
  type WrittenCard,
  writeCard,
} from "./publishing.js";
export {
  type ScoreCallOptions,
  ScoreJobError,
  type ScoreJobProblem,
  type ScorePairsOptions,
  type ScorePairsProgress,
  type ScoreSummary,
  scorePairs,
} from "./score/index.js";
