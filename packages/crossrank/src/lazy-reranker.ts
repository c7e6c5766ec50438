import {
  DisposedError,
  type DocumentInput,
  Doorway,
  type DrainOptions,
  type FallbackReranker,
  type FallbackRerankManyResult,
  type FallbackRerankResult,
  type FallbackScoreResult,
  InvalidInputError,
  type Pair,
  type Reranker,
  type RerankManyOptions,
  type RerankManyResult,
  type RerankOptions,
  type RerankResult,
  requireKnownOptions,
  type ScoreOptions,
  type ScoreResult,
  untilAborted,
} from "@crossrank/core";
import {
  chainNames,
  type OpenFallbackOptions,
  type OpenRerankerOptions,
  openReranker,
} from "./open-reranker.js";

// What every adapter of a framework needs: a reranker that may be there, on its way, or still to be opened.

type AnyReranker = Reranker | FallbackReranker | LazyReranker;

/**
 * A reranker or a chain of variants, a promise of one, or the model's name as `openReranker` takes it. A reranker that
 * `lazyReranker` made serves several adapters with one model.
 */
export type RerankerSource = string | AnyReranker | PromiseLike<AnyReranker>;

/** How a model that is named is opened. Nothing may stand here where the source is a reranker. */
export type LazyRerankerOptions =
  | (OpenRerankerOptions & { readonly variants?: undefined })
  | OpenFallbackOptions;

/** A reranker that is opened by its first call, once, however many calls wait for it. */
export interface LazyReranker extends AsyncDisposable {
  /**
   * Opens the model now instead of in the first call, and loads a chain's first variant that works. One that failed is
   * tried again by the next call.
   *
   * @throws what `openReranker` throws, or what the promise that was given rejects with.
   * @throws {DisposedError}
   */
  load(): Promise<void>;
  /** As `Reranker.rerank`. An abort ends the wait for the opening, which goes on for the other calls. */
  rerank<Document extends DocumentInput | object>(
    options: RerankOptions<Document>,
  ): Promise<RerankResult<Document> | FallbackRerankResult<Document>>;
  /** As `Reranker.rerankMany`. */
  rerankMany<Document extends DocumentInput | object>(
    options: RerankManyOptions<Document>,
  ): Promise<RerankManyResult<Document> | FallbackRerankManyResult<Document>>;
  /** As `Reranker.score`. */
  score(pairs: readonly Pair[], options?: ScoreOptions): Promise<ScoreResult | FallbackScoreResult>;
  /** As `Reranker.drain`, of the calls made here; a reranker that was given goes on taking those of others. */
  drain(options?: DrainOptions): Promise<void>;
  /** Frees the model that was opened here; a reranker that was given stays the caller's. Safe to call twice. */
  dispose(): Promise<void>;
}

/** What an adapter takes beside the options of opening. */
export interface AdapterNames {
  /** Of the adapter, for messages, e.g. `"createRerankServer"`. */
  readonly name: string;
  /** Its own options. Default: none. */
  readonly own?: Parameters<typeof requireKnownOptions>[1] | undefined;
  /** What its calls take and it does not, and the name of such a call: somebody may look for one here. */
  readonly ofCalls?: { readonly name: string; readonly options: readonly string[] } | undefined;
}

/**
 * Refuses what an adapter does not know, before a model is opened. Values are the adapter's to check, and those of
 * opening `openReranker`'s.
 *
 * @throws {InvalidInputError} that says what to write.
 */
export function requireAdapterOptions(options: unknown, { name, own = {}, ofCalls }: AdapterNames): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    const kind = options === null ? "null" : Array.isArray(options) ? "an array" : typeof options;
    throw new InvalidInputError("options", `of ${name} must be an object of options by name, not ${kind}`);
  }
  const known = { ...own, ...chainNames, signal: true, cascade: true } as const;
  for (const option of Object.keys(options)) {
    if (Object.hasOwn(known, option) || Reflect.get(options, option) === undefined) continue;
    if (ofCalls?.options.includes(option)) {
      throw new InvalidInputError(option, `is not an option of ${name}: it is an option of ${ofCalls.name}`);
    }
  }
  requireKnownOptions(options, known, name);
}

/**
 * @param source never disposed where it is a reranker, or a promise of one.
 * @throws {InvalidInputError} when the source is none, an option is unknown, or options of opening stand beside a
 * reranker.
 */
export function lazyReranker(source: RerankerSource, options: LazyRerankerOptions = {}): LazyReranker {
  requireAdapterOptions(options, { name: "lazyReranker" });
  if (typeof source === "string") {
    return new OnceOpened((signal) => openNamed(source, options, signal), true);
  }
  const [misplaced] = Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : name));
  if (misplaced !== undefined) {
    throw new InvalidInputError(
      misplaced,
      "says how a model is opened, and the reranker is there already. Give it to openReranker, or name the model",
    );
  }
  if (isReranker(source)) return new OnceOpened(() => Promise.resolve(source), false);
  if (typeof (source as { readonly then?: unknown } | null | undefined)?.then !== "function") {
    throw new InvalidInputError(
      "reranker",
      `must be a reranker, a promise of one, or a model's name, such as "nano", not ${source === null ? "null" : typeof source}`,
    );
  }
  const given = Promise.resolve(source).then((reranker) => {
    if (isReranker(reranker)) return reranker;
    throw new InvalidInputError("reranker", "is a promise of something that cannot rerank");
  });
  // The calls say so; that nobody has called yet must not end the process.
  given.catch(() => {});
  return new OnceOpened(() => given, false);
}

async function openNamed(
  model: string,
  options: LazyRerankerOptions,
  signal: AbortSignal,
): Promise<AnyReranker> {
  // A chain is not opened before it is called, and has no signal.
  if (options.variants !== undefined) return openReranker(model, options);
  const signals = [signal, ...(options.signal ? [options.signal] : [])];
  return openReranker(model, { ...options, signal: AbortSignal.any(signals) });
}

function isReranker(value: unknown): value is AnyReranker {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof Reflect.get(value, "rerank") === "function" &&
    typeof Reflect.get(value, "score") === "function"
  );
}

class OnceOpened implements LazyReranker {
  readonly #open: (signal: AbortSignal) => Promise<AnyReranker>;
  readonly #isOwn: boolean;
  readonly #doorway = new Doorway();
  readonly #stop = new AbortController();
  #opened: Promise<AnyReranker> | undefined;
  #disposal: Promise<void> | undefined;

  constructor(open: (signal: AbortSignal) => Promise<AnyReranker>, isOwn: boolean) {
    this.#open = open;
    this.#isOwn = isOwn;
  }

  async load(): Promise<void> {
    const reranker = await this.#ready(undefined);
    if ("load" in reranker) await reranker.load();
  }

  async rerank<Document extends DocumentInput | object>(
    options: RerankOptions<Document>,
  ): Promise<RerankResult<Document> | FallbackRerankResult<Document>> {
    return this.#doorway.through(async () => {
      const reranker = await this.#ready(options?.signal);
      return reranker.rerank(options);
    });
  }

  async rerankMany<Document extends DocumentInput | object>(
    options: RerankManyOptions<Document>,
  ): Promise<RerankManyResult<Document> | FallbackRerankManyResult<Document>> {
    return this.#doorway.through(async () => {
      const reranker = await this.#ready(options?.signal);
      return reranker.rerankMany(options);
    });
  }

  async score(
    pairs: readonly Pair[],
    options: ScoreOptions = {},
  ): Promise<ScoreResult | FallbackScoreResult> {
    return this.#doorway.through(async () => {
      const reranker = await this.#ready(options?.signal);
      return reranker.score(pairs, options);
    });
  }

  drain(options?: DrainOptions): Promise<void> {
    return this.#doorway.drain(options);
  }

  dispose(): Promise<void> {
    this.#disposal ??= this.#end();
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #ready(signal: AbortSignal | undefined): Promise<AnyReranker> {
    if (this.#disposal !== undefined) throw new DisposedError();
    if (this.#opened === undefined) {
      const opened = this.#open(this.#stop.signal);
      this.#opened = opened;
      // A download that failed may succeed the next time.
      opened.catch(() => {
        if (this.#opened === opened) this.#opened = undefined;
      });
    }
    // What is no signal the call itself refuses.
    const isSignal = typeof signal?.throwIfAborted === "function";
    const outcome = await untilAborted(this.#opened, isSignal ? signal : undefined).then(
      (reranker) => ({ reranker }),
      (error: unknown) => ({ error }),
    );
    // Of an opening that `dispose` has stopped that is the reason, and not the abort inside.
    if (this.#disposal !== undefined) throw new DisposedError();
    if ("error" in outcome) throw outcome.error;
    return outcome.reranker;
  }

  async #end(): Promise<void> {
    const opened = this.#opened;
    this.#stop.abort(new DisposedError());
    if (!this.#isOwn || opened === undefined) return;
    const reranker = await opened.catch(() => undefined);
    await reranker?.dispose();
  }
}
