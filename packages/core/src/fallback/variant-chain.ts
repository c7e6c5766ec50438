import { CallbackFailure, Listener } from "../call/listener.js";
import { lastPatience, patience, settledWithin } from "../call/patience.js";
import type { Backend } from "../contract/backend.js";
import {
  BackendRunError,
  CrossrankError,
  DisposedError,
  InvalidInputError,
  NonFiniteScoreError,
} from "../contract/errors.js";
import type { FallbackOptions, Variant } from "../contract/fallback.js";
import type { ModelFiles } from "../contract/model-files.js";
import type { StepDown } from "../contract/result.js";
import { loadReranker } from "../load/create-reranker.js";
import type { SessionReranker } from "../load/session-reranker.js";
import { untilAborted } from "../run/abort.js";

/** A variant that can score. */
export interface LoadedVariant {
  readonly name: string;
  readonly reranker: SessionReranker;
  /** Why those before it fell out. */
  readonly fallbacks: readonly StepDown[];
}

/** What a variant's `model` or `backend` function threw. */
class OpeningFailure {
  readonly error: unknown;
  constructor(error: unknown) {
    this.error = error;
  }
}

/**
 * Which variant is in use: at any time one is loaded, being loaded, or none is left. All calls share it, so a variant
 * is loaded once and steps down once.
 */
export class VariantChain {
  readonly #variants: readonly Variant[];
  readonly #onFallback: FallbackOptions["onFallback"];
  readonly #lifetime = new AbortController();
  /** One for each variant that fell out, so that its length is the place of the one in use. */
  readonly #fallbacks: StepDown[] = [];
  /** Of the variant in use; undefined before somebody needs it. */
  #loading: Promise<LoadedVariant> | undefined;
  #loaded: LoadedVariant | undefined;
  /** The one before is gone from memory, so that two never share it. */
  #retired: Promise<unknown> = Promise.resolve();
  #disposal: Promise<void> | undefined;

  constructor(variants: readonly Variant[], onFallback: FallbackOptions["onFallback"]) {
    this.#variants = [...variants];
    this.#onFallback = onFallback;
  }

  get loaded(): LoadedVariant | undefined {
    return this.#loaded;
  }

  get fallbacks(): readonly StepDown[] {
    return [...this.#fallbacks];
  }

  /** The first variant that works, loaded; undefined when none is left. */
  async ready(): Promise<LoadedVariant | undefined> {
    for (;;) {
      this.#requireAlive();
      const place = this.#fallbacks.length;
      const variant = this.#variants[place];
      if (variant === undefined) return undefined;
      this.#loading ??= this.#load(variant);
      const loading = this.#loading;
      try {
        return await untilAborted(() => loading, this.#lifetime.signal);
      } catch (error) {
        this.#requireAlive();
        if (this.#loading === loading) this.#loading = undefined;
        if (InvalidInputError.isInstance(error)) throw error;
        // A callback's failure is its caller's, and says nothing of the variant.
        if (error instanceof CallbackFailure) throw error;
        await this.#stepDown(place, "load", error instanceof OpeningFailure ? error.error : error);
      }
    }
  }

  /**
   * A call on the variant failed. True when the call is to be made again, on the next one; false when the failure is
   * not the variant's.
   */
  async stepDownFrom({ fallbacks }: LoadedVariant, error: unknown): Promise<boolean> {
    this.#requireAlive();
    const place = fallbacks.length;
    // Another call stepped down and took the variant away from under this one.
    if (DisposedError.isInstance(error)) return place < this.#fallbacks.length;
    if (!BackendRunError.isInstance(error) && !NonFiniteScoreError.isInstance(error)) return false;
    await this.#stepDown(place, "run", error);
    return true;
  }

  /**
   * As {@link stepDownFrom}, for a call that has been answered already. Nobody is left to hear that the chain was
   * disposed, or what `onFallback` throws: both are dropped.
   */
  stepDownLate(variant: LoadedVariant, error: unknown): void {
    this.stepDownFrom(variant, error).catch(() => undefined);
  }

  dispose(): Promise<void> {
    this.#disposal ??= (async () => {
      const loading = this.#loading;
      this.#lifetime.abort(new DisposedError("reranker"));
      // A load that does not end is left to itself, and what it brings is freed then.
      await settledWithin([loading], patience);
      await settledWithin([this.#retired, this.#loaded?.reranker.dispose()], lastPatience);
    })();
    return this.#disposal;
  }

  async #load(variant: Variant): Promise<LoadedVariant> {
    const { name, model: _model, backend: _backend, ...options } = variant;
    const { signal } = this.#lifetime;
    await this.#retired;
    signal.throwIfAborted();
    const opened = await this.#open(variant);
    const reranker = await loadReranker({ ...options, ...opened, signal }, name);
    if (signal.aborted) {
      await reranker.dispose();
      throw signal.reason;
    }
    this.#loaded = { name, reranker, fallbacks: this.fallbacks };
    return this.#loaded;
  }

  /** @throws {OpeningFailure} so that a folder that is gone (an `InvalidInputError`) is not taken for the caller's. */
  async #open({ model, backend }: Variant): Promise<{ model: ModelFiles; backend: Backend }> {
    const { signal } = this.#lifetime;
    try {
      return {
        model: typeof model === "function" ? await model({ signal }) : model,
        backend: typeof backend === "function" ? await backend() : backend,
      };
    } catch (error) {
      throw new OpeningFailure(error);
    }
  }

  /**
   * Once a variant, however many calls notice.
   * @throws {CallbackFailure} what `onFallback` failed with, to the call that noticed.
   */
  async #stepDown(place: number, during: StepDown["during"], thrown: unknown): Promise<void> {
    if (place !== this.#fallbacks.length) return;
    const error = thrown instanceof Error ? thrown : new Error(String(thrown), { cause: thrown });
    const step: StepDown = {
      variant: (this.#variants[place] as Variant).name,
      during,
      reason: CrossrankError.isInstance(error) ? error.code : "unexpected",
      error,
    };
    this.#fallbacks.push(step);
    const failed = this.#loaded;
    this.#loading = undefined;
    this.#loaded = undefined;
    // A variant that has failed may fail to go as well; what can be done about it is done.
    this.#retired = failed?.reranker.dispose().catch(() => undefined) ?? Promise.resolve();
    const told = new Listener(this.#onFallback);
    told.tell({ ...step, next: this.#variants[place + 1]?.name ?? null });
    await told.settled(this.#lifetime.signal);
  }

  #requireAlive(): void {
    if (this.#lifetime.signal.aborted) throw new DisposedError();
  }
}
