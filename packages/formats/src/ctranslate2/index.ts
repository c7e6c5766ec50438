export type { ByteSource } from "../byte-source.js";
export {
  CTranslate2FormatError,
  type CTranslate2Header,
  type CTranslate2Type,
  type CTranslate2Variable,
  numberBytes,
  readCTranslate2Header,
  readNumbers,
  variableOf,
} from "./header.js";
export { type IntegerRows, integerRows } from "./integer-rows.js";
export {
  largestVocabulary,
  listVocabulary,
  readVocabulary,
  type SpelledTokenizer,
  vocabularyProblem,
} from "./vocabulary.js";
export {
  type CTranslate2Alias,
  type CTranslate2Scalar,
  type CTranslate2Weight,
  VariableWriteError,
  writeCTranslate2File,
} from "./write.js";
