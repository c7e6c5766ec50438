/** One measured place of the grid: so many pairs a call, each of so many tokens. */
export interface Cell {
  /** Pairs a call, 1 or more. */
  readonly batch: number;
  /** Tokens a pair, special tokens included. */
  readonly length: number;
}

/** What is asked of the process that holds a model. */
export interface TimingRequest extends Cell {
  /** Calls that are run and not counted. */
  readonly warmUp: number;
  /** Calls whose time is told. */
  readonly iterations: number;
}

export interface Timing {
  /** Wall-clock milliseconds of each counted call. */
  readonly milliseconds: readonly number[];
  /** Tokens that a call gave the model, padding not counted. */
  readonly tokens: number;
  /** Longest time in milliseconds that the event loop of the caller's process was held up during counted calls. */
  readonly eventLoopDelay: number;
}

export const mostBatch = 1024;
export const mostLength = 131_072;

/** Written as the gates write it. */
export function nameOfCell({ batch, length }: Cell): string {
  return `batch ${batch}, length ${length}`;
}
