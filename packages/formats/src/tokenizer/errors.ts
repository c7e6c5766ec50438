/** A tokenizer's files cannot be made into a tokenizer.json that gives the same ids. The message is the reason. */
export class TokenizerFormatError extends Error {
  override readonly name = "TokenizerFormatError";
}
