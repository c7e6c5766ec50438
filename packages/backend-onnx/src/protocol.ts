import type { HostStage } from "@crossrank/backend-kit/runtime";
import type { InferenceSession } from "onnxruntime-common";
import type { GraphPlan, GraphTensor } from "./graph-plan.js";

/** What passes between a session and one of its runtimes, in a process or thread: calls with an id, each answered once. */
export interface Calls {
  /** First: creates the runtime's session. */
  load: { argument: LoadArgument; result: LoadedGraph };
  /** One batch. */
  run: { argument: RunArgument; result: RunResult };
  /** Starts the library, and loads nothing. */
  diagnose: { argument: undefined; result: RuntimeDiagnosis };
  /** Last: frees the session's memory and ends the process or thread. */
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

export interface RuntimeDiagnosis {
  /** onnxruntime-node's version. */
  readonly version: string;
  /** Execution providers; those that are not bundled need libraries of their own. */
  readonly providers: readonly { readonly name: string; readonly bundled: boolean }[];
}

export interface RunArgument {
  readonly plan: GraphPlan;
  readonly rows: number;
  readonly columns: number;
  /**
   * Tokens before the first of each row, the same for all and in no row's arrays: computed once, and kept for the next
   * batch behind the same ones. The plan has `sharing` then. Undefined where the arrays hold every token.
   */
  readonly shared?: Int32Array | undefined;
  /** Row-major (rows, columns). Segment ids where the plan takes them. */
  readonly arrays: {
    readonly inputIds: Int32Array;
    readonly attentionMask: Int32Array;
    readonly segmentIds?: Int32Array;
  };
  /** Real tokens of each row, those before it not counted; 0 for a padding row. */
  readonly lengths: Int32Array;
}

/** As the contract's RawOutput: no more than core asked for. */
export interface RunResult {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Where a call failed: the native library, a provider that is missing, the model file, a batch, or the process itself. */
export type FailureStage = "runtime" | "provider" | "model" | "run" | HostStage;
