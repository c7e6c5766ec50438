import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Scorer } from "@crossrank/eval";
import { nameOfCell, type Timing, type TimingRequest } from "./cell.js";
import { type CountTokens, type Pair, pairsOf } from "./texts.js";

/** Runs cells on a model of this process: a cell's texts are made at its first turn, then warm-up, then the counted calls. */
export function createCellTimer(scorer: Scorer): (request: TimingRequest) => Promise<Timing> {
  const made = new Map<string, Pair[]>();
  return async (request) => {
    const name = nameOfCell(request);
    const pairs = made.get(name) ?? (await pairsOf(request, countWith(scorer)));
    made.set(name, pairs);
    return timeCell(scorer, pairs, request);
  };
}

function countWith(scorer: Scorer): CountTokens {
  return async (pair) => {
    const [score] = (await scorer.score([pair], {})).scores;
    if (score === undefined || score.queryOverflow) return { tokens: 0, cut: 1 };
    return { tokens: score.tokens, cut: score.truncatedTokens };
  };
}

async function timeCell(scorer: Scorer, pairs: readonly Pair[], request: TimingRequest): Promise<Timing> {
  for (let call = 0; call < request.warmUp; call += 1) await scorer.score(pairs, {});
  // The histogram's own timer has this resolution in milliseconds, and counts what exceeds it.
  const resolution = 1;
  const delay = monitorEventLoopDelay({ resolution });
  const milliseconds: number[] = [];
  let tokens = 0;
  delay.enable();
  for (let call = 0; call < request.iterations; call += 1) {
    const started = performance.now();
    const { scores } = await scorer.score(pairs, {});
    milliseconds.push(performance.now() - started);
    tokens = 0;
    for (const score of scores) {
      // A call that scored nothing took no time that means anything.
      if (score.logit === null)
        throw new Error(`a pair of the cell (${nameOfCell(request)}) has no score: the bench has no number`);
      tokens += score.tokens;
    }
  }
  delay.disable();
  const longest = delay.count === 0 ? 0 : Math.max(0, delay.max / 1e6 - resolution);
  return { milliseconds, tokens, eventLoopDelay: longest };
}
