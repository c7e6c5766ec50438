import type { LongDocumentSettings } from "@crossrank/core";

/** Bytes of UTF-8 that make a token on average: English has four to five, Chinese three. */
const bytesOfToken = 4;
/** How full a passage is that ends with a sentence or a word. */
const filled = 0.9;
/** How much of the overlap that is allowed is taken. */
const repeated = 0.75;
/** Special tokens and a template's wording. */
const overhead = 4;

/**
 * About how many tokens pairs have, before they are tokenised: what limits and the queue count. A pair has at most
 * `maxLength`, since longer ones are cut; or that for each of its passages, since longer ones are read by them.
 *
 * @param chunking how long documents are read by passages; undefined where they are cut.
 */
export function estimateTokens(
  pairs: Iterable<{ readonly query: string; readonly document: string }>,
  maxLength: number,
  chunking?: LongDocumentSettings,
): number {
  let tokens = 0;
  let lastQuery: string | undefined;
  let queryBytes = 0;
  for (const { query, document } of pairs) {
    if (query !== lastQuery) {
      lastQuery = query;
      queryBytes = Buffer.byteLength(query);
    }
    const own = Math.ceil((queryBytes + Buffer.byteLength(document)) / bytesOfToken) + overhead;
    if (own <= maxLength || chunking === undefined) {
      tokens += Math.min(maxLength, own);
      continue;
    }
    // Each passage has the query before it, and repeats some of the one before it.
    const { passageTokens = maxLength, overlapTokens = 0, maxPassages = Number.MAX_SAFE_INTEGER } = chunking;
    const beside = Math.min(maxLength - 1, Math.ceil(queryBytes / bytesOfToken) + overhead);
    const room = Math.min(maxLength - beside, passageTokens);
    const fresh = Math.max(1, (room - Math.min(overlapTokens, room / 2) * repeated) * filled);
    tokens += Math.min(maxPassages, Math.ceil((own - beside) / fresh)) * (beside + room);
  }
  return tokens;
}
