import { type Handlers, messageOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import {
  type GraphTensor,
  type LoadedGraph,
  type RunArgument,
  type RunResult,
  runBatch,
} from "@crossrank/backend-onnx/graph";
import type { InferenceSession } from "onnxruntime-web";
import type { ExecutionProvider } from "./options.js";
import type { Calls, Diagnosis, Environment, LoadArgument } from "./protocol.js";

type Library = typeof import("onnxruntime-web");

/** Two builds: the one with WebGPU is twice as large to download. */
export async function loadLibrary(provider: ExecutionProvider): Promise<Library> {
  try {
    return provider === "wasm"
      ? await import("onnxruntime-web/wasm")
      : await import("onnxruntime-web/webgpu");
  } catch (cause) {
    throw new RuntimeFailure("runtime", messageOf(cause).trim(), { cause });
  }
}

/** One ONNX Runtime session. It computes on the thread that calls it. */
export class Runtime implements Handlers<Calls> {
  #library: Library | undefined;
  #session: InferenceSession | undefined;

  async diagnose(environment: Environment): Promise<Diagnosis> {
    const { env } = await startLibrary(environment);
    return { version: env.versions.web ?? env.versions.common };
  }

  /** @throws {RuntimeFailure} of stage `runtime` or `provider`, and what ONNX Runtime throws for the file. */
  async load({
    model,
    externalData,
    graphOptimizationLevel,
    environment,
  }: LoadArgument): Promise<LoadedGraph> {
    const library = await startLibrary(environment);
    const external = [];
    for (const { name, data } of externalData) external.push({ path: name, data: await bytesOf(data) });
    const bytes = await bytesOf(model);
    const session = await crashing(
      library.InferenceSession.create(bytes, {
        executionProviders: [environment.executionProvider],
        graphOptimizationLevel,
        // Of its messages the fatal ones alone: a page's console is its author's.
        logSeverityLevel: 4,
        ...(external.length === 0 ? {} : { externalData: external }),
      }),
    );
    this.#library = library;
    this.#session = session;
    return {
      version: library.env.versions.web ?? library.env.versions.common,
      inputs: session.inputMetadata.map(graphTensor),
      outputs: session.outputMetadata.map(graphTensor),
    };
  }

  async run(argument: RunArgument): Promise<RunResult> {
    if (this.#library === undefined || this.#session === undefined) {
      throw new Error("the session is not loaded");
    }
    return crashing(runBatch(this.#library, this.#session, argument));
  }

  async release(): Promise<undefined> {
    await this.#session?.release();
    this.#session = undefined;
    return undefined;
  }
}

async function startLibrary({ executionProvider, threads, wasmPaths }: Environment): Promise<Library> {
  if (executionProvider === "webgpu") await requireGpu();
  const library = await loadLibrary(executionProvider);
  const { env } = library;
  // Its failures are errors with a message; it would write them to the console besides.
  env.logLevel = "fatal";
  env.wasm.numThreads = threads;
  env.wasm.simd = "fixed";
  if (wasmPaths !== undefined) env.wasm.wasmPaths = wasmPaths;
  return library;
}

interface Gpu {
  requestAdapter(): Promise<unknown>;
}

async function requireGpu(): Promise<void> {
  const gpu = (globalThis.navigator as { readonly gpu?: Gpu } | undefined)?.gpu;
  const adapter = await gpu?.requestAdapter().catch(() => null);
  if (adapter === undefined || adapter === null) {
    throw new RuntimeFailure("provider", "WebGPU is not there: the browser or this machine has no adapter");
  }
}

async function bytesOf(blob: Blob): Promise<Uint8Array> {
  return new Uint8Array(await blob.arrayBuffer());
}

/** After a trap of WebAssembly nothing of its memory can be relied on: the worker has to be started anew. */
async function crashing<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (cause) {
    if (cause instanceof WebAssembly.RuntimeError) {
      throw new RuntimeFailure("crash", `WebAssembly failed (${cause.message})`, { cause });
    }
    throw cause;
  }
}

function graphTensor(metadata: InferenceSession.ValueMetadata): GraphTensor {
  return metadata.isTensor
    ? {
        name: metadata.name,
        type: metadata.type,
        shape: metadata.shape.length === 0 ? undefined : metadata.shape,
      }
    : { name: metadata.name, type: "not a tensor", shape: undefined };
}
