import pLimit from "p-limit";
import type { Backend, BackendSession } from "./contract/backend.js";
import { DisposedError, IncompatibleModelError, InvalidInputError } from "./contract/errors.js";
import type { FileProgress, ModelFiles } from "./contract/model-files.js";
import type {
  CrossrankJson,
  ModelProfile,
  ProfileSources,
  TruncationStrategy,
} from "./contract/model-profile.js";
import type { PairScore, Provenance, RankedDocument, RerankResult, ScoreResult } from "./contract/result.js";
import { createListEncoder, type ListEncoder } from "./encode/list-encoder.js";
import { createPairEncoder, type PairEncoder } from "./encode/pair-encoder.js";
import { createTextTokenizer } from "./encode/tokenizer.js";
import { probe } from "./probe.js";
import { readProfile } from "./profile/read-profile.js";
import { modulesOf, outputsFor, scaleOf } from "./score/head.js";
import { type HeadChain, loadHeadChain } from "./score/head-modules.js";
import { rankByLogit } from "./score/order.js";
import { type CheckedPair, type Embedding, ScoringCall, type ScoringResources } from "./scoring-call.js";

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
  /** Facts about the model that override its files, in the form of a crossrank.json. */
  readonly profile?: CrossrankJson | undefined;
  /** Score a few fixed pairs after loading and refuse a model that does not behave like a reranker. Default true. */
  readonly probe?: boolean | undefined;
  /** Stops reading and downloading. */
  readonly signal?: AbortSignal | undefined;
  /** Downloads, if there are any. */
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
   * What counts as relevant, for models that take an instruction. Default: that of `createReranker`, else the
   * model's own; `""` for none.
   */
  readonly instruction?: string | undefined;
  /** Called after each batch. An error that it throws fails the call. */
  readonly onProgress?: ((progress: ScoringProgress) => void) | undefined;
}

export interface EmbedOptions extends Pick<ScoreOptions, "signal" | "onProgress"> {
  readonly as: "query" | "document";
}

/** Vectors and how they came about. */
export type EmbedResult = Embedding & Omit<Provenance, "scale" | "scoring">;

export interface RerankOptions<Document extends DocumentInput> extends ScoreOptions {
  /** Not empty, and not white space alone. */
  readonly query: string;
  /** Any number; none gives an empty result. */
  readonly documents: readonly Document[];
  /** Return the best n only; all are scored. Default: all. */
  readonly topN?: number | undefined;
  /** Put the caller's document into each result. Default false. */
  readonly returnDocuments?: boolean | undefined;
}

/** A model on a backend, ready to score. Calls may overlap; they share the backend's capacity. */
export interface Reranker extends AsyncDisposable {
  readonly profile: ModelProfile;
  /** Where each field of the profile came from. */
  readonly sources: ProfileSources;
  readonly session: BackendSession;
  /**
   * Scores every document against the query and orders them, best first.
   *
   * @throws {InvalidInputError} empty query, a document that is not text, a bad option.
   * @throws {NonFiniteScoreError} when the model returns NaN or an infinity for any pair.
   * @throws {BackendRunError} when the runtime fails.
   * @throws {DisposedError} when the reranker is disposed before or during the call.
   * @throws the signal's reason, once aborted.
   */
  rerank<Document extends DocumentInput>(options: RerankOptions<Document>): Promise<RerankResult<Document>>;
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
   * Frees the model. Calls under way reject with {@link DisposedError} after the batch they are in; resolves when
   * nothing runs any more. Safe to call twice.
   */
  dispose(): Promise<void>;
}

/**
 * Reads the model's profile, loads it on the backend, and checks that it behaves.
 *
 * @throws {ModelFileNotFoundError} a file that the model needs is missing.
 * @throws {ModelProfileError} its files contradict each other or describe something unsupported.
 * @throws {IncompatibleModelError} model and backend do not go together.
 * @throws {ModelLoadError} the runtime refuses the artifact.
 * @throws {ProbeFailedError} the model loads but does not behave like a reranker.
 */
export async function createReranker(options: CreateRerankerOptions): Promise<Reranker> {
  const { model, backend, signal, onProgress } = options;
  const overrides: CrossrankJson = {
    ...options.profile,
    ...(options.truncation === undefined ? {} : { truncation: options.truncation }),
    ...(options.instruction === undefined ? {} : { instruction: options.instruction }),
  };
  const reading = await readProfile(model, overrides, signal);
  const { profile } = reading;
  if (!backend.families.includes(profile.family)) {
    throw new IncompatibleModelError({
      model: model.id,
      backend: backend.name,
      capability: "family",
      wanted: profile.family,
      supported: backend.families,
    });
  }
  const tokenizer = createTextTokenizer(reading.tokenizerJson, model.id);
  const session = await backend.load({
    files: model,
    profile,
    output: outputsFor(profile.head),
    dtype: options.dtype,
    signal,
    onProgress,
  });
  try {
    const modules = session.capabilities.output === "class-logits" ? [] : modulesOf(profile.head);
    const chain = await loadHeadChain(model, modules, { signal, onProgress });
    const most = longestSequence(profile, session);
    const create = (maxLength: number, truncation: TruncationStrategy): SessionReranker => {
      const fitted = { ...profile, maxLength, truncation };
      const list = fitted.listTemplate && createListEncoder(tokenizer, fitted.listTemplate, maxLength);
      const encoders = { pair: createPairEncoder(tokenizer, fitted), list };
      return new SessionReranker(model, fitted, reading.sources, session, encoders, chain);
    };
    // At the model's own length: what the caller shortens says nothing about the model.
    const whole = create(most, "document-only");
    const wanted = options.maxLength ?? most;
    const least = whole.leastLength;
    if (!Number.isInteger(wanted) || wanted < least || wanted > most) {
      throw new InvalidInputError(
        "maxLength",
        `must be a whole number from ${least} to ${most}, not ${wanted}`,
      );
    }
    const reranker = create(wanted, profile.truncation);
    if (options.probe ?? true) {
      await probe((pairs) => whole.logits(pairs, signal), {
        model: model.id,
        backend: session.info.name,
        file: session.artifact.files[0]?.path ?? model.id,
        expectations: profile.expectations,
      });
    }
    return reranker;
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

/** The longest sequence that model and artifact allow. */
function longestSequence(profile: ModelProfile, session: BackendSession): number {
  const { maxSequenceLength, sequenceLengths } = session.capabilities;
  return Math.min(
    profile.maxLength,
    maxSequenceLength ?? Number.POSITIVE_INFINITY,
    sequenceLengths === "any" ? Number.POSITIVE_INFINITY : Math.max(...sequenceLengths),
  );
}

class SessionReranker implements Reranker {
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  readonly session: BackendSession;
  readonly #model: ModelFiles;
  readonly #resources: ScoringResources;
  readonly #calls = new Set<Promise<unknown>>();
  #disposing: Promise<void> | undefined;

  constructor(
    model: ModelFiles,
    profile: ModelProfile,
    sources: ProfileSources,
    session: BackendSession,
    encoders: { readonly pair: PairEncoder; readonly list: ListEncoder | undefined },
    chain: HeadChain,
  ) {
    this.#model = model;
    this.profile = profile;
    this.sources = sources;
    this.session = session;
    this.#resources = {
      model,
      profile,
      session,
      pairEncoder: encoders.pair,
      listEncoder: encoders.list,
      chain,
      limit: pLimit(session.capabilities.concurrentRuns),
      isDisposed: () => this.#disposing !== undefined,
    };
  }

  get leastLength(): number {
    return this.#resources.pairEncoder.leastLength;
  }

  async rerank<Document extends DocumentInput>(
    options: RerankOptions<Document>,
  ): Promise<RerankResult<Document>> {
    const { query, documents, topN, returnDocuments } = options;
    if (typeof query !== "string")
      throw new InvalidInputError("query", `must be a string, not ${nameOf(query)}`);
    if (!Array.isArray(documents)) {
      throw new InvalidInputError("documents", `must be an array, not ${nameOf(documents)}`);
    }
    if (topN !== undefined && !(Number.isInteger(topN) && topN > 0)) {
      throw new InvalidInputError("topN", `must be a whole number above 0, not ${String(topN)}`);
    }
    checkQuery(query, "query");
    const pairs = documents.map((document, index) => ({
      query,
      text: textOf(document, `documents[${index}]`),
    }));
    const { scores, ...rest } = await this.#tracked(() => this.#scorePairs(pairs, options));
    const ranked = rankByLogit(scores).slice(0, topN);
    return {
      ...rest,
      results: ranked.map(
        (index): RankedDocument<Document> => ({
          index,
          ...(scores[index] as PairScore),
          ...(returnDocuments ? { document: documents[index] as Document } : {}),
        }),
      ),
    };
  }

  async score(pairs: readonly Pair[], options: ScoreOptions = {}): Promise<ScoreResult> {
    if (!Array.isArray(pairs)) throw new InvalidInputError("pairs", `must be an array, not ${nameOf(pairs)}`);
    const checked = pairs.map((pair: Pair, index): CheckedPair => {
      if (typeof pair?.query !== "string") {
        throw new InvalidInputError(`pairs[${index}].query`, `must be a string, not ${nameOf(pair?.query)}`);
      }
      checkQuery(pair.query, `pairs[${index}].query`);
      return { query: pair.query, text: textOf(pair.document, `pairs[${index}].document`) };
    });
    return this.#tracked(() => this.#scorePairs(checked, options));
  }

  async embed(texts: readonly string[], options: EmbedOptions): Promise<EmbedResult> {
    if (this.profile.family !== "bi-encoder") {
      throw new InvalidInputError(
        "embed",
        `gives vectors of single texts, and ${this.#model.id} is a ${this.profile.family}. Choose a bi-encoder`,
      );
    }
    if (!Array.isArray(texts)) throw new InvalidInputError("texts", `must be an array, not ${nameOf(texts)}`);
    for (const [index, text] of texts.entries()) {
      if (typeof text !== "string")
        throw new InvalidInputError(`texts[${index}]`, `must be a string, not ${nameOf(text)}`);
    }
    const { signal, onProgress, as } = options;
    const embedding = await this.#tracked(() =>
      new ScoringCall(this.#resources, { signal, onProgress }).embed(texts, as),
    );
    const { model, backend } = this.#provenance();
    return { model, backend, ...embedding };
  }

  dispose(): Promise<void> {
    this.#disposing ??= (async () => {
      await Promise.allSettled(this.#calls);
      await this.session.dispose();
    })();
    return this.#disposing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Logits alone, each pair by itself, for the probe. */
  async logits(
    pairs: readonly { query: string; document: string }[],
    signal: AbortSignal | undefined,
  ): Promise<number[]> {
    const checked = pairs.map(({ query, document }) => ({ query, text: document }));
    // In one list with others, a listwise model would give a pair another score.
    const calls = this.profile.family === "listwise" ? checked.map((pair) => [pair]) : [checked];
    const logits: number[] = [];
    for (const call of calls) {
      const { scores } = await this.#scorePairs(call, { signal });
      logits.push(...scores.map((score) => score.logit ?? Number.NaN));
    }
    return logits;
  }

  async #tracked<T>(work: () => Promise<T>): Promise<T> {
    if (this.#disposing !== undefined) throw new DisposedError();
    const call = work();
    this.#calls.add(call);
    try {
      return await call;
    } finally {
      this.#calls.delete(call);
    }
  }

  async #scorePairs(pairs: readonly CheckedPair[], options: ScoreOptions): Promise<ScoreResult> {
    const scoring = await new ScoringCall(this.#resources, options).score(pairs);
    return { ...this.#provenance(), ...scoring };
  }

  #provenance(): Provenance {
    return {
      model: { id: this.#model.id, revision: this.#model.revision, artifact: this.session.artifact },
      backend: this.session.info,
      scale: scaleOf(this.profile),
      scoring: this.profile.family === "listwise" ? "listwise" : "pointwise",
    };
  }
}

function checkQuery(query: string, path: string): void {
  if (query.trim() === "") {
    throw new InvalidInputError(path, "is empty; there is nothing to rank by. Pass the user's question");
  }
}

function textOf(document: unknown, path: string): string {
  if (typeof document === "string") return document;
  if (typeof document === "object" && document !== null) {
    const { text } = document as { text?: unknown };
    if (typeof text === "string") return text;
    throw new InvalidInputError(`${path}.text`, `must be a string, not ${nameOf(text)}`);
  }
  throw new InvalidInputError(path, `must be a string or an object with a text, not ${nameOf(document)}`);
}

function nameOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : typeof value;
}
