import { createHash } from "node:crypto";

/**
 * Numbers from 0 to below 1, evenly spread, the same for the same text everywhere: xoshiro128** (Blackman and Vigna),
 * started by the text's SHA-256.
 */
export function createUniform(text: string): () => number {
  const digest = createHash("sha256").update(text).digest();
  const state = Uint32Array.from({ length: 4 }, (_, place) => digest.readUInt32LE(4 * place));
  const turned = (bits: number, by: number): number => ((bits << by) | (bits >>> (32 - by))) >>> 0;
  const word = (): number => {
    const [first = 0, second = 0, third = 0, fourth = 0] = state;
    const result = Math.imul(turned(Math.imul(second, 5), 7), 9) >>> 0;
    const shifted = second << 9;
    const next2 = third ^ first;
    const next3 = fourth ^ second;
    state[1] = second ^ next2;
    state[0] = first ^ next3;
    state[2] = next2 ^ shifted;
    state[3] = turned(next3 >>> 0, 11);
    return result;
  };
  // 53 bits: a double's whole precision.
  return () => ((word() >>> 5) * 2 ** 26 + (word() >>> 6)) / 2 ** 53;
}
