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
  /** Of each context. */
  readonly threads: number;
  readonly flashAttention: boolean;
  readonly gpu: "auto" | "metal" | "cuda" | "vulkan" | false;
}

export interface LoadedModel {
  /** node-llama-cpp's version. */
  readonly version: string;
}

export interface RuntimeDiagnosis extends LoadedModel {
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

export type CallKind = keyof Calls;

export type CallMessage =
  | {
      [Kind in CallKind]: {
        readonly id: number;
        readonly kind: Kind;
        readonly argument: Calls[Kind]["argument"];
      };
    }[CallKind]
  /** Stop the run of that id before its next sequence; it is answered with a failure. */
  | { readonly id: number; readonly kind: "cancel" };

/** Where a call failed: the native library, the device, the model file, a batch, or the process itself. */
export type FailureStage = "runtime" | "device" | "model" | "run" | "crash";

export type AnswerMessage =
  | { readonly id: number; readonly result: Calls[CallKind]["result"] }
  | { readonly id: number; readonly failure: { readonly stage: FailureStage; readonly message: string } };

/** A failure of the runtime, as the session sees it. */
export class RuntimeFailure extends Error {
  readonly stage: FailureStage;
  constructor(stage: FailureStage, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "RuntimeFailure";
    this.stage = stage;
  }
}

/** A runtime in this process or in a child. */
export interface RuntimeClient {
  /** Why it is gone; undefined while it lives. */
  readonly death: Error | undefined;
  /** @throws {RuntimeFailure} */
  call<Kind extends CallKind>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
    signal?: AbortSignal | undefined,
  ): Promise<Calls[Kind]["result"]>;
  /** Frees everything after the calls under way. Never rejects. */
  close(): Promise<void>;
}
