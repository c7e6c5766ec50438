/** One listener a signal, whoever waits for it: Node warns of a leak at the eleventh, and concurrent calls share a signal. */
const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `react` once the signal is aborted, which it is not yet.
 *
 * @returns stops waiting.
 */
export function onAbort(signal: AbortSignal, react: () => void): () => void {
  const known = waiting.get(signal);
  const reactions = known ?? new Set<() => void>();
  // The same function may wait twice.
  const own = (): void => react();
  reactions.add(own);
  if (known === undefined) {
    waiting.set(signal, reactions);
    signal.addEventListener("abort", reactToAbort, { once: true });
  }
  return () => {
    if (!reactions.delete(own) || reactions.size > 0) return;
    waiting.delete(signal);
    signal.removeEventListener("abort", reactToAbort);
  };
}

function reactToAbort(this: AbortSignal): void {
  const reactions = waiting.get(this) ?? [];
  waiting.delete(this);
  for (const react of [...reactions]) react();
}

/** The work's result, or the signal's reason as soon as it is aborted; the work itself goes on. */
export async function abortable<Result>(
  work: Promise<Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  if (signal === undefined) return work;
  if (signal.aborted) {
    work.catch(() => undefined);
    throw signal.reason;
  }
  let stopWaiting: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stopWaiting = onAbort(signal, () => reject(signal.reason));
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    stopWaiting();
  }
}
