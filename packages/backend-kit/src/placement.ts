import { availableParallelism } from "node:os";

/** How many copies of a model run at once (workers, contexts, sessions), and with how many threads each. */
export interface Placement {
  readonly copies: number;
  readonly threads: number;
}

/**
 * Shares the processor among copies of a model. What was asked for is taken as it is; else there are as many copies as
 * leave each one thread or more, at most `mostCopies`, and each gets an equal share of the threads.
 *
 * @param limits.mostCopies at least 1; 1 where a second copy does not pay (large weights, a GPU).
 * @param limits.mostThreads of each copy; default: no limit.
 * @param limits.cores threads of the processor; default: this machine's.
 */
export function choosePlacement(
  asked: { readonly copies?: number | undefined; readonly threads?: number | undefined },
  limits: {
    readonly mostCopies: number;
    readonly mostThreads?: number | undefined;
    readonly cores?: number | undefined;
  },
): Placement {
  const { mostCopies, mostThreads = Number.POSITIVE_INFINITY, cores = availableParallelism() } = limits;
  const room = Math.floor(cores / (asked.threads ?? 1));
  const copies = asked.copies ?? Math.max(1, Math.min(mostCopies, room));
  const share = Math.max(1, Math.floor(cores / copies));
  return { copies, threads: asked.threads ?? Math.min(mostThreads, share) };
}
