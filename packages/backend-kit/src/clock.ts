/** Milliseconds between two looks at what waits. */
const tick = 250;

/**
 * Calls `onTick` about every quarter of a second with the milliseconds that passed. A tick counts for no more than
 * twice its length, so that the time in which this process was stopped (Ctrl-Z) or asleep is nobody's delay. It keeps no
 * process alive.
 *
 * @returns stops it.
 */
export function startClock(onTick: (passed: number) => void): () => void {
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    onTick(Math.min(now - last, 2 * tick));
    last = now;
  }, tick);
  // A browser's timers are numbers.
  if (typeof timer === "object") timer.unref();
  return () => clearInterval(timer);
}

/**
 * Waits for work at most so long. The wait itself keeps the process alive.
 *
 * @param milliseconds by {@link startClock}'s count.
 * @returns whether the work came to its end, well or not.
 */
export function endsWithin(work: Promise<unknown>, milliseconds: number): Promise<boolean> {
  return new Promise((resolve) => {
    let left = milliseconds;
    const keepAlive = setInterval(() => undefined, 2 ** 30);
    const end = (ended: boolean): void => {
      stop();
      clearInterval(keepAlive);
      resolve(ended);
    };
    const stop = startClock((passed) => {
      left -= passed;
      if (left <= 0) end(false);
    });
    const settled = (): void => end(true);
    work.then(settled, settled);
  });
}
