/**
 * How the scores of a document's passages become the document's.
 * - `max`: the best passage's.
 * - `mean-of-top`: the mean of the best passages' logits, of `top` of them or of all where there are fewer.
 * - `first`: the first passage's.
 */
export type Aggregate = "max" | "mean-of-top" | "first";

/** A document that is longer than the model is cut into passages, which overlap. Each is scored by itself. */
export interface LongDocumentSettings {
  /** Default `"max"`. */
  readonly aggregate?: Aggregate | undefined;
  /** Passages of a mean, 1 to 65,536. Default 3. Goes with `mean-of-top` alone. */
  readonly top?: number | undefined;
  /** Most tokens of a passage, 8 or more. Default and most: what the model has room for beside the query. */
  readonly passageTokens?: number | undefined;
  /** Most tokens that a passage shares with the one before it, 0 or more. Default 64. At most half of a passage. */
  readonly overlapTokens?: number | undefined;
  /**
   * Most passages of a document, 1 to 65,536. Default 256. What is behind them is not read, and is counted in
   * `truncatedTokens`.
   */
  readonly maxPassages?: number | undefined;
  /**
   * Most `relevantSpans` of a document, 0 to 65,536. Default: one a passage that decided, so 1, or `top` of a mean.
   * Changes no score.
   */
  readonly spans?: number | undefined;
}

/**
 * What is done with a document that is longer than the model: `"truncate"` cuts it, `"chunk"` scores it passage by
 * passage with the default settings.
 */
export type LongDocuments = "truncate" | "chunk" | LongDocumentSettings;

/** The settings of a call that chunks, with every default in place. */
export interface ChunkingProvenance {
  readonly aggregate: Aggregate;
  /** Only of `mean-of-top`. */
  readonly top?: number;
  /** Undefined: what the model has room for. */
  readonly passageTokens?: number;
  readonly overlapTokens: number;
  readonly maxPassages: number;
}

/** A passage of a document, and its score. Positions are those of the text that was scored. */
export interface RelevantSpan {
  /** Where it begins, in UTF-16 code units, as `text.slice(start, end)` has it. */
  readonly start: number;
  /** Where it ends, in UTF-16 code units. */
  readonly end: number;
  /** `start` in Unicode code points, as Python has it. */
  readonly startCodePoint: number;
  /** `end` in Unicode code points. */
  readonly endCodePoint: number;
  readonly logit: number;
  /** On the result's scale. */
  readonly score: number;
}
