/**
 * Waits until all of these have settled, whatever with, or until the time is over.
 *
 * @returns whether all have settled.
 */
export async function settledWithin(
  work: Iterable<PromiseLike<unknown> | undefined>,
  milliseconds: number,
): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), milliseconds);
  });
  try {
    return await Promise.race([Promise.allSettled(work).then(() => true), over]);
  } finally {
    clearTimeout(timer);
  }
}

/** How long a `dispose` waits for calls and loads to end by themselves before it goes on without them. */
export const patience = 10_000;

/** How long a `dispose` waits for the runtime to free a model. */
export const lastPatience = 60_000;
