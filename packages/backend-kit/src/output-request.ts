import { InvalidInputError, type OutputRequest } from "@crossrank/core";

/** @throws {InvalidInputError} when an output that is about tokens is asked for without their ids. */
export function requireTokens({ kinds, tokens = [] }: OutputRequest): void {
  const needed = kinds.find((kind) => kind === "token-logits" || kind === "marked-states");
  const isUsable = tokens.length > 0 && tokens.every((id) => Number.isInteger(id) && id >= 0);
  if (needed !== undefined && !isUsable) {
    throw new InvalidInputError("output.tokens", `must list the token ids that "${needed}" is about`);
  }
}
