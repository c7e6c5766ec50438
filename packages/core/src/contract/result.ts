import type { ArtifactInfo, BackendInfo, Settings } from "./backend.js";
import type { AppliedCalibration } from "./calibration.js";
import type { ChunkingProvenance, RelevantSpan } from "./long-documents.js";
import type { CrossrankWarning } from "./warnings.js";

/**
 * What `score` means.
 * - `logit`: unbounded, the same number as `logit`.
 * - `probability`: 0 to 1, the sigmoid of `logit`. In float64 here; it still reads 1 above about 36, so rank on `logit`.
 * - `cosine`: −1 to 1, the same number as `logit`; of a late-interaction model, whose logit is a sum over the query's
 *   tokens, their mean.
 * - `tanh`: −1 to 1, the hyperbolic tangent of `logit`. It reads 1 above about 19, so rank on `logit`.
 */
export type Scale = "logit" | "probability" | "cosine" | "tanh";

/**
 * - `reranked`: every document has its place by logit (those with a query overflow come last, flagged).
 * - `partial`: the call was aborted with `whenAborted: "partial"`, or its time budget ran out with
 *   `whenExceeded: "partial"`; unscored documents come last, in input order.
 * - `passthrough`: the order is the caller's and every logit and score is null. Only where it was asked for: a time
 *   budget with `whenExceeded: "passthrough"`, or a chain of variants with `whenExhausted: "passthrough"`.
 */
export type Status = "reranked" | "partial" | "passthrough";

/** The score of one pair. */
export interface PairScore {
  /** The ranking key, float32 or better. Null when there is none: never read null as "irrelevant". */
  readonly logit: number | null;
  /** `logit` on the result's scale. Null exactly when `logit` is. */
  readonly score: number | null;
  /** Tokens the model was given for this pair, special tokens included, padding not; of passages their sum. */
  readonly tokens: number;
  /** Document tokens that were cut off; 0 when it fitted. */
  readonly truncatedTokens: number;
  /** True when more was cut than was counted: very long documents are not read to their end. */
  readonly truncatedTokensIsMinimum?: true;
  /** The query leaves no room for a document, so the pair was not scored. */
  readonly queryOverflow?: true;
  /** How many passages of the document were scored; only of a call that scores long documents by passages. */
  readonly passages?: number;
  /**
   * The passages that decided, the best first (of the aggregate `first`, the first first); the whole document where it
   * fits. Only of a call that scores long documents by passages.
   */
  readonly relevantSpans?: readonly RelevantSpan[];
  /** The call ended before this pair's turn (status `partial`), or nothing was to be scored (`passthrough`). */
  readonly notScored?: true;
}

/** One document in ranked order. */
export interface RankedDocument<Document> extends PairScore {
  /** Position in the `documents` that were passed. */
  readonly index: number;
  /**
   * The caller's own document, the same reference; only with `returnDocuments`. Where the caller has given it another
   * `text` during the call, a copy with the text that was scored; never where the call's option `text` made the texts.
   */
  readonly document?: Document;
}

export interface Usage {
  /** Sequences run, padding rows not counted. */
  readonly sequences: number;
  /** Real tokens run, padding not counted. */
  readonly tokens: number;
  /** Tokens the runtime computed, padding included; the difference to `tokens` is waste. */
  readonly paddedTokens: number;
  readonly batches: number;
  /** Pairs, or passages of long documents, whose score came from the score cache; only where there is one. */
  readonly cached?: number;
  /** Wall-clock milliseconds by step. `run` includes waiting for the runtime. */
  readonly milliseconds: { readonly encode: number; readonly run: number; readonly total: number };
}

/** What every result says about how its numbers came about. */
export interface Provenance {
  readonly model: {
    readonly id: string;
    readonly revision: string | undefined;
    readonly artifact: ArtifactInfo;
  };
  readonly backend: BackendInfo;
  /** What the backend's session was told that can change a number. */
  readonly settings: Settings;
  readonly scale: Scale;
  /**
   * `pointwise`: a score depends on its query and its document alone. `listwise`: the model saw the documents of a
   * query together, so that a score also depends on the others and on their order; compare within one result only.
   */
  readonly scoring: "pointwise" | "listwise";
  /** Which probabilities the scores are; only of calls with `activation: "probability"`. */
  readonly calibration?: AppliedCalibration;
  /** How documents that are longer than the model were scored; only where they were not cut. */
  readonly longDocuments?: ChunkingProvenance;
  /**
   * A short string for everything that these scores depend on beside the texts, for a cache of scores; as
   * `Reranker.cacheKey` gives it. Only with `returnCacheKey`. Of a `listwise` model the other documents of the call, in
   * their order, belong to the texts.
   */
  readonly cacheKey?: string;
}

/**
 * Where the texts of the documents came from: fields of theirs, those that are there and not blank, in this order, with
 * the separator between them; or a function of the caller's.
 */
export type TextSource =
  | { readonly kind: "fields"; readonly fields: readonly string[]; readonly separator: " " }
  | { readonly kind: "function" };

export interface RerankResult<Document> extends Provenance {
  readonly status: Status;
  /** Only of a call with the option `text`. */
  readonly text?: TextSource;
  /** Best first; all documents, or the first `topN`, without those below the `threshold`. */
  readonly results: readonly RankedDocument<Document>[];
  /** Documents that `threshold` has left out; only where it was given. */
  readonly belowThreshold?: number;
  readonly warnings: readonly CrossrankWarning[];
  readonly usage: Usage;
}

/** The ranking of one query among many. */
export interface QueryRanking<Document>
  extends Pick<RerankResult<Document>, "status" | "results" | "belowThreshold" | "warnings"> {
  /** Of a query that was asked before in the same call: 0, since it was scored once. */
  readonly usage: {
    /** Pairs that have a score. */
    readonly documents: number;
    /** Tokens that the model was given for them. */
    readonly tokens: number;
  };
}

/** Rankings of the same documents for many queries. */
export interface RerankManyResult<Document>
  extends Omit<RerankResult<Document>, "results" | "belowThreshold"> {
  /** One a query, in their order. Their warnings are of their texts. */
  readonly rankings: readonly QueryRanking<Document>[];
}

export interface ScoreResult extends Provenance {
  readonly status: Status;
  /** One entry a pair, in the order passed. */
  readonly scores: readonly PairScore[];
  readonly warnings: readonly CrossrankWarning[];
  readonly usage: Usage;
}

/** A variant that fell out, and why. */
export interface StepDown {
  readonly variant: string;
  /** `load`: while opening, downloading, loading or probing it. `run`: while scoring. */
  readonly during: "load" | "run";
  /**
   * Code of the error, e.g. `model-load`, `probe-failed`, `hash-mismatch`, `backend-run`, `non-finite-score`;
   * `unexpected` for one that is not a `CrossrankError`.
   */
  readonly reason: string;
  readonly error: Error;
}

/**
 * Which variant a result is from: all of its scores are of this one. Null throughout when the call ended before a
 * variant was ready, or when none is left.
 */
export type VariantProvenance =
  | (Provenance & { readonly variant: string })
  | ({ readonly [Field in Exclude<keyof Provenance, keyof Optional> | "variant"]: null } & {
      readonly [Field in keyof Optional]?: never;
    });

/** What not every result says. */
type Optional = Pick<Provenance, "cacheKey" | "longDocuments" | "calibration">;

interface Fallbacks {
  /** The variants before this one that fell out, in order, in this call or an earlier one. */
  readonly fallbacks: readonly StepDown[];
}

/** What a chain of variants answers. */
export type FallbackRerankResult<Document> = VariantProvenance &
  Fallbacks &
  Omit<RerankResult<Document>, keyof Provenance>;

/** What a chain of variants answers. */
export type FallbackRerankManyResult<Document> = VariantProvenance &
  Fallbacks &
  Omit<RerankManyResult<Document>, keyof Provenance>;

/** What a chain of variants answers. */
export type FallbackScoreResult = VariantProvenance & Fallbacks & Omit<ScoreResult, keyof Provenance>;
