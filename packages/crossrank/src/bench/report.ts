import type { EnvironmentReport, ScorerDescription } from "@crossrank/eval";
import type { Cell } from "./cell.js";

export interface CellResult extends Cell {
  /** Wall-clock milliseconds of a call: median and 95th percentile of the counted calls. */
  readonly p50: number;
  readonly p95: number;
  /** The 95th percentile divided by the pairs of a call. */
  readonly p95PerPair: number;
  /** Tokens of a call, padding not counted, over the median. */
  readonly tokensPerSecond: number;
  /** Longest hold-up of the calling process's event loop, in milliseconds. */
  readonly eventLoopDelay: number;
  /** Every counted call, in the order of the run. */
  readonly milliseconds: readonly number[];
}

export interface SystemResult {
  /** As it was asked for, e.g. `"onnx:int8"`. */
  readonly name: string;
  readonly description: ScorerDescription;
  readonly cells: readonly CellResult[];
  /** Of the process that held the model and all that it started; undefined where the system does not tell. */
  readonly memory:
    | { readonly peakBytes: number; readonly beforeLoadBytes: number; readonly method: string }
    | undefined;
}

/** What a run of the bench measured. */
export interface BenchReport {
  readonly model: string;
  readonly warmUp: number;
  readonly iterations: number;
  readonly environment: EnvironmentReport;
  /** Average number of processes that wanted a processor, over the minute before the run and before its end. */
  readonly load: { readonly before: number; readonly after: number };
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  /** In the order of the run; each round runs all of them in turn. */
  readonly systems: readonly SystemResult[];
}
