import {
  checkBatchOption,
  checkChoice,
  longestDeadline,
  requireCount,
  requireOptions,
} from "@crossrank/backend-kit";
import { type BatchPreference, InvalidInputError, type OptionNames } from "@crossrank/core";

/** What computes: WebAssembly on the processor, or the GPU by WebGPU. */
export type ExecutionProvider = "wasm" | "webgpu";

/** Where onnxruntime-web's files lie: a folder, or each by itself. Relative to the page. */
export type WasmPaths = string | { readonly wasm?: string | undefined; readonly mjs?: string | undefined };

/** How {@link web} runs models. */
export interface WebOptions {
  /**
   * `"wasm"` by default. `"webgpu"` where the browser has it, else the model does not load: never dropped in silence,
   * because its numbers are others.
   */
  readonly executionProvider?: ExecutionProvider | undefined;
  /**
   * Threads of WebAssembly, from 1 to 64. Without cross-origin isolation (`crossOriginIsolated`) there is one, whatever
   * is asked for. Default: half of the processor's, at most 4.
   */
  readonly threads?: number | undefined;
  /** Of ONNX Runtime. Default: `"all"`; `"basic"` for a file that says that its graph is in its final form. */
  readonly graphOptimizationLevel?: "disabled" | "basic" | "extended" | "all" | undefined;
  /** Default: beside onnxruntime-web's own module, where bundlers put them. */
  readonly wasmPaths?: WasmPaths | undefined;
  /**
   * Starts the worker, for bundlers that do not find `new Worker(new URL("./worker.js", import.meta.url))`: a module
   * worker whose script is `@crossrank/backend-web/worker`.
   */
  readonly worker?: (() => Worker) | undefined;
  /** The .onnx file to run, relative to the model. Overrides `dtype`. Default: chosen by `dtype`. */
  readonly file?: string | undefined;
  /**
   * Recommendation to the scheduler, field by field. Default: 8 rows, 256 tokens, 0.05; 1 row where the graph quantises
   * activations for the batch as a whole. A graph of fixed shape decides its own rows.
   */
  readonly batch?: Partial<BatchPreference> | undefined;
  /**
   * How long the runtime may take, in milliseconds from 1 to 86,400,000, before its worker is ended and the call fails;
   * the next call starts a new one. Default: `{ load: 300_000, run: 300_000, close: 30_000 }`.
   */
  readonly deadlines?:
    | {
        readonly load?: number | undefined;
        readonly run?: number | undefined;
        readonly close?: number | undefined;
      }
    | undefined;
}

const names: OptionNames<WebOptions> = {
  executionProvider: true,
  threads: true,
  graphOptimizationLevel: true,
  wasmPaths: true,
  worker: true,
  file: true,
  batch: true,
  deadlines: true,
};

const mostThreads = 64;

/** @throws {InvalidInputError} naming the option at fault. */
export function checkOptions(options: WebOptions): void {
  requireOptions("web()", options, names);
  checkChoice("executionProvider", options.executionProvider, ["wasm", "webgpu"]);
  checkChoice("graphOptimizationLevel", options.graphOptimizationLevel, [
    "disabled",
    "basic",
    "extended",
    "all",
  ]);
  requireCount("threads", options.threads, mostThreads);
  checkBatchOption(options.batch);
  if (options.deadlines !== undefined) {
    requireOptions("deadlines", options.deadlines, { load: true, run: true, close: true });
  }
  for (const name of ["load", "run", "close"] as const) {
    requireCount(`deadlines.${name}`, options.deadlines?.[name], longestDeadline);
  }
  const paths: unknown = options.wasmPaths;
  const parts = typeof paths === "object" && paths !== null ? Object.values(paths) : [paths];
  if (parts.some((part) => part !== undefined && typeof part !== "string") || paths === null) {
    throw new InvalidInputError("wasmPaths", "must be a path, or an object with the paths `wasm` and `mjs`");
  }
  if (typeof paths === "object") requireOptions("wasmPaths", paths, { wasm: true, mjs: true });
  if (options.file !== undefined && (typeof options.file !== "string" || options.file === "")) {
    throw new InvalidInputError("file", "must be the path of an .onnx file within the model");
  }
  if (options.worker !== undefined && typeof options.worker !== "function") {
    throw new InvalidInputError("worker", "must be a function that starts a worker");
  }
}
