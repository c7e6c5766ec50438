// @crossrank/core/encoding: texts → token ids, for those who look into a model or build a runtime's reference.
export { createLateEncoder, type LateEncoder } from "../encoding/late-encoder.js";
export {
  createListEncoder,
  type EncodedList,
  type ListDocument,
  type ListEncoder,
} from "../encoding/list-encoder.js";
export {
  createPairEncoder,
  type EncodedQuery,
  type EncodedSequence,
  type EncodingRules,
  type PairEncoder,
} from "../encoding/pair-encoder.js";
export { createTextTokenizer, type TextTokenizer, type TokenizedText } from "../tokenizer/tokenizer.js";
export type { Turns } from "../tokenizer/turns.js";
