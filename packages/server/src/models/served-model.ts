import type { ChunkingProvenance, FallbackReranker, Reranker } from "@crossrank/core";
import type { LogEntry, ServedModelOptions, ServedReranker } from "../options.js";
import { RequestRefusedError } from "../refusal.js";
import { TokenQueue } from "../token-queue.js";

export type ModelState = "unloaded" | "loading" | "ready" | "failed" | "closed";

/** A loaded model for the time of one request. */
export interface Lease {
  readonly reranker: ServedReranker;
  /** Gives it back. Safe to call twice. */
  release(): void;
}

export interface ServedModelSettings {
  readonly queueTokens: number;
  readonly idleMilliseconds: number;
  readonly loadWaitMilliseconds: number;
  readonly log: (entry: LogEntry) => void;
}

/** What is known of a loaded model, for people and for the limits. */
export interface ModelFacts {
  readonly id: string;
  readonly revision: string | undefined;
  readonly backend: string | undefined;
  readonly runtime: string | undefined;
  readonly dtype: string | undefined;
  readonly family: string | undefined;
  /** Of a sequence, in tokens; undefined of a chain of variants. */
  readonly maxLength: number | undefined;
  readonly takesInstruction: boolean | undefined;
  /** How its reranker scores long documents by itself. */
  readonly longDocuments: ChunkingProvenance | undefined;
}

/** Milliseconds after a failed load in which nothing is tried again. */
const cooldown = 5000;
/** Tokens of a sequence, of a model whose length is not known. */
const assumedLength = 8192;
/** Milliseconds for which an answer counts as a sign of life. */
const lifeSign = 30_000;
/** Milliseconds that calls under way have to end when a model is freed. */
const drainPatience = 10_000;
/** Milliseconds that a sign of life may take. */
const probePatience = 10_000;

/** One model: loaded when it is asked for, once for all who ask, and freed after an idle time. */
export class ServedModel {
  readonly name: string;
  readonly reference: string;
  readonly queue: TokenQueue;
  readonly #open: ServedModelOptions["open"];
  readonly #settings: ServedModelSettings;
  readonly #stop = new AbortController();
  #state: ModelState = "unloaded";
  #reranker: ServedReranker | undefined;
  #loading: Promise<void> | undefined;
  #unloading: Promise<void> = Promise.resolve();
  #probing: Promise<boolean> | undefined;
  #failedAt = 0;
  #loadBegan = 0;
  #loadTook = 1000;
  #leases = 0;
  #idle: NodeJS.Timeout | undefined;
  #lastAnswer = 0;
  #facts: ModelFacts | undefined;

  constructor({ name, open, reference }: ServedModelOptions, settings: ServedModelSettings) {
    this.name = name;
    this.reference = reference ?? name;
    this.#open = open;
    this.#settings = settings;
    this.queue = new TokenQueue(settings.queueTokens);
  }

  get state(): ModelState {
    return this.#state;
  }

  /** Of the last load; undefined before the first. */
  get facts(): ModelFacts | undefined {
    return this.#facts;
  }

  /** What the reranker does with long documents by itself; undefined where it cuts them. */
  get longDocuments(): ModelFacts["longDocuments"] {
    return this.#facts?.longDocuments;
  }

  /** Tokens that a sequence has at most, as far as it is known. */
  get maxLength(): number {
    return this.#facts?.maxLength ?? assumedLength;
  }

  /**
   * Loads the model unless it is loaded; calls at the same time share one load.
   *
   * @throws what `open` throws.
   * @throws {RequestRefusedError} 503 after `close`.
   */
  async load(): Promise<void> {
    if (this.#state === "closed") throw this.#closing();
    if (this.#state === "ready") return;
    this.#loading ??= this.#startLoad().finally(() => {
      this.#loading = undefined;
    });
    await this.#loading;
  }

  /**
   * The model for one request. Begins to load it where it is not loaded.
   *
   * @throws {RequestRefusedError} 503 while it loads, and when it cannot be loaded.
   */
  async lease(): Promise<Lease> {
    if (this.#state === "closed") throw this.#closing();
    if (this.#state === "failed" && performance.now() - this.#failedAt < cooldown) throw this.#broken();
    if (this.#state !== "ready") await this.#await();
    const reranker = this.#reranker;
    if (reranker === undefined) throw this.#isLoading();
    clearTimeout(this.#idle);
    this.#leases += 1;
    let isOver = false;
    return {
      reranker,
      release: () => {
        if (isOver) return;
        isOver = true;
        this.#leases -= 1;
        this.#watchIdle();
      },
    };
  }

  /** The model gave an answer. */
  noteAnswer(): void {
    this.#lastAnswer = performance.now();
  }

  /** The runtime failed under a request: until the model answers again, `isWell` asks it. */
  noteFailure(): void {
    this.#lastAnswer = 0;
  }

  /** The model is of no use any more, as a chain is that has no variant left: the next request loads it anew. */
  discard(reranker: ServedReranker): void {
    if (this.#reranker !== reranker) return;
    this.#unload("failed");
    this.#failedAt = performance.now();
  }

  /** Whether it answers, or would be loaded when asked. */
  async isWell(): Promise<boolean> {
    if (this.#state === "unloaded") return true;
    if (this.#state !== "ready") return false;
    if (this.#lastAnswer > 0 && performance.now() - this.#lastAnswer < lifeSign) return true;
    this.#probing ??= this.#probe().finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  /** Frees the model for good. Calls under way reject. */
  async close(): Promise<void> {
    if (this.#state === "closed") return this.#unloading;
    this.#stop.abort(this.#closing());
    this.#unload("closed");
    await this.#loading?.catch(() => undefined);
    await this.#unloading;
  }

  /** Waits for a load as long as the options say. */
  async #await(): Promise<void> {
    const load = this.load();
    // Who is told to come again does not wait for the outcome.
    load.catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(this.#isLoading()), this.#settings.loadWaitMilliseconds);
    });
    try {
      await Promise.race([load, patience]);
    } catch (error) {
      throw RequestRefusedError.isInstance(error) ? error : this.#broken(error);
    } finally {
      clearTimeout(timer);
    }
  }

  async #startLoad(): Promise<void> {
    const { log } = this.#settings;
    this.#state = "loading";
    this.#loadBegan = performance.now();
    log({ level: "info", event: "load", model: this.name });
    try {
      await this.#unloading;
      const reranker = await this.#open({ signal: this.#stop.signal });
      try {
        if (isChain(reranker) && (await reranker.load()) === null) {
          throw new RequestRefusedError(503, `no variant of ${this.name} works`);
        }
        this.#stop.signal.throwIfAborted();
      } catch (error) {
        await reranker.dispose();
        throw error;
      }
      const { longDocuments } = await reranker.score([]);
      this.#reranker = reranker;
      this.#facts = { ...factsOf(reranker, this.reference), longDocuments };
      this.#state = "ready";
      this.#loadTook = performance.now() - this.#loadBegan;
      // The load ends with a probe.
      this.noteAnswer();
      this.queue.concurrency = isChain(reranker) ? 1 : reranker.session.capabilities.concurrentRuns;
      this.#watchIdle();
      log({
        level: "info",
        event: "loaded",
        model: this.name,
        milliseconds: Math.round(this.#loadTook),
        backend: this.#facts.backend,
        dtype: this.#facts.dtype,
      });
    } catch (error) {
      if (this.state === "closed") throw this.#closing();
      this.#state = "failed";
      this.#failedAt = performance.now();
      log({
        level: "error",
        event: "load-failed",
        model: this.name,
        code: codeOf(error),
        problem: error instanceof Error ? error.message : String(error),
      });
      throw error;
    }
  }

  #watchIdle(): void {
    clearTimeout(this.#idle);
    const { idleMilliseconds } = this.#settings;
    if (idleMilliseconds === 0 || this.#leases > 0 || this.#state !== "ready") return;
    this.#idle = setTimeout(() => {
      if (this.#leases > 0 || this.#state !== "ready") return;
      this.#settings.log({ level: "info", event: "unloaded", model: this.name });
      this.#unload("unloaded");
    }, idleMilliseconds);
    this.#idle.unref();
  }

  #unload(state: "unloaded" | "failed" | "closed"): void {
    clearTimeout(this.#idle);
    const reranker = this.#reranker;
    this.#reranker = undefined;
    this.#state = state;
    if (reranker === undefined) return;
    this.#unloading = this.#unloading
      // What is under way is answered first, within reason; nothing new is taken.
      .then(() => reranker.drain({ signal: AbortSignal.timeout(drainPatience) }).catch(() => undefined))
      .then(() => reranker.dispose())
      .catch((error: unknown) => {
        this.#settings.log({ level: "error", event: "fault", model: this.name, code: codeOf(error) });
      });
  }

  async #probe(): Promise<boolean> {
    try {
      const { status } = (await this.#reranker?.score([{ query: "a", document: "a" }], {
        timeBudget: { milliseconds: probePatience, whenExceeded: "throw" },
      })) ?? { status: "passthrough" };
      if (status !== "reranked") return false;
      this.noteAnswer();
      return true;
    } catch {
      return false;
    }
  }

  #isLoading(): RequestRefusedError {
    const left = (this.#loadTook - (performance.now() - this.#loadBegan)) / 1000;
    return new RequestRefusedError(503, `the model ${this.name} is loading. Come again`, {
      type: "model_loading",
      retryAfter: Math.min(60, left),
    });
  }

  #broken(cause?: unknown): RequestRefusedError {
    return new RequestRefusedError(
      503,
      `the model ${this.name} could not be loaded. The server's log says why`,
      {
        type: "model_unavailable",
        retryAfter: cooldown / 1000,
        cause,
      },
    );
  }

  #closing(): RequestRefusedError {
    return new RequestRefusedError(503, "the server is closing. Come again", { type: "closing" });
  }
}

export function isChain(reranker: ServedReranker): reranker is FallbackReranker {
  return "fallbacks" in reranker;
}

/** The code of a crossrank error, else the name of the class. Never the message, which may quote a text. */
export function codeOf(error: unknown): string {
  const { code, name } = (error ?? {}) as { readonly code?: unknown; readonly name?: unknown };
  return typeof code === "string" ? code : typeof name === "string" ? name : typeof error;
}

function factsOf(reranker: ServedReranker, reference: string): Omit<ModelFacts, "longDocuments"> {
  if (isChain(reranker)) {
    return {
      id: reference,
      revision: undefined,
      backend: reranker.variant ?? undefined,
      runtime: undefined,
      dtype: undefined,
      family: undefined,
      maxLength: undefined,
      takesInstruction: undefined,
    };
  }
  const { profile, session }: Reranker = reranker;
  return {
    id: reference,
    revision: undefined,
    backend: session.info.name,
    runtime: `${session.info.runtime.name} ${session.info.runtime.version}`,
    dtype: session.artifact.dtype,
    family: profile.family,
    maxLength: profile.maxLength,
    takesInstruction: profile.instructedTemplate !== undefined,
  };
}
