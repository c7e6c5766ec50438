import type { InferenceSession } from "onnxruntime-node";
import type { GraphPlan, GraphTensor } from "./graph-plan.js";

/** What passes between the main thread and a worker: calls with an id, each answered once. */
export interface Calls {
  /** First, once: creates the worker's session. */
  load: { argument: LoadArgument; result: LoadedGraph };
  /** One batch. */
  run: { argument: RunArgument; result: RunResult };
  /** Last: frees the session's memory and ends the thread. */
  release: { argument: undefined; result: undefined };
}

export interface LoadArgument {
  /** Absolute path of the .onnx file. */
  readonly modelPath: string;
  /** Weight files that ONNX Runtime cannot reach from `modelPath`: name in the graph, absolute path. */
  readonly externalData: readonly { readonly name: string; readonly path: string }[];
  readonly sessionOptions: InferenceSession.SessionOptions;
}

export interface LoadedGraph {
  /** onnxruntime-node's version. */
  readonly version: string;
  readonly inputs: readonly GraphTensor[];
  readonly outputs: readonly GraphTensor[];
}

export interface RunArgument {
  readonly plan: GraphPlan;
  readonly rows: number;
  readonly columns: number;
  /** Row-major (rows, columns). Segment ids where the plan takes them. */
  readonly arrays: {
    readonly inputIds: Int32Array;
    readonly attentionMask: Int32Array;
    readonly segmentIds?: Int32Array;
  };
  /** Real tokens of each row; 0 for a padding row. */
  readonly lengths: Int32Array;
}

/** As the contract's RawOutput: no more than core asked for. */
export interface RunResult {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Where a call failed: the native library, a provider that is missing, the model file, or a batch. */
export type FailureStage = "runtime" | "provider" | "model" | "run";
