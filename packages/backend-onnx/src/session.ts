import { type CallOptions, RuntimeSession, type SessionFacts } from "@crossrank/backend-kit";
import type { Batch, RawOutput } from "@crossrank/core";
import type { GraphPlan, Sharing } from "./graph-plan.js";
import type { RunArgument, RunResult } from "./protocol.js";
import { argumentFor, shareRows } from "./shared-rows.js";

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
    const { sharing } = this.#plan;
    const result =
      sharing === undefined
        ? await this.#runPart(this.#runArgument(batch), signal)
        : await this.#runShared(batch, sharing, signal);
    return { kind: this.#plan.output.kind, ...result };
  }

  async #runPart(
    { argument, transfer }: { readonly argument: RunArgument; readonly transfer?: ArrayBuffer[] },
    signal: AbortSignal | undefined,
  ): Promise<RunResult> {
    try {
      return await this.#leastLoaded().call("run", argument, { signal, ...(transfer && { transfer }) });
    } catch (cause) {
      // The batch is computed to its end, but nobody waits for it.
      if (signal?.aborted === true) throw signal.reason;
      throw this.runFailure(cause);
    }
  }

  /** Part by part, as many at once as there are runtimes, so that a call that stops waits for no more than it began. */
  async #runShared(batch: Batch, sharing: Sharing, signal: AbortSignal | undefined): Promise<RunResult> {
    for (const array of [batch.inputIds, batch.attentionMask]) this.requireFilled(array, batch);
    const width = this.#plan.output.tokens.length;
    const data = new Float32Array(batch.rows * width);
    const parts = shareRows(batch, sharing);
    let next = 0;
    let failed = false;
    const runner = async (): Promise<void> => {
      for (let part = parts[next++]; part !== undefined && !failed; part = parts[next++]) {
        signal?.throwIfAborted();
        const result = await this.#runPart({ argument: argumentFor(part, batch, this.#plan) }, signal);
        for (const [index, row] of part.rows.entries()) {
          data.set(result.data.subarray(index * width, (index + 1) * width), row * width);
        }
      }
    };
    const runners = Array.from({ length: Math.min(this.#lanes.length, parts.length) }, () =>
      runner().catch((error: unknown) => {
        failed = true;
        throw error;
      }),
    );
    const failures = (await Promise.allSettled(runners)).filter(({ status }) => status === "rejected");
    const [failure] = failures as PromiseRejectedResult[];
    if (failure !== undefined) throw failure.reason;
    return { data, shape: [batch.rows, width] };
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
