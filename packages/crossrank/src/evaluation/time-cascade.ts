import type { Pair } from "@crossrank/core";
import type { CallTimes, CascadeCalls, EvaluationSubject } from "@crossrank/eval";
import type { TurnRequest } from "../bench/turn.js";
import { openBenchProcess, type TurnProcess } from "../scoring-process.js";
import { modelTarget } from "./host.js";

export interface CascadeTimingRun {
  /** The large model, and the small one. Both are converted already. */
  readonly subject: EvaluationSubject;
  readonly backend: string;
  readonly small: EvaluationSubject;
  readonly smallBackend: string;
  /** A query's pairs each, two lists or more. */
  readonly lists: readonly (readonly Pair[])[];
  /** Cascades to time; none for the models alone. */
  readonly keeps: readonly number[];
  readonly signal: AbortSignal | undefined;
  readonly onStep: (what: string) => void;
}

/** Pairs of the first call, which is not counted: it makes a session's buffers. */
const warmUpPairs = 8;

/**
 * Whole calls of both models and of cascades, in turns. One process holds both, as a cascade does, so that all turns have
 * the same memory, threads and minute. Who begins changes from query to query.
 */
export async function timeCascade(run: CascadeTimingRun): Promise<CascadeCalls> {
  const { lists, keeps, signal, onStep } = run;
  const target = {
    ...(await modelTarget(run.subject, run.backend)),
    cascade: { first: await modelTarget(run.small, run.smallBackend), keep: 1 },
  };
  const systems: readonly NonNullable<TurnRequest["as"]>[] = [
    "small",
    "large",
    ...keeps.map((keep) => ({ keep })),
  ];
  const times = systems.map(() => ({ wall: [] as number[], processor: [] as number[] }));
  onStep("loading both models");
  const process = await openBenchProcess(target, { signal });
  try {
    const [first = []] = lists;
    for (const as of systems.slice(0, 2)) await turnOf(process, first.slice(0, warmUpPairs), as);
    for (const [round, list] of lists.entries()) {
      onStep(`timing whole calls, ${round + 1} of ${lists.length}`);
      for (let place = 0; place < systems.length; place += 1) {
        signal?.throwIfAborted();
        const index = (place + round) % systems.length;
        const { wall, processor } = await turnOf(process, list, systems[index]);
        times[index]?.wall.push(wall);
        if (processor !== undefined) times[index]?.processor.push(processor);
      }
    }
  } finally {
    await process.close();
  }
  const [small, large, ...cascades] = times.map(
    ({ wall, processor }): CallTimes => ({
      wall,
      processor: processor.length < wall.length ? undefined : processor,
    }),
  ) as [CallTimes, CallTimes, ...CallTimes[]];
  return {
    documents: lists.map(({ length }) => length),
    ...{ small, large },
    cascades: cascades.map((one, index) => ({ ...one, keep: keeps[index] ?? 0 })),
  };
}

async function turnOf(
  process: TurnProcess,
  list: readonly Pair[],
  as: TurnRequest["as"],
): Promise<{ readonly wall: number; readonly processor: number | undefined }> {
  const pairs = list.map(({ query, document }) => ({ query, document: String(document) }));
  const { milliseconds, processorMilliseconds } = await process.turn({ pairs, warmUp: 0, calls: 1, as });
  return { wall: milliseconds[0] ?? 0, processor: processorMilliseconds };
}
