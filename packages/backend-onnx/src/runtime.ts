import { closeSync, openSync, readSync, statSync } from "node:fs";
import { basename } from "node:path";
import { type Handlers, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import type { InferenceSession } from "onnxruntime-common";
import type { GraphTensor } from "./graph-plan.js";
import { KeptPasts } from "./kept-pasts.js";
import { type Library, loadLibrary } from "./library.js";
import type {
  Calls,
  LoadArgument,
  LoadedGraph,
  RunArgument,
  RunResult,
  RuntimeDiagnosis,
} from "./protocol.js";
import { runBatch } from "./run-batch.js";

/** One ONNX Runtime session. It computes on the thread that calls it. */
export class Runtime implements Handlers<Calls> {
  #library: Library | undefined;
  #session: InferenceSession | undefined;
  readonly #pasts = new KeptPasts();

  async diagnose(): Promise<RuntimeDiagnosis> {
    const { env, listSupportedBackends } = await loadLibrary();
    return {
      version: env.versions.node ?? env.versions.common,
      providers: listSupportedBackends().map(({ name, bundled }) => ({ name, bundled })),
    };
  }

  /** @throws {RuntimeFailure} of stage `runtime` or `provider`, and what ONNX Runtime throws for the file. */
  async load({ modelPath, externalData, sessionOptions }: LoadArgument): Promise<LoadedGraph> {
    const providers = (sessionOptions.executionProviders ?? []).map(providerName);
    const library = await loadLibrary(providers);
    requireProviders(library, providers);
    const detached = externalData.map(({ name, path }) => ({ path: name, data: readWhole(path) }));
    const session = await library.InferenceSession.create(
      modelPath,
      detached.length === 0 ? sessionOptions : { ...sessionOptions, externalData: detached },
    );
    this.#library = library;
    this.#session = session;
    return {
      version: library.env.versions.node ?? library.env.versions.common,
      inputs: session.inputMetadata.map(graphTensor),
      outputs: session.outputMetadata.map(graphTensor),
    };
  }

  async run(argument: RunArgument): Promise<RunResult> {
    if (this.#library === undefined || this.#session === undefined) {
      throw new Error("the session is not loaded");
    }
    return runBatch(this.#library, this.#session, argument, this.#pasts);
  }

  async release(): Promise<undefined> {
    await this.#session?.release();
    this.#session = undefined;
    return undefined;
  }
}

/** onnxruntime-common drops an unknown provider with a console warning as long as another one is left. */
function requireProviders({ listSupportedBackends }: Library, providers: readonly string[]): void {
  const supported = listSupportedBackends().map((backend) => backend.name);
  for (const name of providers) {
    if (!supported.includes(name)) {
      throw new RuntimeFailure(
        "provider",
        `execution provider "${name}" is not in this build, which has ${supported.join(", ")}`,
      );
    }
  }
}

function providerName(provider: InferenceSession.ExecutionProviderConfig): string {
  return typeof provider === "string" ? provider : provider.name;
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
