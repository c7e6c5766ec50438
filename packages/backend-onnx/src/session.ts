import { type CallOptions, RuntimeSession, type SessionFacts } from "@crossrank/backend-kit";
import type { Batch, RawOutput } from "@crossrank/core";
import type { GraphPlan } from "./graph-plan.js";
import type { RunArgument, RunResult } from "./protocol.js";

/** What a session needs of the runtimes that it shares its batches among. */
export interface RunLane {
  /** Calls whose answer somebody waits for. */
  readonly underWay: number;
  /** Whether it died too often to be started again now. */
  readonly isResting: boolean;
  call(kind: "run", argument: RunArgument, options?: CallOptions): Promise<RunResult>;
  close(): Promise<void>;
}

/** A model in the memory of one process or thread, or of several. */
export class OnnxSession extends RuntimeSession {
  readonly #lanes: readonly RunLane[];
  readonly #plan: GraphPlan;

  constructor(facts: SessionFacts & { readonly lanes: readonly RunLane[]; readonly plan: GraphPlan }) {
    super(facts);
    this.#lanes = facts.lanes;
    this.#plan = facts.plan;
  }

  protected override async compute(batch: Batch, signal: AbortSignal | undefined): Promise<RawOutput> {
    const { argument, transfer } = this.#runArgument(batch);
    let result: RunResult;
    try {
      result = await this.#leastLoaded().call("run", argument, { signal, transfer });
    } catch (cause) {
      // The batch is computed to its end, but nobody waits for it.
      if (signal?.aborted === true) throw signal.reason;
      throw this.runFailure(cause);
    }
    return { kind: this.#plan.output.kind, ...result };
  }

  protected override async close(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.close()));
  }

  /** Of those that can be started, where any can. */
  #leastLoaded(): RunLane {
    const able = this.#lanes.filter((lane) => !lane.isResting);
    const lanes = able.length === 0 ? this.#lanes : able;
    return lanes.reduce((least, lane) => (lane.underWay < least.underWay ? lane : least));
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
