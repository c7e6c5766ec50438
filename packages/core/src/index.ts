export { type CacheKeyFacts, cacheKey, canonical, scoredProfile } from "./call/cache-key.js";
export * from "./contract/backend.js";
export * from "./contract/errors.js";
export * from "./contract/fallback.js";
export { TimeBudgetExceededError, VariantsExhaustedError } from "./contract/fallback-errors.js";
export * from "./contract/loaded-model.js";
export * from "./contract/model-files.js";
export * from "./contract/model-profile.js";
export * from "./contract/reranker.js";
export * from "./contract/result.js";
export * from "./contract/warnings.js";
export {
  createListEncoder,
  type EncodedList,
  type ListDocument,
  type ListEncoder,
} from "./encoding/list-encoder.js";
export {
  createPairEncoder,
  type EncodedQuery,
  type EncodedSequence,
  type EncodingRules,
  type PairEncoder,
} from "./encoding/pair-encoder.js";
export * from "./fallback/fallback-reranker.js";
export { openSafetensors, type Tensor, type TensorFile } from "./files/safetensors.js";
export { createReranker } from "./load/create-reranker.js";
export { loadModel } from "./load/loaded-model.js";
export {
  numericBounds,
  type PrecisionBounds,
  type PrecisionClass,
  precisionClasses,
  precisionClassOf,
} from "./precision.js";
export { type ProfileReading, readProfile } from "./profile/read-profile.js";
export { scaleOf } from "./score/head.js";
export { createTextTokenizer, type TextTokenizer, type TokenizedText } from "./tokenizer/tokenizer.js";
export {
  type GoldenCase,
  type GoldenList,
  type GoldenScore,
  type Goldens,
  readGoldens,
} from "./verify/goldens.js";
export type { Bound, TokenDifference, VerificationSummary, VerifiedCase } from "./verify/judge.js";
export {
  type Verification,
  type VerifyLoadedOptions,
  type VerifyOptions,
  verify,
  verifyLoaded,
} from "./verify/verify.js";
