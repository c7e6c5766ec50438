import type { BatchPreference } from "@crossrank/core";

/** How sequences are put into batches: each by itself, or of different lengths together, with padding. */
export type BatchUse = "one row at a time" | "padded batches";

/** In the order in which they are to be tried: a runtime may be wrong in the second shape that it sees. */
export const batchUses: readonly BatchUse[] = ["one row at a time", "padded batches"];

/** The batches of each use. */
export const batchesOfUse: Readonly<Record<BatchUse, BatchPreference>> = {
  "one row at a time": { rows: 1, tokens: Number.MAX_SAFE_INTEGER, padding: 0 },
  // Whatever differs in length is padded. Long sequences stay alone: attention's memory grows with their square.
  "padded batches": { rows: 4, tokens: 2048, padding: 1 },
};
