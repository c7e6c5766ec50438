import type { Backend, BackendSession, Batch, LoadRequest, RawOutput } from "@crossrank/core";

/** One sequence as a session received it, without padding. */
export interface Row {
  readonly ids: readonly number[];
  readonly segmentIds: readonly number[];
  /** Ids at the end that no other token attends to. Default 0. */
  readonly unattended?: number | undefined;
}

/** A backend that hands everything through to another and remembers what it was asked. */
export interface Recorder {
  readonly backend: Backend;
  /** Every load, in order. */
  readonly requests: readonly LoadRequest[];
  /** Every session that was loaded, in order. */
  readonly sessions: readonly BackendSession[];
  /** The batches since the last call, in order. */
  take(): Batch[];
  /**
   * Does the work; a batch of it that was run in such work before gets the numbers that it got then. That they would be
   * the same is another check's to find out.
   */
  replaying<Result>(work: () => Promise<Result>): Promise<Result>;
}

type RunArguments = Parameters<BackendSession["run"]>;

export function record(inner: Backend): Recorder {
  const requests: LoadRequest[] = [];
  const sessions: BackendSession[] = [];
  let batches: Batch[] = [];
  const outputs = new Map<string, RawOutput>();
  let isReplaying = false;
  const runOnce = async (session: BackendSession, ...[batch, options]: RunArguments): Promise<RawOutput> => {
    const key = textOf(batch);
    const output = outputs.get(key) ?? (await session.run(batch, options));
    outputs.set(key, output);
    return { ...output, data: output.data.slice() };
  };
  const recorded = (session: BackendSession): BackendSession => ({
    info: session.info,
    artifact: session.artifact,
    capabilities: session.capabilities,
    settings: session.settings,
    bounds: session.bounds,
    run(batch, options) {
      // Copies: the arrays belong to the backend from here on, which may hand them to another thread.
      batches.push({
        ...batch,
        inputIds: batch.inputIds.slice(),
        attentionMask: batch.attentionMask.slice(),
        segmentIds: batch.segmentIds.slice(),
        lengths: batch.lengths.slice(),
        ...(batch.extents === undefined ? {} : { extents: batch.extents.slice() }),
      });
      return isReplaying ? runOnce(session, batch, options) : session.run(batch, options);
    },
    dispose: () => session.dispose(),
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  });
  return {
    requests,
    sessions,
    backend: {
      specificationVersion: inner.specificationVersion,
      name: inner.name,
      families: inner.families,
      diagnose: () => inner.diagnose(),
      async load(request) {
        requests.push(request);
        const session = recorded(await inner.load(request));
        sessions.push(session);
        return session;
      },
    },
    take() {
      const taken = batches;
      batches = [];
      return taken;
    },
    async replaying(work) {
      isReplaying = true;
      try {
        return await work();
      } finally {
        isReplaying = false;
      }
    },
  };
}

function textOf({ rows, columns, inputIds, attentionMask, segmentIds, lengths, extents }: Batch): string {
  return [[rows, columns], inputIds, attentionMask, segmentIds, lengths, extents ?? []].join(";");
}

/** The sequences of a batch; padding rows are left out. */
export function rowsOf(batch: Batch): Row[] {
  return [...(batch.extents ?? batch.lengths)].flatMap((extent, row): Row[] => {
    const start = row * batch.columns;
    const part = (array: Int32Array): number[] => [...array.subarray(start, start + extent)];
    const unattended = extent - (batch.lengths[row] as number);
    const sequence = { ids: part(batch.inputIds), segmentIds: part(batch.segmentIds) };
    return extent === 0 ? [] : [{ ...sequence, ...(unattended === 0 ? {} : { unattended }) }];
  });
}

/** A batch with a sequence in each slot, or a padding row where there is none. */
export function batchOf(slots: readonly (Row | undefined)[], columns: number, paddingId: number): Batch {
  const rows = slots.length;
  const inputIds = new Int32Array(rows * columns).fill(paddingId);
  const attentionMask = new Int32Array(rows * columns);
  const segmentIds = new Int32Array(rows * columns);
  const lengths = new Int32Array(rows);
  const extents = new Int32Array(rows);
  for (const [row, slot] of slots.entries()) {
    if (slot === undefined) continue;
    inputIds.set(slot.ids, row * columns);
    segmentIds.set(slot.segmentIds, row * columns);
    const length = slot.ids.length - (slot.unattended ?? 0);
    attentionMask.fill(1, row * columns, row * columns + length);
    lengths[row] = length;
    extents[row] = slot.ids.length;
  }
  const isPlain = slots.every((slot) => (slot?.unattended ?? 0) === 0);
  const batch = { rows, columns, inputIds, attentionMask, segmentIds, lengths };
  return isPlain ? batch : { ...batch, extents };
}
