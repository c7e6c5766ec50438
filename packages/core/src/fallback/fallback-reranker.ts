import { pairsToRank, pairsToScore, rankedDocuments } from "../call-input.js";
import type { Backend } from "../contract/backend.js";
import { DisposedError, InvalidInputError } from "../contract/errors.js";
import type { FileRequestOptions, ModelFiles } from "../contract/model-files.js";
import type {
  FallbackRerankResult,
  FallbackScoreResult,
  StepDown,
  VariantProvenance,
} from "../contract/result.js";
import type { CrossrankWarning } from "../contract/warnings.js";
import type { CreateRerankerOptions, DocumentInput, Pair, RerankOptions, ScoreOptions } from "../reranker.js";
import { type CheckedPair, scoresOfNone } from "../scoring-call.js";
import { type Deadline, untilAborted, withDeadline } from "./deadline.js";
import { VariantsExhaustedError } from "./errors.js";
import { type LoadedVariant, VariantChain } from "./variant-chain.js";

/** One way to run the model. The options mean what they mean for `createReranker`. */
export interface Variant extends Omit<CreateRerankerOptions, "model" | "backend" | "signal"> {
  /** Stands in results and in cache keys, e.g. `"coreml(ane)"`. Not empty, and no other variant's. */
  readonly name: string;
  /**
   * The model's files; or a function that opens them, called when the variant is needed, so that a download that
   * fails, a folder that is gone or a hash that does not fit belongs to the variant, whatever the error's class. The
   * signal aborts on `dispose`.
   */
  readonly model: ModelFiles | ((options: FileRequestOptions) => Promise<ModelFiles>);
  /**
   * The backend; or a function that makes it when the variant is needed, e.g. `async () => (await import(…)).mnn()`.
   * What the function throws belongs to the variant, whatever its class.
   */
  readonly backend: Backend | (() => Backend | Promise<Backend>);
}

export interface FallbackOptions {
  /** At least one, the preferred one first. A variant is loaded when all before it have fallen out. */
  readonly variants: readonly Variant[];
  /**
   * When no variant is left: reject with {@link VariantsExhaustedError} (`"throw"`, the default), or answer in the
   * caller's order with null scores and status `passthrough`.
   */
  readonly whenExhausted?: "throw" | "passthrough" | undefined;
  /**
   * Called once for each variant that falls out. An error that it throws fails the call that noticed; it is dropped
   * where that call had been answered, because its time budget had run out.
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
 * `onProgress` starts anew). Vectors are not to be had: those of two variants may not share an index.
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
  rerank<Document extends DocumentInput>(
    options: RerankOptions<Document>,
  ): Promise<FallbackRerankResult<Document>>;
  /** Scores pairs, in their own order. Throws as `rerank` does. */
  score(pairs: readonly Pair[], options?: ScoreOptions): Promise<FallbackScoreResult>;
  /**
   * As `Reranker.cacheKey`, of the variant that is loaded; null while there is none. Store scores under the result's
   * own key: a call may step down.
   */
  cacheKey(options?: Pick<ScoreOptions, "instruction">): string | null;
  /** Stops loading, frees the model. Calls under way reject with {@link DisposedError}. Safe to call twice. */
  dispose(): Promise<void>;
}

/**
 * A chain of variants. Nothing is loaded before the first call, or `load()`.
 *
 * @throws {InvalidInputError} when there is no variant, two have one name, or an option is wrong.
 */
export function createFallbackReranker(options: FallbackOptions): FallbackReranker {
  const { variants, whenExhausted } = options;
  if (!Array.isArray(variants) || variants.length === 0) {
    throw new InvalidInputError("variants", "must name at least one variant");
  }
  const names = variants.map(({ name }) => name);
  for (const [index, name] of names.entries()) {
    const path = `variants[${index}].name`;
    if (typeof name !== "string" || name === "")
      throw new InvalidInputError(path, "must be a string, not empty");
    if (names.indexOf(name) !== index)
      throw new InvalidInputError(path, `is ${name}, which another variant has`);
  }
  if (!["throw", "passthrough", undefined].includes(whenExhausted)) {
    throw new InvalidInputError(
      "whenExhausted",
      `must be throw or passthrough, not ${String(whenExhausted)}`,
    );
  }
  return new ChainReranker(options);
}

class ChainReranker implements FallbackReranker {
  readonly #chain: VariantChain;
  readonly #whenExhausted: "throw" | "passthrough";

  constructor({ variants, whenExhausted, onFallback }: FallbackOptions) {
    this.#chain = new VariantChain(variants, onFallback);
    this.#whenExhausted = whenExhausted ?? "throw";
  }

  get variant(): string | null {
    return this.#chain.loaded?.name ?? null;
  }

  get fallbacks(): readonly StepDown[] {
    return this.#chain.fallbacks;
  }

  async load(): Promise<string | null> {
    const ready = await this.#ready();
    return ready?.name ?? null;
  }

  rerank<Document extends DocumentInput>(
    options: RerankOptions<Document>,
  ): Promise<FallbackRerankResult<Document>> {
    return withDeadline(options, async (deadline) => {
      const { scores, ...rest } = await this.#score(pairsToRank(options), options, deadline);
      return { ...rest, results: rankedDocuments(scores, options) };
    });
  }

  score(pairs: readonly Pair[], options: ScoreOptions = {}): Promise<FallbackScoreResult> {
    return withDeadline(options, async (deadline) => this.#score(pairsToScore(pairs), options, deadline));
  }

  cacheKey(options?: Pick<ScoreOptions, "instruction">): string | null {
    return this.#chain.loaded?.reranker.cacheKey(options) ?? null;
  }

  dispose(): Promise<void> {
    return this.#chain.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Undefined when none is left and that is no error. */
  async #ready(): Promise<LoadedVariant | undefined> {
    const ready = await this.#chain.ready();
    if (ready === undefined && this.#whenExhausted === "throw") {
      throw new VariantsExhaustedError(this.fallbacks);
    }
    return ready;
  }

  async #score(
    pairs: readonly CheckedPair[],
    options: ScoreOptions,
    deadline: Deadline,
  ): Promise<FallbackScoreResult> {
    for (;;) {
      let ready: LoadedVariant | undefined;
      try {
        ready = await untilAborted(() => this.#ready(), deadline.signal);
      } catch (error) {
        if (!deadline.isReason(error)) throw error;
        return this.#unscored(pairs.length, deadline.statusWhenStopped(), deadline);
      }
      if (ready === undefined) return this.#unscored(pairs.length, "passthrough", deadline);
      try {
        const used = ready;
        const { name, reranker, fallbacks } = used;
        const result = await reranker.scoreWithin(pairs, options, deadline, (error) =>
          this.#chain.stepDownLate(used, error),
        );
        return {
          ...result,
          variant: name,
          fallbacks,
          warnings: [...result.warnings, ...fallbackWarnings(name, fallbacks)],
        };
      } catch (error) {
        if (deadline.isReason(error) || !this.#chain.stepDownFrom(ready, error)) throw error;
      }
    }
  }

  #unscored(count: number, status: "partial" | "passthrough", deadline: Deadline): FallbackScoreResult {
    const { fallbacks } = this;
    const scores = scoresOfNone(count);
    const total = performance.now() - deadline.started;
    return {
      ...nothing,
      fallbacks,
      status,
      scores,
      warnings: [...deadline.warnings(scores), ...fallbackWarnings(null, fallbacks)],
      usage: {
        sequences: 0,
        tokens: 0,
        paddedTokens: 0,
        batches: 0,
        milliseconds: { encode: 0, run: 0, total },
      },
    };
  }
}

const nothing: Extract<VariantProvenance, { readonly variant: null }> = {
  variant: null,
  model: null,
  backend: null,
  scale: null,
  scoring: null,
  cacheKey: null,
};

function fallbackWarnings(variant: string | null, fallbacks: readonly StepDown[]): CrossrankWarning[] {
  if (fallbacks.length === 0) return [];
  const failed = fallbacks.map(({ variant, reason }) => ({ variant, reason }));
  const names = failed.map((one) => `${one.variant} (${one.reason})`).join(", ");
  const used = variant === null ? "no variant scored this call" : `${variant} was used`;
  return [{ code: "variant-fallback", message: `${names} fell out; ${used}`, variant, failed }];
}
