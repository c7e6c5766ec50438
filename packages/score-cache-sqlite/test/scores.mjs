// Keys and scores by number, the same in every process.
import { createHash } from "node:crypto";

export function keyOf(number) {
  return createHash("sha256").update(`pair ${number}`).digest("hex");
}

export function scoreOf(number) {
  const logit = number % 97 === 0 ? -0 : Math.tan(number) * 10 ** ((number % 30) - 15);
  return {
    logit,
    score: Math.sin(number),
    tokens: number % 5000,
    truncatedTokens: number % 7,
    flags: number % 4,
  };
}
