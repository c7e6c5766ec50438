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
    return { kind: this.#plan.output.kind, ...result };
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
    const { rows, columns, inputIds, attentionMask, segmentIds, lengths } = batch;
    const transfer = new Set<ArrayBuffer>();
    const take = (array: Int32Array): Int32Array => {
      // Node drops a message with a buffer that was transferred before, without a word, and its answer never comes.
      if (array.length !== rows * columns) {
        const problem = `an array of ${array.length} numbers for ${rows} rows of ${columns} tokens; a batch can be run once`;
        throw new BackendRunError({ backend: this.info.name, problem });
      }
      const own = transferable(array, transfer);
      transfer.add(own.buffer as ArrayBuffer);
      return own;
    };
    const arrays = {
      inputIds: take(inputIds),
      attentionMask: take(attentionMask),
      ...(this.capabilities.segmentIds ? { segmentIds: take(segmentIds) } : {}),
    };
    return { argument: { plan: this.#plan, rows, columns, arrays, lengths }, transfer: [...transfer] };
  }
}

/** The array itself where it fills a buffer of its own, else a copy: transferring detaches the whole buffer. */
function transferable(array: Int32Array, taken: ReadonlySet<ArrayBuffer>): Int32Array {
  const { buffer } = array;
  const own = buffer instanceof ArrayBuffer && buffer.byteLength === array.byteLength && !taken.has(buffer);
  return own ? array : array.slice();
}
