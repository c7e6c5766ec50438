import type { Scorer } from "@crossrank/eval";
import { countProcessorTime } from "./processor-time.js";
import type { Pair } from "./texts.js";

/** Some calls of the same pairs, between the turns of other systems. */
export interface TurnRequest {
  readonly pairs: readonly Pair[];
  /** Calls that are run and not counted. */
  readonly warmUp: number;
  /** Calls whose time is told, 1 or more. */
  readonly calls: number;
  /**
   * Of a process that holds a cascade: one of its models alone, or the two with another `keep`. Default: what the process
   * was opened as.
   */
  readonly as?: "small" | "large" | { readonly keep: number } | undefined;
}

export interface Turn {
  /** Wall-clock milliseconds of each counted call. */
  readonly milliseconds: readonly number[];
  /** Milliseconds of processor time that the counted calls took together; undefined where the system does not tell. */
  readonly processorMilliseconds: number | undefined;
}

/** @throws what the scorer throws; an Error where no pair has a score, since that call's time means nothing. */
export async function runTurn(
  scorer: Pick<Scorer, "score">,
  { pairs, warmUp, calls }: Omit<TurnRequest, "as">,
): Promise<Turn> {
  const given = pairs.map(({ query, document }) => ({ query, document }));
  for (let call = 0; call < warmUp; call += 1) await scorer.score(given, {});
  const processorTime = await countProcessorTime();
  const milliseconds: number[] = [];
  for (let call = 0; call < calls; call += 1) {
    const started = performance.now();
    const { scores } = await scorer.score(given, {});
    milliseconds.push(performance.now() - started);
    if (scores.every(({ logit }) => logit === null))
      throw new Error("none of the pairs has a score: their time means nothing");
  }
  return { milliseconds, processorMilliseconds: await processorTime() };
}
