import type { LoadedGraph, RunArgument, RunResult } from "@crossrank/backend-onnx/graph";
import type { ExecutionProvider } from "./options.js";

/** What passes between a session and its worker: calls with an id, each answered once. */
export interface Calls {
  /** First: creates the session. */
  load: { argument: LoadArgument; result: LoadedGraph };
  /** One batch. */
  run: { argument: RunArgument; result: RunResult };
  /** Loads the library, and no model. */
  diagnose: { argument: Environment; result: Diagnosis };
  /** Last: frees the session's memory and ends the worker. */
  release: { argument: undefined; result: undefined };
}

export interface Environment {
  readonly executionProvider: ExecutionProvider;
  readonly threads: number;
  /** Absolute addresses. */
  readonly wasmPaths: string | { readonly wasm?: string; readonly mjs?: string } | undefined;
}

export interface LoadArgument {
  /** A blob travels by reference, and is there once more when a worker that died is started anew. */
  readonly model: Blob;
  /** Weight files, by their names in the graph. */
  readonly externalData: readonly { readonly name: string; readonly data: Blob }[];
  readonly graphOptimizationLevel: "disabled" | "basic" | "extended" | "all";
  readonly environment: Environment;
}

export interface Diagnosis {
  /** onnxruntime-web's version. */
  readonly version: string;
}
