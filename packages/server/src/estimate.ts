/** Bytes of UTF-8 that make a token on average: English has four to five, Chinese three. */
const bytesOfToken = 4;
/** Special tokens and a template's wording. */
const overhead = 4;

/**
 * About how many tokens pairs have, before they are tokenised: what limits and the queue count. A pair has at most
 * `maxLength`, since longer ones are cut.
 */
export function estimateTokens(
  pairs: Iterable<{ readonly query: string; readonly document: string }>,
  maxLength: number,
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
    tokens += Math.min(maxLength, own);
  }
  return tokens;
}
