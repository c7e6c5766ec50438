import type { HostStage } from "@crossrank/backend-kit/runtime";
import type { AddonBatch, AddonModelFacts, AddonTraining, AddonWanted, Kept } from "./native.js";

/** What passes between a session and its runtime, in a child process or not: calls with an id, each answered once. */
export interface Calls {
  /** First, once: loads the model. */
  load: { argument: AddonModelFacts; result: LoadedModel };
  /** One batch. */
  run: { argument: AddonBatch; result: RunResult };
  /** Once: some weights are trained from here on. */
  train: { argument: AddonTraining; result: undefined };
  /** Adds a batch's gradients to the step; the batch's loss. */
  accumulate: { argument: { readonly batch: AddonBatch; readonly wanted: AddonWanted }; result: number };
  /** One step; the gradient's norm. */
  apply: { argument: { readonly rate: number; readonly clip: number }; result: number };
  kept: { argument: { readonly at: number; readonly kept: Kept }; result: RunResult };
  keep: {
    argument: { readonly at: number; readonly kept: Exclude<Kept, "gradient">; readonly data: Float32Array };
    result: undefined;
  };
  setSteps: { argument: number; result: undefined };
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
