export { buildTokenizer, type TokenizerFiles } from "./build-tokenizer.js";
export { TokenizerFormatError } from "./errors.js";
export { tokenizerOfGguf } from "./gguf-tokenizer.js";
export { readSentencePiece, type SentencePiece, type SentencePieceModel } from "./sentence-piece.js";
export { tokenizerClassNames } from "./tokenizer-class.js";
export type { AddedTokenJson, TokenizerJson, TokenizerStep } from "./tokenizer-json.js";
