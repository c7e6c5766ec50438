// @crossrank/core: what an application needs to rerank, and what the author of a backend needs to be one.
export { scoredProfile } from "./call/cache-key.js";
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
export { createFallbackReranker } from "./fallback/fallback-reranker.js";
export { createReranker } from "./load/create-reranker.js";
export { loadModel } from "./load/loaded-model.js";
export type { DeclaredLabels } from "./profile/logits-shape.js";
export { type ProfileReading, readProfile } from "./profile/read-profile.js";
export { scaleOf } from "./score/head.js";
