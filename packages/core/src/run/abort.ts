interface Waiting {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

/** Who waits for a signal's abort. One listener a signal, however many wait: a signal that outlives calls keeps nothing. */
const waiting = new WeakMap<AbortSignal, Waiting>();

/**
 * Calls back when the signal aborts, at once where it has. The caller's signal carries one listener for all who wait
 * here together (Node warns of a leak at the eleventh), and none when nobody waits.
 *
 * @returns takes the callback off.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  if (signal.aborted) {
    callback();
    return () => undefined;
  }
  const all = waiting.get(signal) ?? startWaiting(signal);
  // Its own function, so that one callback can wait twice.
  const entry = (): void => callback();
  all.callbacks.add(entry);
  return () => {
    all.callbacks.delete(entry);
    if (all.callbacks.size > 0 || waiting.get(signal) !== all) return;
    waiting.delete(signal);
    signal.removeEventListener("abort", all.listener);
  };
}

function startWaiting(signal: AbortSignal): Waiting {
  const callbacks = new Set<() => void>();
  const listener = (): void => {
    waiting.delete(signal);
    signal.removeEventListener("abort", listener);
    for (const callback of callbacks) {
      try {
        callback();
      } catch (error) {
        // What one throws is its own, and keeps the others from nothing.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  };
  const all = { callbacks, listener };
  waiting.set(signal, all);
  signal.addEventListener("abort", listener);
  return all;
}

/** A signal that aborts with another one, and can be aborted by itself. */
export interface DerivedSignal {
  readonly signal: AbortSignal;
  abort(reason: unknown): void;
  /** Lets go of the other signal. */
  release(): void;
}

/**
 * Not AbortSignal.any: a signal that outlives many calls would collect a dependant of each. What is handed a derived
 * signal leaves its listeners there, and they go with the call.
 */
export function derive(signal: AbortSignal | undefined): DerivedSignal {
  const controller = new AbortController();
  const release =
    signal === undefined ? () => undefined : onAbort(signal, () => controller.abort(signal.reason));
  return { signal: controller.signal, abort: (reason) => controller.abort(reason), release };
}

/**
 * The work's outcome, or a rejection with the signal's reason as soon as it aborts. Work once begun goes on.
 *
 * @param work a function is not called where the signal has aborted; of a promise nobody hears any more that it fails.
 */
export async function untilAborted<T>(
  work: Promise<T> | (() => Promise<T>),
  signal: AbortSignal | undefined,
): Promise<T> {
  const begin = typeof work === "function" ? work : () => work;
  if (signal === undefined) return begin();
  if (signal.aborted) {
    if (typeof work !== "function") work.catch(() => undefined);
    throw signal.reason;
  }
  let release = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    release = onAbort(signal, () => reject(signal.reason));
  });
  // Where the work throws at once, nobody hears of it.
  aborted.catch(() => undefined);
  try {
    return await Promise.race([begin(), aborted]);
  } finally {
    release();
  }
}
