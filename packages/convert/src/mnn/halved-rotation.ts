import type { ModelDescription } from "../source/description.js";

/**
 * How far rotary positions turn when their frequencies are cut off to half precision, as MNN's converter does.
 *
 * @param tokens of the longest sequence.
 * @returns radians, at most, between two tokens that see each other; 0 without rotary positions.
 */
export function halvedRotation({ layers }: ModelDescription, tokens: number): number {
  let most = 0;
  for (const { attention } of layers) {
    const { positions, headSize, reach } = attention;
    if (positions.kind !== "rotary" && positions.kind !== "scaled-rotary") continue;
    const distance = Math.min(tokens - 1, reach ?? tokens);
    for (let index = 0; index < headSize / 2; index += 1) {
      const frequency =
        positions.kind === "rotary"
          ? positions.theta ** ((-2 * index) / headSize)
          : (positions.frequencies[index] as number);
      most = Math.max(most, distance * (frequency - cutToHalf(frequency)));
    }
  }
  return most;
}

/** Of a number above 0: ten bits behind the first one that is set, and none below 2^-24 (IEEE 754 binary16). */
function cutToHalf(number: number): number {
  const unit = 2 ** Math.max(Math.floor(Math.log2(number)) - 10, -24);
  return Math.floor(number / unit) * unit;
}
