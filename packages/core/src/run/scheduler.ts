import type { Batch, Capabilities } from "../contract/backend.js";
import type { EncodedSequence } from "../encoding/pair-encoder.js";
import { mostCells, readLimits, requireRoom } from "./limits.js";

/** Which sequences go into one batch, and its shape. */
export interface PlannedBatch {
  /** Positions of the sequences in the list that was planned. */
  readonly members: readonly number[];
  /** Rows of the batch; more than `members.length` where the backend wants an exact number. */
  readonly rows: number;
  readonly columns: number;
}

type Limits = Pick<Capabilities, "sequenceLengths" | "batchSize" | "batchPreference">;

/** Most rows that share a batch. */
export function rowsTogether({ batchSize, batchPreference }: Omit<Limits, "sequenceLengths">): number {
  return "exactly" in batchSize ? batchSize.exactly : Math.min(batchSize.max, batchPreference.rows);
}

/**
 * Cuts sequences into batches within a backend's declared limits: longest first, neighbours in length together.
 * Deterministic; equal lengths keep their order. No batch has more than {@link mostCells} tokens, whatever is declared.
 *
 * @param lengths tokens of each sequence, each within the longest length that the backend allows.
 * @throws {InvalidInputError} for limits that no batch can keep to.
 */
export function planBatches(lengths: readonly number[], declared: Limits): PlannedBatch[] {
  const limits = readLimits(declared);
  const columnsOf = lengths.map((length) => paddedLength(length, limits.sequenceLengths));
  const order = lengths.map((_, index) => index).sort((a, b) => at(columnsOf, b) - at(columnsOf, a) || a - b);
  const batches: PlannedBatch[] = [];
  for (let next = 0; next < order.length; ) {
    const columns = at(columnsOf, at(order, next));
    const room = rowsFor(columns, limits);
    const members: number[] = [];
    let tokens = 0;
    while (next < order.length && members.length < room) {
      const candidate = at(order, next);
      const width = at(columnsOf, candidate);
      const padding = 1 - (tokens + width) / ((members.length + 1) * columns);
      // A row of an exact batch is computed whether it is filled or not, so padding is no reason to leave it empty.
      if (!("exactly" in limits.batchSize) && padding > limits.batchPreference.padding) break;
      members.push(candidate);
      tokens += width;
      next += 1;
    }
    batches.push({
      members,
      rows: "exactly" in limits.batchSize ? limits.batchSize.exactly : members.length,
      columns,
    });
  }
  return batches;
}

/** Lays the sequences of a planned batch into padded arrays. */
export function fillBatch(
  plan: PlannedBatch,
  sequences: readonly EncodedSequence[],
  paddingId: number,
): Batch {
  const { rows, columns } = plan;
  const inputIds = new Int32Array(rows * columns).fill(paddingId);
  const attentionMask = new Int32Array(rows * columns);
  const segmentIds = new Int32Array(rows * columns);
  const lengths = new Int32Array(rows);
  const extents = new Int32Array(rows);
  plan.members.forEach((member, row) => {
    const sequence = at(sequences, member);
    const start = row * columns;
    inputIds.set(sequence.ids, start);
    segmentIds.set(sequence.segmentIds, start);
    extents[row] = sequence.ids.length;
    lengths[row] = sequence.ids.length - (sequence.unattended ?? 0);
    attentionMask.fill(1, start, start + at(lengths, row));
  });
  const isPlain = extents.every((extent, row) => extent === lengths[row]);
  return {
    ...{ rows, columns, inputIds, attentionMask, segmentIds, lengths },
    ...(isPlain ? {} : { extents }),
  };
}

function paddedLength(length: number, allowed: Capabilities["sequenceLengths"]): number {
  if (allowed === "any") return length;
  const fit = allowed.find((candidate) => candidate >= length);
  if (fit === undefined) throw new RangeError(`a sequence of ${length} tokens exceeds ${allowed.join(", ")}`);
  return fit;
}

function rowsFor(columns: number, { batchSize, batchPreference }: Limits): number {
  if ("exactly" in batchSize) {
    requireRoom(batchSize.exactly, columns, "batchSize.exactly");
    return batchSize.exactly;
  }
  const byTokens = Math.floor(Math.min(batchPreference.tokens, mostCells) / Math.max(columns, 1));
  return Math.max(1, Math.min(batchSize.max, batchPreference.rows, byTokens));
}

function at<T>(list: { readonly [index: number]: T }, index: number): T {
  return list[index] as T;
}
