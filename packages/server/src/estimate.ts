/** Bytes of UTF-8 that make a token on average: English has four to five, Chinese three. */
const bytesOfToken = 4;
/** Share of a passage that the one before it does not have. */
const freshOfPassage = 0.75;
/** Special tokens and a template's wording. */
const overhead = 4;

/**
 * About how many tokens pairs have, before they are tokenised: what limits and the queue count. A pair has at most
 * `maxLength`, since longer ones are cut; or that for each of its passages, since longer ones are read by them.
 *
 * @param maxPassages of a document; 1 where it is cut.
 */
export function estimateTokens(
  pairs: Iterable<{ readonly query: string; readonly document: string }>,
  maxLength: number,
  maxPassages = 1,
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
    if (own <= maxLength || maxPassages === 1) {
      tokens += Math.min(maxLength, own);
      continue;
    }
    // Each passage has the query before it, and repeats some of the one before it.
    const beside = Math.ceil(queryBytes / bytesOfToken) + overhead;
    const room = Math.max(1, (maxLength - beside) * freshOfPassage);
    tokens += Math.min(maxPassages, Math.ceil((own - beside) / room)) * maxLength;
  }
  return tokens;
}
