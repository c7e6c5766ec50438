// Ratios of processor time in rounds that two had one after the other, and the rule of `.ci/long`.
/** @import { Ratio } from "./types.js" */
import { bootstrapInterval } from "@crossrank/eval";

/** Fewer rounds have no interval. */
export const fewestRounds = 3;

/**
 * How many times the other's processor time one takes: the geometric mean of the rounds that both ran in, with its 95 %
 * interval by bootstrap over the rounds.
 *
 * @param {readonly number[]} times of each round
 * @param {readonly number[]} others of the same rounds
 * @returns {Ratio | undefined} undefined for fewer rounds than have an interval, and for times that are no numbers above 0
 */
export function pairedRatio(times, others) {
  const rounds = Math.min(times.length, others.length);
  const logs = Array.from({ length: rounds }, (_, round) =>
    Math.log((times[round] ?? Number.NaN) / (others[round] ?? Number.NaN)),
  );
  if (rounds < fewestRounds || !logs.every(Number.isFinite)) return undefined;
  const { mean, lower, upper } = bootstrapInterval(logs, { seed: 24 });
  // Of a two-sided interval of 90 % the upper end is the one-sided bound of 95 %.
  const { upper: upperBound } = bootstrapInterval(logs, { seed: 24, level: 0.9 });
  return {
    value: Math.exp(mean),
    lower: Math.exp(lower),
    upper: Math.exp(upper),
    upperBound: Math.exp(upperBound),
    rounds,
  };
}

/** Of plain onnxruntime's processor time over crossrank's: below this crossrank is surely slower by more than a tenth. */
export const leastRatio = 0.9;

/**
 * The gate: it fails where even the upper 95 % bound of plain onnxruntime's processor time over crossrank's is below
 * {@link leastRatio}, and where nothing was measured that could be judged.
 *
 * @param {Ratio | undefined} ratio
 * @returns {{ passed: boolean, sentence: string }}
 */
export function judgePlain(ratio) {
  if (ratio === undefined) {
    return {
      passed: false,
      sentence: `nothing to judge: it needs ${fewestRounds} rounds with processor time of both`,
    };
  }
  const { value, upperBound, rounds } = ratio;
  const passed = upperBound >= leastRatio;
  const said = `plain onnxruntime takes ${value.toFixed(3)} × crossrank's processor time (upper 95 % bound ${upperBound.toFixed(3)}, ${rounds} rounds)`;
  return {
    passed,
    sentence: passed
      ? `${said}, and may take as little as ${leastRatio} ×`
      : `${said}: below ${leastRatio} × crossrank costs more than it may`,
  };
}
