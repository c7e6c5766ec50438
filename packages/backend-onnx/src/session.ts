import { RuntimeSession, type SessionFacts } from "@crossrank/backend-kit";
import type { Batch, RawOutput } from "@crossrank/core";
import type { GraphPlan } from "./graph-plan.js";
import type { RunArgument, RunResult } from "./protocol.js";
import type { WorkerClient } from "./worker-client.js";

/** A model in the memory of one worker thread or several. */
export class OnnxSession extends RuntimeSession {
  readonly #workers: readonly WorkerClient[];
  readonly #plan: GraphPlan;

  constructor(facts: SessionFacts & { readonly workers: readonly WorkerClient[]; readonly plan: GraphPlan }) {
    super(facts);
    this.#workers = facts.workers;
    this.#plan = facts.plan;
  }

  protected override async compute(batch: Batch): Promise<RawOutput> {
    const worker = this.#leastLoaded();
    const { argument, transfer } = this.#runArgument(batch);
    let result: RunResult;
    try {
      result = await worker.call("run", argument, transfer);
    } catch (cause) {
      throw this.runFailure(cause);
    }
    return { kind: this.#plan.output.kind, ...result };
  }

  protected override async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }

  #leastLoaded(): WorkerClient {
    const alive = this.#workers.filter((worker) => worker.death === undefined);
    const [first, ...others] = alive;
    if (first === undefined) {
      const cause = this.#workers[0]?.death;
      throw this.runError(`every worker thread is gone (${cause?.message}); load the model again`, cause);
    }
    return others.reduce((least, worker) => (worker.underWay < least.underWay ? worker : least), first);
  }

  #runArgument(batch: Batch): { argument: RunArgument; transfer: ArrayBuffer[] } {
    const { rows, columns, inputIds, attentionMask, segmentIds, lengths } = batch;
    const transfer = new Set<ArrayBuffer>();
    const take = (array: Int32Array): Int32Array => {
      // Node drops a message with a buffer that was transferred before, without a word, and its answer never comes.
      this.requireFilled(array, batch);
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
