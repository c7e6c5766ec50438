import type { LimitFunction } from "p-limit";
import { calibrationOf, withProbabilities } from "../calibration/calibration.js";
import { cacheKey } from "../call/cache-key.js";
import { type Deadline, withDeadline } from "../call/deadline.js";
import { Doorway } from "../call/doorway.js";
import {
  type CallOptions,
  rankedDocuments,
  rankingsOf,
  readCallOptions,
  readEmbedOptions,
  readKeyOptions,
  readPairs,
  readRankManyRequest,
  readRankRequest,
  readTexts,
} from "../call/input.js";
import { Listener, unwrapped } from "../call/listener.js";
import { patience, settledWithin } from "../call/patience.js";
import {
  type GroupNotes,
  requireChunkable,
  type Scoring,
  ScoringCall,
  type ScoringOptions,
  type ScoringResources,
  type TextResources,
} from "../call/scoring-call.js";
import type { BackendSession, SessionFacts } from "../contract/backend.js";
import { DisposedError, InvalidInputError } from "../contract/errors.js";
import type { ModelFiles } from "../contract/model-files.js";
import type { ModelProfile, ProfileSources } from "../contract/model-profile.js";
import type {
  CacheKeyOptions,
  DocumentInput,
  DrainOptions,
  EmbedOptions,
  EmbedResult,
  Pair,
  Reranker,
  RerankManyOptions,
  RerankOptions,
  ScoreOptions,
} from "../contract/reranker.js";
import type { Provenance, RerankManyResult, RerankResult, ScoreResult } from "../contract/result.js";
import type { LateEncoder } from "../encoding/late-encoder.js";
import type { ListEncoder } from "../encoding/list-encoder.js";
import type { PairEncoder } from "../encoding/pair-encoder.js";
import type { CheckedPair } from "../families/family.js";
import { segmenterVersion } from "../long/clusters.js";
import { type Chunking, provenanceOf } from "../long/settings.js";
import { scaleOf } from "../score/head.js";
import type { HeadChain } from "../score/head-modules.js";
import { CallCache } from "../score-cache/call-cache.js";
import type { ScoreCache } from "../score-cache/score-cache.js";

/** The texts of a model become sequences by these. */
export interface Encoders {
  readonly pair: PairEncoder;
  /** Of a listwise model. */
  readonly list: ListEncoder | undefined;
  /** Of a late-interaction model. */
  readonly late: LateEncoder | undefined;
}

/** A session that can be run, and is not this reranker's to dispose. */
export type RunnableSession = SessionFacts & Pick<BackendSession, "run">;

export interface RerankerFacts {
  readonly model: Pick<ModelFiles, "id" | "revision">;
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  /** Of the files of the tokenizer, for a warning. */
  readonly disagreements: readonly string[];
  readonly session: RunnableSession;
  readonly encoders: Encoders;
  readonly texts: TextResources;
  readonly scoreCache: ScoreCache | undefined;
  /** Of calls that say nothing of long documents. */
  readonly chunking: Chunking | undefined;
  readonly chain: HeadChain;
  /** Shared by all rerankers of one session. */
  readonly limit: LimitFunction;
  /** Largest |Δ logit| between a pair alone and in company, from the probe; undefined where none measured it. */
  readonly movedInCompany: () => number | undefined;
  /** For the cache key; as {@link cacheKey} has them. */
  readonly variant: string | undefined;
  readonly contents: readonly string[] | undefined;
  /** Called when the reranker is disposed and nothing of it runs any more. */
  readonly release: () => Promise<void>;
}

/** What a call came to, and what is to be said of each query by itself. */
export interface GroupedScoreResult extends ScoreResult {
  readonly groups: readonly GroupNotes[];
}

export class SessionReranker implements Reranker {
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  readonly session: SessionFacts;
  readonly #facts: RerankerFacts;
  readonly #resources: ScoringResources;
  readonly #calls = new Set<Promise<unknown>>();
  readonly #doorway = new Doorway();
  #disposing: Promise<void> | undefined;

  constructor(facts: RerankerFacts) {
    const { model, profile, session, disagreements, encoders, texts, chain, limit, movedInCompany } = facts;
    this.#facts = facts;
    this.profile = profile;
    this.sources = facts.sources;
    const { info, artifact, capabilities, settings, bounds } = session;
    this.session = { info, artifact, capabilities, settings, bounds };
    this.#resources = {
      model,
      profile,
      session,
      disagreements,
      pairEncoder: encoders.pair,
      listEncoder: encoders.list,
      lateEncoder: encoders.late,
      chain,
      texts,
      limit,
      movedInCompany,
      isDisposed: () => this.#disposing !== undefined,
    };
  }

  get leastLength(): number {
    const { pairEncoder, lateEncoder } = this.#resources;
    return (lateEncoder ?? pairEncoder).leastLength;
  }

  async rerank<Document extends DocumentInput | object>(
    given: RerankOptions<Document>,
  ): Promise<RerankResult<Document>> {
    const request = readRankRequest(given);
    const { groups: _groups, scores, ...rest } = await this.#answer(request.pairs, request.options);
    return { ...rest, ...request.source, ...rankedDocuments(scores, request) };
  }

  async rerankMany<Document extends DocumentInput | object>(
    given: RerankManyOptions<Document>,
  ): Promise<RerankManyResult<Document>> {
    const request = readRankManyRequest(given);
    const { pairs, options, texts, source } = request;
    const { groups, scores, ...rest } = await this.#answer(pairs, options, texts.length);
    const rankings = rankingsOf({ scores, status: rest.status }, groups, request);
    return { ...rest, ...source, rankings };
  }

  async score(given: readonly Pair[], givenOptions: ScoreOptions = {}): Promise<ScoreResult> {
    const options = readCallOptions(givenOptions);
    const { groups: _groups, ...result } = await this.#answer(readPairs(given), options);
    return result;
  }

  #answer(
    pairs: readonly CheckedPair[],
    options: CallOptions,
    groupSize?: number,
  ): Promise<GroupedScoreResult> {
    return this.#doorway.through(() =>
      unwrapped(
        withDeadline(options, async (deadline) => {
          const progress = new Listener(options.onProgress);
          return this.scoreWithin(pairs, { ...options, progress, groupSize }, deadline);
        }),
      ),
    );
  }

  /**
   * Scores pairs that were checked, or what of them can be scored until the deadline.
   *
   * @param onLateFailure as {@link Deadline.limit} has it.
   * @throws {CallbackFailure} what the caller's callback failed with.
   */
  async scoreWithin(
    pairs: readonly CheckedPair[],
    options: Omit<ScoringOptions, "chunking" | "cache"> &
      Pick<CallOptions, "returnCacheKey" | "longDocuments" | "activation">,
    deadline: Deadline,
    onLateFailure?: (error: unknown) => void,
  ): Promise<GroupedScoreResult> {
    const { progress } = options;
    const chunking = this.#chunkingOf(options);
    // Before anything is scored: a model may have no probabilities.
    const calibration =
      options.activation === "probability" ? calibrationOf(this.profile, this.sources) : undefined;
    const { signal, started } = deadline;
    const cache = this.#callCache(options);
    const call = new ScoringCall(this.#resources, { ...options, chunking, cache, signal }, started);
    let finished: Scoring | undefined;
    const work = async (): Promise<Scoring> => {
      const scoring = await this.#tracked(() => call.score(pairs));
      finished = scoring;
      await progress?.settled(deadline.signal).catch((error: unknown) => {
        // Everything is scored; an abort while callbacks end comes too late.
        if (!deadline.isReason(error)) throw error;
      });
      return scoring;
    };
    const scoring = await deadline.limit(
      work(),
      () => {
        if (finished !== undefined) return finished;
        const part = call.interrupt(deadline.statusWhenStopped());
        return { ...part, warnings: [...part.warnings, ...deadline.warnings(part.scores)] };
      },
      onLateFailure,
    );
    const result = { ...(await this.#provenance(options)), ...scoring };
    return calibration === undefined ? result : withProbabilities(result, calibration);
  }

  #callCache({ instruction }: Pick<ScoreOptions, "instruction">): CallCache | undefined {
    const { scoreCache } = this.#facts;
    if (scoreCache === undefined) return undefined;
    return new CallCache({
      cache: scoreCache,
      // A passage is a text like another.
      session: () => this.cacheKey({ instruction, longDocuments: "truncate" }),
      profile: this.profile,
      capabilities: this.session.capabilities,
    });
  }

  async embed(given: readonly string[], givenOptions: EmbedOptions): Promise<EmbedResult> {
    if (this.profile.family !== "bi-encoder") {
      throw new InvalidInputError(
        "embed",
        `gives vectors of single texts, and ${this.#facts.model.id} is a ${this.profile.family}. Choose a bi-encoder`,
      );
    }
    const options = readEmbedOptions(givenOptions);
    const texts = readTexts(given);
    const progress = new Listener(options.onProgress);
    const embedding = await this.#doorway.through(() =>
      unwrapped(
        withDeadline({ signal: options.signal }, async ({ signal }) => {
          const call = new ScoringCall(this.#resources, { signal, progress });
          const found = await this.#tracked(() => call.embed(texts, options.as));
          await progress.settled(signal);
          return found;
        }),
      ),
    );
    // A vector is of one text, which is cut.
    const { returnCacheKey } = options;
    const {
      scale: _scale,
      scoring: _scoring,
      ...provenance
    } = await this.#provenance({
      returnCacheKey,
      longDocuments: "truncate",
    });
    return { ...provenance, ...embedding };
  }

  drain(options?: DrainOptions): Promise<void> {
    return this.#doorway.drain(options);
  }

  dispose(): Promise<void> {
    this.#disposing ??= (async () => {
      // A batch that hangs is the session's to end: it waits for batches itself.
      await settledWithin(this.#calls, patience);
      await this.#facts.release();
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
      const { scores } = await new ScoringCall(this.#resources, { signal }).score(call);
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

  async cacheKey(given: CacheKeyOptions = {}): Promise<string> {
    return this.#cacheKey(readKeyOptions(given));
  }

  #cacheKey(options: Pick<CallOptions, "instruction" | "longDocuments" | "activation">): Promise<string> {
    const { variant, contents } = this.#facts;
    const { profile, session } = this;
    const { info: backend, settings } = session;
    const chunking = this.#chunkingOf(options);
    requireChunkable(chunking, { model: this.#facts.model.id, family: profile.family });
    const isProbability = options.activation === "probability";
    // Refuses cosines, as a call does.
    if (isProbability) calibrationOf(profile, this.sources);
    return cacheKey({
      ...{ model: this.#model(), backend, settings, profile, variant, contents },
      instruction: options.instruction,
      activation: isProbability ? "probability" : undefined,
      longDocuments: chunking && { ...provenanceOf(chunking), segmenter: segmenterVersion() },
    });
  }

  /** How the call scores long documents; undefined where it cuts them. */
  #chunkingOf({ longDocuments }: Pick<CallOptions, "longDocuments">): Chunking | undefined {
    const asked = longDocuments ?? this.#facts.chunking;
    return asked === "truncate" ? undefined : asked;
  }

  async #provenance(
    options: Pick<CallOptions, "instruction" | "returnCacheKey" | "longDocuments" | "activation">,
  ): Promise<Provenance> {
    const chunking = this.#chunkingOf(options);
    return {
      model: this.#model(),
      backend: this.session.info,
      settings: this.session.settings,
      scale: scaleOf(this.profile),
      scoring: this.profile.family === "listwise" ? "listwise" : "pointwise",
      ...(chunking === undefined ? {} : { longDocuments: provenanceOf(chunking) }),
      ...(options.returnCacheKey === true ? { cacheKey: await this.#cacheKey(options) } : {}),
    };
  }

  #model(): Provenance["model"] {
    const { id, revision } = this.#facts.model;
    return { id, revision, artifact: this.session.artifact };
  }
}
