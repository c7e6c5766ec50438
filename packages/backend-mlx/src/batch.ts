import type { Batch } from "@crossrank/core";
import type { AddonBatch } from "./native.js";
import type { ModelPlan } from "./prepare.js";

/**
 * Why a model does not take a batch; undefined where it does. The interpreter refuses the same; here it is said before
 * anything is sent.
 */
export function batchProblem(batch: Batch, plan: ModelPlan): string | undefined {
  const { rows, columns, inputIds, attentionMask, segmentIds, lengths, extents = lengths } = batch;
  const { longest, vocabularySize, segments, reach } = plan;
  const isCount = (value: number): boolean => Number.isInteger(value) && value >= 1;
  if (!isCount(rows) || !isCount(columns)) return `a batch of ${rows} × ${columns}`;
  if (columns > longest) return `sequences of ${columns} tokens, and the model has positions for ${longest}`;
  if (lengths.length !== rows || extents.length !== rows) return `${lengths.length} lengths for ${rows} rows`;
  for (let row = 0; row < rows; row += 1) {
    const [length, extent] = [lengths[row] as number, extents[row] as number];
    if (!(length >= 0 && length <= extent && extent <= columns))
      return `a row of ${length} and ${extent} tokens in ${columns} columns`;
    const mask = attentionMask.subarray(row * columns, (row + 1) * columns);
    if (mask.some((attended, column) => attended !== (column < length ? 1 : 0)))
      return "an attention mask that is not the row's first tokens, by whose number MLX masks";
    if (extent > length && reach !== undefined && extent - length > reach)
      return `a token that is not attended sees ${reach} places to either side, and no attended token is there`;
  }
  const unknown = inputIds.find((id) => !(id >= 0 && id < vocabularySize));
  if (unknown !== undefined) return `token ${unknown}, and the model has a vocabulary of ${vocabularySize}`;
  const segment = segments > 1 ? segmentIds.find((one) => !(one >= 0 && one < segments)) : undefined;
  return segment === undefined ? undefined : `segment ${segment}, and the model has ${segments}`;
}

/** Of each row the places of its tokens that are read. */
export function placesRead(
  { rows, columns, inputIds, lengths }: Batch,
  { reads, passedOver, tokens, output }: ModelPlan,
): readonly (readonly number[])[] {
  const marks = new Set(tokens);
  return Array.from({ length: rows }, (_, row) => {
    const ids = inputIds.subarray(row * columns, row * columns + (lengths[row] as number));
    if (reads === "marks") return [...ids.keys()].filter((place) => marks.has(ids[place] as number));
    if (reads !== "last") return [0];
    const skipped = output === "class-logits" ? passedOver : undefined;
    return [
      Math.max(
        0,
        ids.findLastIndex((id) => id !== skipped),
      ),
    ];
  });
}

/** @param places as `placesRead` gives them. */
export function addonBatch(
  batch: Batch,
  plan: ModelPlan,
  places: readonly (readonly number[])[],
): AddonBatch {
  const { rows, columns, inputIds, segmentIds, lengths, extents = lengths } = batch;
  const picked = Math.max(1, ...places.map(({ length }) => length));
  const flat = new Int32Array(rows * picked);
  for (const [row, of] of places.entries()) flat.set(of, row * picked);
  return {
    rows,
    columns,
    picked,
    ids: inputIds,
    // A table of one row is added to every token, whatever its segment.
    segments: plan.segments > 1 ? segmentIds : new Int32Array(rows * columns),
    lengths,
    extents,
    places: flat,
  };
}
