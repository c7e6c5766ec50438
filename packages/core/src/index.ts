export * from "./contract/backend.js";
export * from "./contract/errors.js";
export * from "./contract/model-files.js";
export * from "./contract/model-profile.js";
export * from "./contract/result.js";
export * from "./contract/warnings.js";
export {
  createListEncoder,
  type EncodedList,
  type ListDocument,
  type ListEncoder,
} from "./encode/list-encoder.js";
export {
  createPairEncoder,
  type EncodedQuery,
  type EncodedSequence,
  type EncodingRules,
  type PairEncoder,
} from "./encode/pair-encoder.js";
export { createTextTokenizer, type TextTokenizer, type TokenizedText } from "./encode/tokenizer.js";
export { type CacheKeyFacts, cacheKey } from "./fallback/cache-key.js";
export type { TimeBudget } from "./fallback/deadline.js";
export { TimeBudgetExceededError, VariantsExhaustedError } from "./fallback/errors.js";
export * from "./fallback/fallback-reranker.js";
export { type GoldenCase, type GoldenList, type GoldenScore, type Goldens, readGoldens } from "./goldens.js";
export { type ProfileReading, readProfile } from "./profile/read-profile.js";
export * from "./reranker.js";
export { openSafetensors, type Tensor, type TensorFile } from "./safetensors.js";
export { scaleOf } from "./score/head.js";
export type { Embedding } from "./scoring-call.js";
export { type SharedBackend, shareSession, type Verification, type VerifyOptions, verify } from "./verify.js";
export type { Bound, TokenDifference, VerificationSummary, VerifiedCase } from "./verify-judgement.js";
