/**
 * - `cross-encoder`: one sequence a pair, a classification head.
 * - `bi-encoder`: query and document apart, pooled, compared by cosine.
 * - `causal-lm`: a prompt, and the logits of two answer tokens.
 * - `listwise`: one sequence holding many documents.
 */
export type Family = "cross-encoder" | "bi-encoder" | "causal-lm" | "listwise";

/**
 * One piece of an input sequence: a special token, or the place of a text. Taken from `post_processor` in
 * tokenizer.json, so that the template is the model's own and not one per architecture.
 */
export type TemplatePiece =
  | {
      /** The special token's spelling, for display. */
      readonly token: string;
      readonly id: number;
      readonly segment: 0 | 1;
    }
  | { readonly text: "query" | "document"; readonly segment: 0 | 1 };

/**
 * How raw outputs become one number.
 * - `logit`: the classifier's only output.
 * - `two-class`: logit[positive] − logit[1 − positive]; its sigmoid is the softmax probability of `positive`.
 * - `cosine`: pooled token vectors of query and document, L2-normalised, dot product. Pooling `cls` takes the
 *   first token's vector, `mean` the mean over real tokens, special tokens included (sentence-transformers'
 *   `Pooling`).
 */
export type Head =
  | { readonly kind: "logit" }
  | { readonly kind: "two-class"; readonly positive: 0 | 1 }
  | { readonly kind: "cosine"; readonly pooling: "cls" | "mean" };

/**
 * What is cut when a pair is too long, always from the right.
 * - `document-only`: the document; the query is never touched (default).
 * - `longest-first`: token by token from whichever is longer, as Hugging Face's `longest_first`, for parity.
 */
export type TruncationStrategy = "document-only" | "longest-first";

/**
 * What a model is, as data. Read from its own files, or from a `crossrank.json` beside them, whose entries
 * take precedence field by field. Never guessed from a name.
 */
export interface ModelProfile {
  readonly specificationVersion: "1";
  readonly family: Family;
  /** `model_type` of config.json, e.g. `"bert"`. For display, and for rules that the architecture itself sets. */
  readonly architecture: string;
  /** Cross-encoder: the sequence of a pair. */
  readonly pairTemplate: readonly TemplatePiece[];
  /** Bi-encoder: the sequence of one text; `text: "query"` stands for a query or a document. */
  readonly singleTemplate: readonly TemplatePiece[];
  /** Longest input sequence in tokens, special tokens included. */
  readonly maxLength: number;
  readonly truncation: TruncationStrategy;
  /** Token id that fills up rows on the right. */
  readonly paddingId: number;
  readonly head: Head;
  /** From logit to score: `identity` gives scale `logit` (or `cosine`), `sigmoid` gives scale `probability`. */
  readonly activation: "identity" | "sigmoid";
  /** Bi-encoder: text put before every query, e.g. an instruction. `""` for none. */
  readonly queryPrefix: string;
  /** Bi-encoder: text put before every document. `""` for none. */
  readonly documentPrefix: string;
  /** Precision to load when the caller names none; undefined lets the backend take the most precise there is. */
  readonly defaultDtype?: string | undefined;
  /** Reference logits that every backend is checked against at load. */
  readonly expectations?: Expectations | undefined;
}

export interface Expectations {
  /** Largest absolute difference in logits; wide enough for every artifact that is shipped with the model. */
  readonly tolerance: number;
  readonly pairs: readonly {
    readonly query: string;
    readonly document: string;
    readonly logit: number;
  }[];
}

/** A `crossrank.json`: any of the profile's fields. */
export type CrossrankJson = { readonly [Field in keyof ModelProfile]?: ModelProfile[Field] | undefined };

/** Where each field of a profile came from, as text, e.g. `"tokenizer.json post_processor"`. */
export type ProfileSources = { readonly [Field in keyof ModelProfile]?: string };
