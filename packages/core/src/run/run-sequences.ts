import type { LimitFunction } from "p-limit";

import type { BackendSession, RawOutput } from "../contract/backend.js";
import { BackendRunError } from "../contract/errors.js";
import type { EncodedSequence } from "../encoding/pair-encoder.js";
import { derive } from "./abort.js";
import { problemOfOutput } from "./limits.js";
import { fillBatch, planBatches } from "./scheduler.js";

/** What running cost. */
export interface RunCount {
  sequences: number;
  tokens: number;
  paddedTokens: number;
  batches: number;
}

export interface RunSequencesOptions {
  readonly session: Pick<BackendSession, "info" | "capabilities" | "run">;
  readonly paddingId: number;
  /** Shared by all calls of a reranker, so that together they keep to `concurrentRuns`. */
  readonly limit: LimitFunction;
  /** Throws when the call should stop; asked before every batch. */
  readonly check: () => void;
  readonly signal: AbortSignal | undefined;
  readonly count: RunCount;
  /** Called for each sequence as its batch comes back, in no particular order. */
  readonly deliver: (index: number, output: RawOutput, row: number) => void;
  readonly afterBatch: () => void;
}

/**
 * Runs sequences through a session in batches within its declared limits. Rejects with a failure; with the signal's
 * reason only where nothing else failed, so that an abort hides no failure of the runtime.
 */
export async function runSequences(
  sequences: readonly EncodedSequence[],
  options: RunSequencesOptions,
): Promise<void> {
  const { session, limit, check, signal, count, paddingId } = options;
  const plans = planBatches(
    sequences.map((sequence) => sequence.ids.length),
    session.capabilities,
  );
  let next = 0;
  let failed = false;
  // Each lane asks for one batch at a time, so that two calls at once take turns instead of queueing up whole.
  const lane = async (): Promise<void> => {
    for (let plan = plans[next++]; plan !== undefined && !failed; plan = plans[next++]) {
      const current = plan;
      const output = await limit(async () => {
        check();
        // One a batch: what a runtime puts on it goes with the batch.
        const stop = signal === undefined ? undefined : derive(signal);
        try {
          return await session.run(fillBatch(current, sequences, paddingId), { signal: stop?.signal });
        } finally {
          stop?.release();
        }
      });
      const problem = problemOfOutput(output, {
        kind: session.capabilities.output,
        ...{ rows: current.rows, columns: current.columns },
      });
      if (problem !== undefined) throw new BackendRunError({ backend: session.info.name, problem });
      count.batches += 1;
      count.paddedTokens += current.rows * current.columns;
      current.members.forEach((member, row) => {
        count.sequences += 1;
        count.tokens += (sequences[member] as EncodedSequence).ids.length;
        options.deliver(member, output, row);
      });
      options.afterBatch();
    }
  };
  const lanes = Array.from({ length: Math.min(session.capabilities.concurrentRuns, plans.length) }, () =>
    lane().catch((error: unknown) => {
      failed = true;
      throw error;
    }),
  );
  // All lanes come to rest before a failure is reported, so that no run outlives its call.
  const failures = (await Promise.allSettled(lanes)).filter((outcome) => outcome.status === "rejected");
  const isAbort = ({ reason }: PromiseRejectedResult): boolean =>
    signal?.aborted === true && reason === signal.reason;
  const failure = failures.find((one) => !isAbort(one)) ?? failures[0];
  if (failure !== undefined) throw failure.reason;
}
