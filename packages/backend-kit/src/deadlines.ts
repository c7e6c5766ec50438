/** How long a runtime in a child process may take, in milliseconds; each a whole number from 1 to 86,400,000 (a day). */
export interface Deadlines {
  /** For a model to load. Default: 300,000. */
  readonly load?: number | undefined;
  /** For one batch, once those before it are done. Default: 300,000. */
  readonly run?: number | undefined;
  /** For batches that are under way when the model is disposed of, which fail then. Default: 30,000. */
  readonly close?: number | undefined;
}

export const usualDeadlines: Readonly<Record<keyof Deadlines, number>> = {
  load: 300_000,
  run: 300_000,
  close: 30_000,
};

/** For the program of a process or thread to come up, on a machine with other work. */
export const startDeadline = 60_000;

export const longestDeadline = 86_400_000;

/** Of an idle runtime, for freeing its memory; also for a process that was killed, until it is gone. */
export const releaseDeadline = 3_000;
