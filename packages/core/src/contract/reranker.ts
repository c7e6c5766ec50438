import type { ScoreCache } from "../score-cache/score-cache.js";
import type { Backend, SessionFacts } from "./backend.js";
import type { ActivationChoice } from "./calibration.js";
import type { LongDocuments } from "./long-documents.js";
import type { FileProgress, ModelFiles } from "./model-files.js";
import type { CrossrankJson, ModelProfile, ProfileSources, TruncationStrategy } from "./model-profile.js";
import type { Provenance, RerankManyResult, RerankResult, ScoreResult, Usage } from "./result.js";

/** How long a call may take, and what it answers when that is over. */
export interface TimeBudget {
  /** Wall-clock milliseconds from the call on, loading and queueing included. Above 0, at most 2³¹ − 1. */
  readonly milliseconds: number;
  /**
   * - `partial`: what was scored is ranked first; the others come last, in the caller's order, with null scores.
   * - `passthrough`: everything in the caller's order, every score null, whatever was scored by then.
   * - `throw`: rejects with {@link TimeBudgetExceededError}.
   */
  readonly whenExceeded: "partial" | "passthrough" | "throw";
}

/** Vectors of texts; provenance is the reranker's. */
export interface Embedding {
  /** One a text, in their order: L2-normalised, float32. */
  readonly vectors: readonly Float32Array[];
  /** Tokens cut from each text. */
  readonly truncatedTokens: readonly number[];
  readonly usage: Usage;
}

export interface CreateRerankerOptions {
  readonly model: ModelFiles;
  readonly backend: Backend;
  /** Precision to load, e.g. `"fp32"` or `"int8"`. Default: the model's own default, else the most precise there is. */
  readonly dtype?: string | undefined;
  /** Longest sequence in tokens. Default and most: what the model and the artifact allow. */
  readonly maxLength?: number | undefined;
  /** Default `"document-only"`. */
  readonly truncation?: TruncationStrategy | undefined;
  /** The instruction of calls that give none. Default: the model's own. `""` for none. */
  readonly instruction?: string | undefined;
  /** What calls that give none do with documents that are longer than the model. Default `"truncate"`. */
  readonly longDocuments?: LongDocuments | undefined;
  /** Scores of pairs, kept from call to call. Not disposed with the reranker. Default: none. */
  readonly scoreCache?: ScoreCache | undefined;
  /** Facts about the model that override its files, in the form of a crossrank.json. */
  readonly profile?: CrossrankJson | undefined;
  /** Score a few fixed pairs after loading and refuse a model that does not behave like a reranker. Default true. */
  readonly probe?: boolean | undefined;
  /** Stops reading and downloading. */
  readonly signal?: AbortSignal | undefined;
  /** Downloads, if there are any. What it throws or rejects with fails the load. */
  readonly onProgress?: ((progress: FileProgress) => void) | undefined;
}

/** A document: its text, or an object that carries it. */
export type DocumentInput = string | { readonly text: string };

export interface Pair {
  readonly query: string;
  readonly document: DocumentInput;
}

export interface ScoringProgress {
  /** Pairs done so far. */
  readonly completed: number;
  readonly total: number;
}

export interface ScoreOptions {
  /** Stops between batches. */
  readonly signal?: AbortSignal | undefined;
  /** What an abort does: reject with the signal's reason (`"throw"`, the default), or return what was scored. */
  readonly whenAborted?: "throw" | "partial" | undefined;
  /**
   * When the call is to answer at the latest, and with what. The answer does not wait for a batch that cannot be
   * interrupted: that one ends in the background and is dropped. Default: no limit.
   */
  readonly timeBudget?: TimeBudget | undefined;
  /**
   * What counts as relevant, for models that take an instruction. Default: that of `createReranker`, else the
   * model's own; `""` for none.
   */
  readonly instruction?: string | undefined;
  /**
   * What is done with documents that are longer than the model: cut (`"truncate"`), or scored passage by passage
   * (`"chunk"`, or settings). A document that fits has the score that it has without the option. Not for listwise
   * models. Default: that of `createReranker`.
   */
  readonly longDocuments?: LongDocuments | undefined;
  /**
   * What the scores are. `model`, the default: as the model's activation gives them. `probability`: from 0 to 1, by the
   * profile's `calibration`, else the sigmoid of the logit; the result says which in `calibration`. The order is the
   * same.
   */
  readonly activation?: ActivationChoice | undefined;
  /** Put the call's `cacheKey` into the result. Default false. */
  readonly returnCacheKey?: boolean | undefined;
  /**
   * Called after each batch. What it throws or rejects with fails the call, and the call waits for the promises that it
   * returns.
   */
  readonly onProgress?: ((progress: ScoringProgress) => void) | undefined;
}

/** The options of a call on which its scores depend. */
export type CacheKeyOptions = Pick<ScoreOptions, "instruction" | "longDocuments" | "activation">;

export interface EmbedOptions extends Pick<ScoreOptions, "signal" | "onProgress" | "returnCacheKey"> {
  readonly as: "query" | "document";
}

/** Vectors and how they came about. */
export type EmbedResult = Embedding & Omit<Provenance, "scale" | "scoring">;

/**
 * The text of a document: fields, joined with a space between those that are there and not blank; or what a function
 * gives for it.
 */
export type TextOf<Document> = readonly string[] | ((document: Document) => string);

/** Documents to rank, and what is wanted of them. */
interface RankingOptions<Document> extends ScoreOptions {
  /** At most 2²⁴; none gives an empty result. Read once, when the call begins. */
  readonly documents: readonly Document[];
  /** Return the best n only; all are scored. Default: all. */
  readonly topN?: number | undefined;
  /**
   * Leave out documents whose score is below it, on the result's scale; `belowThreshold` of the result says how many.
   * Documents without a score stay. Default: none is left out.
   */
  readonly threshold?: number | undefined;
  /** Put the caller's document into each result. Default false. */
  readonly returnDocuments?: boolean | undefined;
}

/** A document has its text itself, or the option `text` says where it is. */
type TextOption<Document> = [Document] extends [DocumentInput]
  ? { readonly text?: TextOf<Document> | undefined }
  : { readonly text: TextOf<Document> };

export type RerankOptions<Document> = RankingOptions<Document> &
  TextOption<Document> & {
    /** Not empty, and not white space alone. */
    readonly query: string;
  };

export type RerankManyOptions<Document> = RankingOptions<Document> &
  TextOption<Document> & {
    /** As the query of `rerank`. Queries times documents are at most 2²⁴. */
    readonly queries: readonly string[];
  };

export interface DrainOptions {
  /** Ends the wait; the reranker goes on draining. */
  readonly signal?: AbortSignal | undefined;
}

/** A model on a backend, ready to score. Calls may overlap; they share the backend's capacity. */
export interface Reranker extends AsyncDisposable {
  readonly profile: ModelProfile;
  /** Where each field of the profile came from. */
  readonly sources: ProfileSources;
  /** What was loaded, and what it can do. */
  readonly session: SessionFacts;
  /**
   * Scores every document against the query and orders them, best first.
   *
   * @throws {InvalidInputError} empty query, a document that is not text, a bad option.
   * @throws {NonFiniteScoreError} when the model returns NaN or an infinity for any pair.
   * @throws {BackendRunError} when the runtime fails.
   * @throws {DisposedError} when the reranker is disposed before or during the call.
   * @throws {TimeBudgetExceededError} where the time budget says so.
   * @throws the signal's reason, once aborted.
   */
  rerank<Document extends DocumentInput | object>(
    options: RerankOptions<Document>,
  ): Promise<RerankResult<Document>>;
  /**
   * Ranks the same documents for each of many queries, as `rerank` does one by one: with the same scores, and batches
   * that are filled across queries. Budget, signal and progress are those of the whole call. Throws as `rerank` does.
   */
  rerankMany<Document extends DocumentInput | object>(
    options: RerankManyOptions<Document>,
  ): Promise<RerankManyResult<Document>>;
  /** Scores pairs, in their own order. Throws as `rerank` does. */
  score(pairs: readonly Pair[], options?: ScoreOptions): Promise<ScoreResult>;
  /**
   * Vectors of texts, for retrieval over a whole corpus: their dot products are the cosines that `score` gives.
   * Bi-encoders only. The prefix of a query or of a document is put before each text.
   *
   * @throws {InvalidInputError} when the model is no bi-encoder, or a text is no string; otherwise as `rerank`.
   */
  embed(texts: readonly string[], options: EmbedOptions): Promise<EmbedResult>;
  /**
   * A short string for everything that the scores of calls with these options depend on beside the texts: model files
   * (by content, wherever they lie), artifact, settings, backend, runtime version, template, head, maximum length,
   * truncation, instruction, activation, and how long documents are scored. For a cache of scores. Of a folder and of a repository
   * the keys differ.
   */
  cacheKey(options?: CacheKeyOptions): Promise<string>;
  /**
   * Waits for the calls under way, and refuses new ones with {@link DrainingError}. The model stays in memory until
   * `dispose`. Safe to call twice.
   *
   * @throws the signal's reason, once aborted.
   */
  drain(options?: DrainOptions): Promise<void>;
  /**
   * Frees the model. Calls under way reject with {@link DisposedError} after the batch they are in; resolves when
   * nothing runs any more, and waits 10 s for batches before the runtime is told to end them. Safe to call twice.
   *
   * @throws {BackendRunError} when the runtime does not end within 60 s.
   */
  dispose(): Promise<void>;
}
