import type { HostStage } from "@crossrank/backend-kit/runtime";
import type { AddonBatch, AddonModelFacts } from "./native.js";

/** What passes between a session and its runtime, in a child process or not: calls with an id, each answered once. */
export interface Calls {
  /** First, once: loads the model. */
  load: { argument: AddonModelFacts; result: LoadedModel };
  /** One batch. */
  run: { argument: AddonBatch; result: RunResult };
  /** Starts the library, and loads nothing. */
  diagnose: { argument: undefined; result: LoadedModel };
  /** Last: waits for the runs under way and frees the memory. */
  release: { argument: undefined; result: undefined };
}

export interface LoadedModel {
  /** MLX's version. */
  readonly version: string;
  readonly onGpu: boolean;
}

/** As the contract's RawOutput. */
export interface RunResult {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Where a call failed: the addon, memory, the model's files, a batch, or the process itself. */
export type FailureStage = "runtime" | "memory" | "model" | "run" | HostStage;
