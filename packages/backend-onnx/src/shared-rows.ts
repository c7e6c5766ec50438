import type { Batch } from "@crossrank/core";
import type { GraphPlan, Sharing } from "./graph-plan.js";
import { keptBytes, leastShared } from "./plan-sharing.js";
import type { RunArgument } from "./protocol.js";

/** Rows of a batch that run together. */
export interface SharedRows {
  /** Their places in the batch. */
  readonly rows: readonly number[];
  /** Tokens at the beginning of each that are the same in all of them, and computed apart; 0 for none. */
  readonly shared: number;
}

type Rows = Pick<Batch, "columns" | "inputIds" | "lengths">;

/** More than any prompt's parts: beyond it, what rows share is taken as it is. */
const deepest = 64;

/**
 * Cuts a batch into what runs together. Rows that begin alike share as much as saves most tokens, at least one token of
 * each row left over; what is shared depends on the batch alone. Rows without tokens are left out.
 */
export function shareRows(batch: Rows, sharing: Sharing): readonly SharedRows[] {
  const { columns, inputIds, lengths } = batch;
  const sorted = [...lengths.keys()]
    .filter((row) => (lengths[row] as number) > 0)
    .map((row) => ({ row, ids: inputIds.subarray(row * columns, row * columns + (lengths[row] as number)) }))
    .sort((a, b) => compareIds(a.ids, b.ids) || a.row - b.row);
  const common = sorted
    .slice(1)
    .map(({ ids }, index) =>
      Math.min(commonLength(ids, (sorted[index] as { ids: Int32Array }).ids), sharing.mostTokens),
    );
  const groups = groupsOf(common, 0, sorted.length, deepest);
  // Those that share nothing with any other run as if nothing were ever shared.
  const alone = groups.filter(({ shared }) => shared === 0).flatMap(({ from, to }) => sorted.slice(from, to));
  return [
    ...groups
      .filter(({ shared }) => shared > 0)
      .flatMap(({ from, to, shared }) => cut(sorted.slice(from, to), shared, sharing)),
    ...cut(alone, 0, sharing),
  ];
}

/** What a runtime is sent of a batch. */
export function argumentFor({ rows, shared }: SharedRows, batch: Rows, plan: GraphPlan): RunArgument {
  const lengths = Int32Array.from(rows, (row) => (batch.lengths[row] as number) - shared);
  const columns = Math.max(...lengths);
  const inputIds = new Int32Array(rows.length * columns);
  const attentionMask = new Int32Array(rows.length * columns);
  for (const [index, row] of rows.entries()) {
    const start = row * batch.columns;
    const length = lengths[index] as number;
    inputIds.set(batch.inputIds.subarray(start + shared, start + shared + length), index * columns);
    attentionMask.fill(1, index * columns, index * columns + length);
  }
  const first = (rows[0] as number) * batch.columns;
  return {
    ...{ plan, rows: rows.length, columns, lengths, arrays: { inputIds, attentionMask } },
    ...(shared === 0 ? {} : { shared: batch.inputIds.slice(first, first + shared) }),
  };
}

interface Group {
  readonly from: number;
  readonly to: number;
  readonly shared: number;
}

/**
 * Neighbours in order that share a beginning.
 *
 * @param common what each row has in common with the next one.
 */
function groupsOf(common: readonly number[], from: number, to: number, depth: number): readonly Group[] {
  if (to <= from) return [];
  if (to - from === 1) return [{ from, to, shared: 0 }];
  let shared = common[from] as number;
  for (let index = from + 1; index < to - 1; index += 1) shared = Math.min(shared, common[index] as number);
  const whole = { from, to, shared: shared < leastShared ? 0 : shared };
  if (depth === 0) return [whole];
  const parts: Group[] = [];
  let start = from;
  for (let index = from; index < to; index += 1) {
    if (index < to - 1 && common[index] !== shared) continue;
    // All in common: nothing to part.
    if (start !== from || index < to - 1) parts.push(...groupsOf(common, start, index + 1, depth - 1));
    start = index + 1;
  }
  return savedBy(parts) > savedBy([whole]) ? parts : [whole];
}

/** Tokens that are not computed. */
function savedBy(groups: readonly Group[]): number {
  return groups.reduce((sum, { from, to, shared }) => sum + shared * (to - from - 1), 0);
}

/** Rows in the order of their lengths, as many together as `together` says of their rests. */
function cut(
  members: readonly { readonly row: number; readonly ids: Int32Array }[],
  shared: number,
  { together, mostRests, tokenBytes }: Sharing,
): readonly SharedRows[] {
  const sorted = [...members].sort((a, b) => b.ids.length - a.ids.length || a.row - b.row);
  // Each row of a run is fed a copy of the beginning.
  const room =
    shared === 0 ? together.rows : Math.min(mostRests, Math.floor(keptBytes / (shared * tokenBytes)));
  const found: { rows: number[]; shared: number }[] = [];
  let rows: number[] = [];
  let [columns, tokens] = [0, 0];
  for (const { row, ids } of sorted) {
    const length = ids.length - shared;
    const size = (rows.length + 1) * columns;
    const fits =
      rows.length < room && size <= together.tokens && 1 - (tokens + length) / size <= together.padding;
    if (rows.length === 0 || !fits) {
      rows = [];
      [columns, tokens] = [length, 0];
      found.push({ rows, shared });
    }
    rows.push(row);
    tokens += length;
  }
  return found;
}

/** Tokens that both begin with, so that each has one more. */
function commonLength(one: Int32Array, other: Int32Array): number {
  const most = Math.min(one.length, other.length) - 1;
  let length = 0;
  while (length < most && one[length] === other[length]) length += 1;
  return length;
}

function compareIds(one: Int32Array, other: Int32Array): number {
  const length = Math.min(one.length, other.length);
  for (let index = 0; index < length; index += 1) {
    const difference = (one[index] as number) - (other[index] as number);
    if (difference !== 0) return difference;
  }
  return one.length - other.length;
}
