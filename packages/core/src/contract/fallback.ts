import type { Backend } from "./backend.js";
import type { FileRequestOptions, ModelFiles } from "./model-files.js";
import type {
  CacheKeyOptions,
  CreateRerankerOptions,
  DocumentInput,
  DrainOptions,
  Pair,
  RerankManyOptions,
  RerankOptions,
  ScoreOptions,
} from "./reranker.js";
import type {
  FallbackRerankManyResult,
  FallbackRerankResult,
  FallbackScoreResult,
  StepDown,
} from "./result.js";

/** One way to run the model. The options mean what they mean for `createReranker`. */
export interface Variant extends Omit<CreateRerankerOptions, "model" | "backend" | "signal"> {
  /** Stands in results and in cache keys, e.g. `"accelerator"`. Not empty, and no other variant's. */
  readonly name: string;
  /**
   * The model's files; or a function that opens them, called when the variant is needed, so that a download that
   * fails, a folder that is gone or a hash that does not fit belongs to the variant, whatever the error's class. The
   * signal aborts on `dispose`.
   */
  readonly model: ModelFiles | ((options: FileRequestOptions) => Promise<ModelFiles>);
  /**
   * The backend; or a function that makes it when the variant is needed, e.g. one that imports its package first.
   * What the function throws belongs to the variant, whatever its class.
   */
  readonly backend: Backend | (() => Backend | Promise<Backend>);
}

export interface FallbackOptions {
  /** At least one, the preferred one first. A variant is loaded when all before it have fallen out. */
  readonly variants: readonly Variant[];
  /**
   * When no variant is left: reject with `VariantsExhaustedError` (`"throw"`, the default), or answer in the
   * caller's order with null scores and status `passthrough`.
   */
  readonly whenExhausted?: "throw" | "passthrough" | undefined;
  /**
   * Called once for each variant that falls out. What it throws or rejects with fails the call that noticed; it is
   * dropped where that call had been answered, because its time budget had run out.
   */
  readonly onFallback?: ((event: FallbackEvent) => void) | undefined;
}

/** A step down. */
export interface FallbackEvent extends StepDown {
  /** The variant that is tried next; null when none is left. */
  readonly next: string | null;
}

/**
 * A chain of variants that behaves as one reranker. Calls may overlap. What makes a variant fall out, for this call
 * and all later ones: that it cannot be opened or loaded, or that its probe fails; `BackendRunError` and
 * `NonFiniteScoreError` while scoring, also in a batch that ends after a time budget has answered the call: then the
 * calls after it go to the next. What does not: `InvalidInputError` from anything but a variant's `model` and `backend`
 * functions, an abort, a time budget that runs out.
 *
 * All scores of a result are of one variant: where one fails half way, the next scores the whole call again (and
 * `onProgress` starts anew). A chain gives no vectors, because those of two variants may not share an index.
 */
export interface FallbackReranker extends AsyncDisposable {
  /** The variant that is loaded; null before the first is, between two, and when none is left. */
  readonly variant: string | null;
  /** Why each variant fell out that did, in order. */
  readonly fallbacks: readonly StepDown[];
  /**
   * Loads the first variant that works now, instead of in the first call. Its name; null where none is left and
   * `whenExhausted` is `"passthrough"`.
   *
   * @throws {VariantsExhaustedError} where none is left otherwise.
   * @throws {InvalidInputError} when an option of a variant is wrong.
   * @throws {DisposedError}
   */
  load(): Promise<string | null>;
  /**
   * As `Reranker.rerank`, by the first variant that works. The time budget includes loading.
   *
   * @throws {VariantsExhaustedError} when none is left and `whenExhausted` is `"throw"`.
   * @throws otherwise as `Reranker.rerank` and {@link load} do.
   */
  rerank<Document extends DocumentInput | object>(
    options: RerankOptions<Document>,
  ): Promise<FallbackRerankResult<Document>>;
  /** As `Reranker.rerankMany`, by one variant. Throws as `rerank` does. */
  rerankMany<Document extends DocumentInput | object>(
    options: RerankManyOptions<Document>,
  ): Promise<FallbackRerankManyResult<Document>>;
  /** Scores pairs, in their own order. Throws as `rerank` does. */
  score(pairs: readonly Pair[], options?: ScoreOptions): Promise<FallbackScoreResult>;
  /**
   * As `Reranker.cacheKey`, of the variant that is loaded; null while there is none. Store scores under the result's
   * own key: a call may step down.
   */
  cacheKey(options?: CacheKeyOptions): Promise<string | null>;
  /** As `Reranker.drain`. */
  drain(options?: DrainOptions): Promise<void>;
  /** Stops loading, frees the model. Calls under way reject with `DisposedError`. Safe to call twice. */
  dispose(): Promise<void>;
}
