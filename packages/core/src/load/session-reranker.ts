import type { LimitFunction } from "p-limit";
import { cacheKey } from "../call/cache-key.js";
import { type Deadline, withDeadline } from "../call/deadline.js";
import { type CheckedPair, checkTexts, pairsToRank, pairsToScore, rankedDocuments } from "../call/input.js";
import { ScoringCall, type ScoringResources } from "../call/scoring-call.js";
import type { BackendSession, SessionFacts } from "../contract/backend.js";
import { DisposedError, InvalidInputError } from "../contract/errors.js";
import type { ModelFiles } from "../contract/model-files.js";
import type { ModelProfile, ProfileSources } from "../contract/model-profile.js";
import type {
  DocumentInput,
  EmbedOptions,
  EmbedResult,
  Pair,
  Reranker,
  RerankOptions,
  ScoreOptions,
} from "../contract/reranker.js";
import type { Provenance, RerankResult, ScoreResult } from "../contract/result.js";
import type { ListEncoder } from "../encoding/list-encoder.js";
import type { PairEncoder } from "../encoding/pair-encoder.js";
import { scaleOf } from "../score/head.js";
import type { HeadChain } from "../score/head-modules.js";

/** The texts of a model become sequences by these. */
export interface Encoders {
  readonly pair: PairEncoder;
  /** Of a listwise model. */
  readonly list: ListEncoder | undefined;
}

/** A session that can be run, and is not this reranker's to dispose. */
export type RunnableSession = SessionFacts & Pick<BackendSession, "run">;

export interface RerankerFacts {
  readonly model: Pick<ModelFiles, "id" | "revision">;
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  readonly session: RunnableSession;
  readonly encoders: Encoders;
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

export class SessionReranker implements Reranker {
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  readonly session: SessionFacts;
  readonly #facts: RerankerFacts;
  readonly #resources: ScoringResources;
  readonly #calls = new Set<Promise<unknown>>();
  #disposing: Promise<void> | undefined;

  constructor(facts: RerankerFacts) {
    const { model, profile, session, encoders, chain, limit, movedInCompany } = facts;
    this.#facts = facts;
    this.profile = profile;
    this.sources = facts.sources;
    const { info, artifact, capabilities, settings, bounds } = session;
    this.session = { info, artifact, capabilities, settings, bounds };
    this.#resources = {
      model,
      profile,
      session,
      pairEncoder: encoders.pair,
      listEncoder: encoders.list,
      chain,
      limit,
      movedInCompany,
      isDisposed: () => this.#disposing !== undefined,
    };
  }

  get leastLength(): number {
    return this.#resources.pairEncoder.leastLength;
  }

  rerank<Document extends DocumentInput>(options: RerankOptions<Document>): Promise<RerankResult<Document>> {
    return withDeadline(options, async (deadline) => {
      const { scores, ...rest } = await this.scoreWithin(pairsToRank(options), options, deadline);
      return { ...rest, results: rankedDocuments(scores, options) };
    });
  }

  score(pairs: readonly Pair[], options: ScoreOptions = {}): Promise<ScoreResult> {
    return withDeadline(options, async (deadline) =>
      this.scoreWithin(pairsToScore(pairs), options, deadline),
    );
  }

  /**
   * Scores pairs that were checked, or what of them can be scored until the deadline.
   *
   * @param onLateFailure as {@link Deadline.limit} has it.
   */
  async scoreWithin(
    pairs: readonly CheckedPair[],
    options: ScoreOptions,
    deadline: Deadline,
    onLateFailure?: (error: unknown) => void,
  ): Promise<ScoreResult> {
    const within = { ...options, signal: deadline.signal };
    const call = new ScoringCall(this.#resources, within, deadline.started);
    const scoring = await deadline.limit(
      this.#tracked(() => call.score(pairs)),
      () => {
        const part = call.interrupt(deadline.statusWhenStopped());
        return { ...part, warnings: [...part.warnings, ...deadline.warnings(part.scores)] };
      },
      onLateFailure,
    );
    return { ...(await this.#provenance(options)), ...scoring };
  }

  async embed(texts: readonly string[], options: EmbedOptions): Promise<EmbedResult> {
    if (this.profile.family !== "bi-encoder") {
      throw new InvalidInputError(
        "embed",
        `gives vectors of single texts, and ${this.#facts.model.id} is a ${this.profile.family}. Choose a bi-encoder`,
      );
    }
    checkTexts(texts);
    const { signal, onProgress, as } = options;
    const embedding = await this.#tracked(() =>
      new ScoringCall(this.#resources, { signal, onProgress }).embed(texts, as),
    );
    const { scale: _scale, scoring: _scoring, ...provenance } = await this.#provenance(options);
    return { ...provenance, ...embedding };
  }

  dispose(): Promise<void> {
    this.#disposing ??= (async () => {
      await Promise.allSettled(this.#calls);
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

  cacheKey({ instruction }: Pick<ScoreOptions, "instruction"> = {}): Promise<string> {
    const { variant, contents } = this.#facts;
    const { profile, session } = this;
    const { info: backend, settings } = session;
    return cacheKey({ model: this.#model(), backend, settings, profile, instruction, variant, contents });
  }

  async #provenance(options: Pick<ScoreOptions, "instruction" | "returnCacheKey">): Promise<Provenance> {
    return {
      model: this.#model(),
      backend: this.session.info,
      settings: this.session.settings,
      scale: scaleOf(this.profile),
      scoring: this.profile.family === "listwise" ? "listwise" : "pointwise",
      ...(options.returnCacheKey === true ? { cacheKey: await this.cacheKey(options) } : {}),
    };
  }

  #model(): Provenance["model"] {
    const { id, revision } = this.#facts.model;
    return { id, revision, artifact: this.session.artifact };
  }
}
