// Entry of the worker threads: one ONNX Runtime session, fed by messages. `run` blocks this thread, not the caller's.
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { basename } from "node:path";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import {
  type AnswerMessage,
  type CallMessage,
  messageOf,
  RuntimeFailure,
} from "@crossrank/backend-kit/runtime";
import type { InferenceSession } from "onnxruntime-node";
import type { GraphTensor } from "./graph-plan.js";
import { inNativeSection } from "./native-section.js";
import type { Calls, LoadArgument, LoadedGraph, RunArgument, RunResult } from "./protocol.js";
import { runBatch } from "./run-batch.js";

type Runtime = typeof import("onnxruntime-node");

let runtime: Runtime | undefined;
let session: InferenceSession | undefined;

if (parentPort !== null) {
  serve(parentPort, workerData as Int32Array);
}

/** One call after the other, in the order of arrival. */
function serve(port: MessagePort, nativeSection: Int32Array): void {
  let last: Promise<void> = Promise.resolve();
  port.on("message", (call: CallMessage<Calls>) => {
    last = last.then(() => serveCall(port, nativeSection, call));
  });
}

async function serveCall(
  port: MessagePort,
  nativeSection: Int32Array,
  call: CallMessage<Calls>,
): Promise<void> {
  const { id, kind } = call;
  try {
    switch (kind) {
      case "load":
        answer(port, { id, result: await inNativeSection(nativeSection, () => load(call.argument)) });
        break;
      case "run": {
        const result = await inNativeSection(nativeSection, () => run(call.argument));
        answer(port, { id, result }, [result.data.buffer as ArrayBuffer]);
        break;
      }
      case "release":
        await inNativeSection(nativeSection, async () => session?.release());
        session = undefined;
        answer(port, { id, result: undefined });
        port.close();
        break;
    }
  } catch (error) {
    const stage = error instanceof RuntimeFailure ? error.stage : kind === "load" ? "model" : "run";
    answer(port, { id, failure: { stage, message: messageOf(error).trim() } });
  }
}

function answer(port: MessagePort, message: AnswerMessage<Calls>, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

async function load(argument: LoadArgument): Promise<LoadedGraph> {
  try {
    runtime = await import("onnxruntime-node");
  } catch (error) {
    throw new RuntimeFailure("runtime", messageOf(error).trim());
  }
  const { sessionOptions } = argument;
  requireProviders(runtime, sessionOptions.executionProviders ?? []);
  const externalData = argument.externalData.map(({ name, path }) => ({ path: name, data: readWhole(path) }));
  session = await runtime.InferenceSession.create(
    argument.modelPath,
    externalData.length === 0 ? sessionOptions : { ...sessionOptions, externalData },
  );
  return {
    version: runtime.env.versions.node ?? runtime.env.versions.common,
    inputs: session.inputMetadata.map(graphTensor),
    outputs: session.outputMetadata.map(graphTensor),
  };
}

/** onnxruntime-common drops an unknown provider with a console warning as long as another one is left. */
function requireProviders(
  { listSupportedBackends }: Runtime,
  providers: NonNullable<InferenceSession.SessionOptions["executionProviders"]>,
): void {
  const supported = listSupportedBackends().map((backend) => backend.name);
  for (const provider of providers) {
    const name = typeof provider === "string" ? provider : provider.name;
    if (!supported.includes(name)) {
      throw new RuntimeFailure(
        "provider",
        `execution provider "${name}" is not in this build, which has ${supported.join(", ")}`,
      );
    }
  }
}

/** `readFileSync` ends at 2 GiB. */
function readWhole(path: string): Uint8Array {
  const bytes = new Uint8Array(statSync(path).size);
  const file = openSync(path, "r");
  try {
    for (let offset = 0; offset < bytes.length; ) {
      const read = readSync(file, bytes, offset, Math.min(2 ** 30, bytes.length - offset), offset);
      if (read === 0) {
        throw new Error(`${basename(path)} became shorter while it was read`);
      }
      offset += read;
    }
  } finally {
    closeSync(file);
  }
  return bytes;
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

async function run(argument: RunArgument): Promise<RunResult> {
  if (runtime === undefined || session === undefined) {
    throw new Error("the session is not loaded");
  }
  return runBatch(runtime, session, argument);
}
