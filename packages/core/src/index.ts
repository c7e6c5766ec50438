export * from "./contract/backend.js";
export * from "./contract/errors.js";
export * from "./contract/model-files.js";
export * from "./contract/model-profile.js";
export * from "./contract/result.js";
export * from "./contract/warnings.js";
export {
  createPairEncoder,
  type EncodedSequence,
  type EncodingRules,
  type PairEncoder,
} from "./encode/pair-encoder.js";
export { createTextTokenizer, type TextTokenizer, type TokenizedText } from "./encode/tokenizer.js";
export { type ProfileReading, readProfile } from "./profile/read-profile.js";
export * from "./reranker.js";
export { scaleOf } from "./score/head.js";
