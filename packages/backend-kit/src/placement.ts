import { availableParallelism } from "node:os";
import { readFreeMemory } from "./free-memory.js";

/** How many copies of a model run at once (workers, contexts, sessions), and with how many threads each. */
export interface Placement {
  readonly copies: number;
  readonly threads: number;
}

/** What copies of a model take, in bytes. */
export interface CopyMemory {
  /** The first copy, with what all share. */
  readonly first: number;
  /** Each further one. */
  readonly further: number;
  /** Bytes that this process may take. Default: {@link readFreeMemory}. */
  readonly free?: number | undefined;
}

/** Of the free memory copies take no more than this: batches, the program itself and its neighbours need some too. */
const share = 0.5;

/**
 * Shares the processor among copies of a model. What was asked for is taken as it is; else there are as many copies as
 * leave each one thread or more, at most `mostCopies`, and no more than half of the free memory holds; each gets an
 * equal share of the threads.
 *
 * @param limits.mostCopies at least 1; 1 where a second copy does not pay (a GPU).
 * @param limits.mostThreads of each copy; default: no limit.
 * @param limits.cores threads of the processor; default: this machine's.
 * @param limits.memory what the copies take. Default: the memory is no limit.
 */
export function choosePlacement(
  asked: { readonly copies?: number | undefined; readonly threads?: number | undefined },
  limits: {
    readonly mostCopies: number;
    readonly mostThreads?: number | undefined;
    readonly cores?: number | undefined;
    readonly memory?: CopyMemory | undefined;
  },
): Placement {
  const {
    mostCopies,
    mostThreads = Number.POSITIVE_INFINITY,
    cores = availableParallelism(),
    memory,
  } = limits;
  const room = Math.floor(cores / (asked.threads ?? 1));
  const most = Math.min(mostCopies, room);
  const copies = asked.copies ?? Math.max(1, Math.min(most, most > 1 ? copiesHeld(memory) : 1));
  const threads = Math.max(1, Math.floor(cores / copies));
  return { copies, threads: asked.threads ?? Math.min(mostThreads, threads) };
}

/** At least one: a model that does not fit says so when it loads. */
function copiesHeld(memory: CopyMemory | undefined): number {
  if (memory === undefined) return Number.POSITIVE_INFINITY;
  const { first, further, free = readFreeMemory() } = memory;
  const left = free * share - first;
  // Of a file that makes no sense no number comes out: one copy tells what the runtime thinks of it.
  return left >= further ? 1 + Math.floor(left / Math.max(1, further)) : 1;
}
