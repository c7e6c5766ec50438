import {
  type ArtifactInfo,
  type BackendInfo,
  BackendRunError,
  type BackendSession,
  type Batch,
  type Capabilities,
  DisposedError,
  type RawOutput,
} from "@crossrank/core";
import type { GraphPlan } from "./graph-plan.js";
import type { RunArgument, RunResult } from "./protocol.js";
import type { WorkerClient } from "./worker-client.js";

/** A model in the memory of one worker thread or several. */
export class OnnxSession implements BackendSession {
  readonly info: BackendInfo;
  readonly artifact: ArtifactInfo;
  readonly capabilities: Capabilities;
  readonly #workers: readonly WorkerClient[];
  readonly #plan: GraphPlan;
  #disposal: Promise<void> | undefined;

  constructor(facts: {
    readonly info: BackendInfo;
    readonly artifact: ArtifactInfo;
    readonly capabilities: Capabilities;
    readonly workers: readonly WorkerClient[];
    readonly plan: GraphPlan;
  }) {
    this.info = facts.info;
    this.artifact = facts.artifact;
    this.capabilities = facts.capabilities;
    this.#workers = facts.workers;
    this.#plan = facts.plan;
  }

  async run(batch: Batch, options?: { readonly signal?: AbortSignal | undefined }): Promise<RawOutput> {
    if (this.#disposal !== undefined) {
      throw new DisposedError("onnx session");
    }
    options?.signal?.throwIfAborted();
    const worker = this.#leastLoaded();
    const { argument, transfer } = this.#runArgument(batch);
    let result: RunResult;
    try {
      result = await worker.call("run", argument, transfer);
    } catch (cause) {
      const problem = cause instanceof Error ? cause.message : String(cause);
      throw new BackendRunError({ backend: this.info.name, problem }, { cause });
    }
    return { kind: this.#plan.output.kind, data: result.data, shape: this.#checkShape(result, batch) };
  }

  dispose(): Promise<void> {
    this.#disposal ??= Promise.all(this.#workers.map((worker) => worker.close())).then(() => undefined);
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #leastLoaded(): WorkerClient {
    const alive = this.#workers.filter((worker) => worker.death === undefined);
    const [first, ...others] = alive;
    if (first === undefined) {
      const cause = this.#workers[0]?.death;
      const problem = `every worker thread is gone (${cause?.message}); load the model again`;
      throw new BackendRunError({ backend: this.info.name, problem }, { cause });
    }
    return others.reduce((least, worker) => (worker.underWay < least.underWay ? worker : least), first);
  }

  #runArgument(batch: Batch): { argument: RunArgument; transfer: ArrayBuffer[] } {
    const arrays: { -readonly [Source in keyof RunArgument["arrays"]]: RunArgument["arrays"][Source] } = {};
    const transfer = new Set<ArrayBuffer>();
    for (const { source } of this.#plan.inputs) {
      if (source !== "positions") {
        const array = transferable(batch[source], transfer);
        arrays[source] = array;
        transfer.add(array.buffer as ArrayBuffer);
      }
    }
    const { rows, columns } = batch;
    return { argument: { plan: this.#plan, rows, columns, arrays }, transfer: [...transfer] };
  }

  #checkShape({ shape, data }: RunResult, { rows, columns }: Batch): readonly number[] {
    const { kind, name } = this.#plan.output;
    // Some exports squeeze a lone class away.
    const full = kind === "class-logits" && shape.length === 1 ? [...shape, 1] : shape;
    const expected = kind === "hidden-states" ? [rows, columns, full[2]] : [rows, full[1]];
    const size = full.reduce((product, dimension) => product * dimension, 1);
    if (
      full.length !== expected.length ||
      full.some((size, axis) => size !== expected[axis]) ||
      size !== data.length
    ) {
      const problem = `output "${name}" has shape [${shape.join(", ")}] for ${rows} rows of ${columns} tokens`;
      throw new BackendRunError({ backend: this.info.name, problem });
    }
    return full;
  }
}

/** The array itself where it fills a buffer of its own, else a copy: transferring detaches the whole buffer. */
function transferable(array: Int32Array, taken: ReadonlySet<ArrayBuffer>): Int32Array {
  const { buffer } = array;
  const own = buffer instanceof ArrayBuffer && buffer.byteLength === array.byteLength && !taken.has(buffer);
  return own ? array : array.slice();
}
