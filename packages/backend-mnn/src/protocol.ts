import type { HostStage } from "@crossrank/backend-kit/runtime";
import type { GraphPlan, GraphTensor } from "./graph-plan.js";
import type { AddonOptions } from "./native.js";

/** What passes between a session and its runtime, in a child process or not: calls with an id, each answered once. */
export interface Calls {
  /** First, once: loads the model. */
  load: { argument: LoadArgument; result: LoadedGraph };
  /** One batch. */
  run: { argument: RunArgument; result: RunResult };
  /** Before the first batch of so many rows: whether the graph gives a sequence the same alone and beside others. */
  rehearse: { argument: RehearsalArgument; result: Rehearsal };
  /** Starts the library, and loads nothing. */
  diagnose: { argument: undefined; result: { readonly version: string } };
  /** Last: waits for the runs under way and frees the memory. */
  release: { argument: undefined; result: undefined };
}

export interface LoadArgument {
  /** Absolute path of the .mnn file. */
  readonly modelPath: string;
  /** Copies of the model, each on a thread of its own. */
  readonly sessions: number;
  readonly options: AddonOptions;
}

export interface LoadedGraph {
  /** MNN's version. */
  readonly version: string;
  readonly inputs: readonly (GraphTensor & { readonly below: number | undefined })[];
  /** With `"batch"` and `"sequence"` where a dimension follows the inputs'. */
  readonly outputs: readonly GraphTensor[];
  /** Most columns, where a table of positions was recognised. */
  readonly longest: number | undefined;
}

export interface RunArgument {
  readonly plan: GraphPlan;
  readonly rows: number;
  readonly columns: number;
  /** Row-major (rows, columns), one an input of the plan. */
  readonly inputs: readonly Int32Array[];
}

/** Two sequences are run alone, then as the first and last row of a batch, then the last one alone again. */
export interface RehearsalArgument {
  readonly first: RunArgument;
  readonly last: RunArgument;
  readonly together: RunArgument;
}

export interface Rehearsal {
  /** Largest |Δ| of a sequence's output to what it was the first time. NaN where an output is not finite. */
  readonly difference: number;
  /** Largest magnitude of that output. */
  readonly magnitude: number;
}

/** As the contract's RawOutput. */
export interface RunResult {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Where a call failed: the addon, the pool's threads, the model file, a batch, or the process itself. */
export type FailureStage = "runtime" | "threads" | "memory" | "model" | "run" | HostStage;
