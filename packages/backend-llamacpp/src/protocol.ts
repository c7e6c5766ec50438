import type { HostStage } from "@crossrank/backend-kit/runtime";
import type { RunPlan } from "./run-plan.js";

/** What passes between a session and its runtime, in a child process or not: calls with an id, each answered once. */
export interface Calls {
  /** First, once: loads the model. */
  load: { argument: LoadArgument; result: LoadedModel };
  /** One batch. */
  run: { argument: RunArgument; result: RunResult };
  /** Starts the library, and loads nothing. */
  diagnose: { argument: undefined; result: RuntimeDiagnosis };
  /** Last: waits for the runs under way and frees the memory. */
  release: { argument: undefined; result: undefined };
}

export interface LoadArgument {
  /** Absolute path of the .gguf file. */
  readonly modelPath: string;
  readonly plan: RunPlan;
  readonly contexts: number;
  /** Threads of each context. */
  readonly threads: number;
  readonly flashAttention: boolean;
  readonly gpu: "auto" | "metal" | "cuda" | "vulkan" | false;
}

export interface LoadedModel {
  /** node-llama-cpp's version. */
  readonly version: string;
  /** The device that computes, e.g. `"metal"`; false: the processor. Of `"auto"` the one that was found. */
  readonly gpu: "metal" | "cuda" | "vulkan" | false;
}

export interface RuntimeDiagnosis {
  /** node-llama-cpp's version. */
  readonly version: string;
  readonly buildType: string;
  /** Of the processor that llama.cpp was built for and found here, e.g. `"AVX2"`. */
  readonly features: readonly string[];
}

export interface RunArgument {
  readonly rows: number;
  readonly columns: number;
  /** Row-major (rows, columns), segments already added. */
  readonly inputIds: Int32Array;
  /** Real tokens of each row; 0 for a padding row. */
  readonly lengths: Int32Array;
}

/** As the contract's RawOutput. */
export interface RunResult {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Where a call failed: the native library, the device, the model file, a batch, or the process itself. */
export type FailureStage = "runtime" | "device" | "model" | "run" | HostStage;
