import type { HostStage } from "@crossrank/backend-kit/runtime";
import type { AddonOptions, Reading } from "./native.js";

/** What passes between a session and its runtime, in a child process or not: calls with an id, each answered once. */
export interface Calls {
  /** First, once: loads the model. */
  load: { argument: LoadArgument; result: { readonly version: string } };
  /** One batch. */
  run: { argument: RunArgument; result: { readonly data: Float32Array } };
  /** Starts the library, and loads nothing. */
  diagnose: { argument: undefined; result: { readonly version: string; readonly hasIntegers: boolean } };
  /** Last: waits for the runs under way and frees the memory. */
  release: { argument: undefined; result: undefined };
}

export interface LoadArgument {
  /** Absolute path of model.bin, which was judged. */
  readonly modelPath: string;
  /** Batches at once; they share the weights. */
  readonly sessions: number;
  readonly options: AddonOptions;
}

export interface RunArgument {
  readonly rows: number;
  readonly columns: number;
  /** (rows, columns), each of the vocabulary. */
  readonly ids: Int32Array;
  /** (rows), each from 1 to `columns`. */
  readonly lengths: Int32Array;
  /** (rows, columns) of the second table, where there is one. */
  readonly features: Int32Array | undefined;
  readonly reading: Reading;
}

/** Where a call failed: the addon, the memory, the model file, a batch, or the process itself. */
export type FailureStage = "runtime" | "memory" | "processor" | "model" | "run" | HostStage;
