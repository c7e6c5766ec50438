import type { TruncationStrategy } from "../contract/model-profile.js";

/** How many tokens of each text are kept. */
export interface KeptTokens {
  readonly query: number;
  readonly document: number;
  /** The query leaves no token for the document: the score would be noise. */
  readonly queryOverflow: boolean;
}

/**
 * Cuts a pair to a budget of tokens, special tokens not counted.
 *
 * - `document-only`: budget − query for the document; nothing left is a query overflow (the model card of
 *   bge-reranker-base-coreml: `max_doc_tokens = S - len(query_tokens) - 4`, `<= 0` drops the document).
 * - `longest-first`: what Rust's tokenizers do (`src/utils/truncation.rs`, `TruncationStrategy::LongestFirst`),
 *   and so transformers' fast tokenizers and sentence-transformers. It may cut the query.
 */
export function truncate(
  strategy: TruncationStrategy,
  lengths: { readonly query: number; readonly document: number },
  budget: number,
): KeptTokens {
  if (strategy === "document-only") {
    const room = budget - lengths.query;
    return room <= 0
      ? { query: Math.min(lengths.query, budget), document: 0, queryOverflow: true }
      : { query: lengths.query, document: Math.min(lengths.document, room), queryOverflow: false };
  }
  if (lengths.query + lengths.document <= budget) return { ...lengths, queryOverflow: false };
  const shorter = Math.min(lengths.query, lengths.document);
  let short = shorter;
  let long = Math.max(shorter, budget - shorter);
  if (short + long > budget) {
    short = Math.floor(budget / 2);
    long = short + (budget % 2);
  }
  return lengths.query > lengths.document
    ? { query: long, document: short, queryOverflow: false }
    : { query: short, document: long, queryOverflow: false };
}
