import { bootstrapInterval, type ResamplingOptions } from "./bootstrap.js";
import { mean } from "./summary.js";

/** How many times as much one thing takes as another, with an interval of 95 % over the rounds. */
export interface Ratio {
  /** Geometric mean over the rounds. */
  readonly value: number;
  readonly lower: number;
  readonly upper: number;
}

/**
 * Of what two took in the same rounds. Two that are level in a round differ there by what else the machine did: the
 * ratio is of each round by itself.
 *
 * @param values milliseconds, one a round, as `base`.
 * @throws {InvalidInputError} for fewer than two rounds.
 */
export function ratioOfRounds(
  values: readonly number[],
  base: readonly number[],
  options: Pick<ResamplingOptions, "seed"> = {},
): Ratio {
  // Ticks of a processor's clock may be none for a call of microseconds.
  const least = 1e-3;
  const logs = values.map((value, round) =>
    Math.log(Math.max(value, least) / Math.max(base[round] ?? least, least)),
  );
  const { lower, upper } = bootstrapInterval(logs, options);
  return { value: Math.exp(mean(logs)), lower: Math.exp(lower), upper: Math.exp(upper) };
}
