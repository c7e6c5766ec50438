import pLimit from "p-limit";
import { cacheKey, contentsOf } from "../call/cache-key.js";
import { type Deadline, withDeadline } from "../call/deadline.js";
import { type CheckedPair, checkTexts, pairsToRank, pairsToScore, rankedDocuments } from "../call/input.js";
import { ScoringCall, type ScoringResources } from "../call/scoring-call.js";
import {
  type Backend,
  type BackendSession,
  type SessionFacts,
  supportedSpecificationVersions,
} from "../contract/backend.js";
import {
  DisposedError,
  IncompatibleModelError,
  InvalidInputError,
  UnsupportedSpecificationError,
} from "../contract/errors.js";
import type { ModelFiles } from "../contract/model-files.js";
import type {
  CrossrankJson,
  ModelProfile,
  ProfileSources,
  TruncationStrategy,
} from "../contract/model-profile.js";
import type {
  CreateRerankerOptions,
  DocumentInput,
  EmbedOptions,
  EmbedResult,
  Pair,
  Reranker,
  RerankOptions,
  ScoreOptions,
} from "../contract/reranker.js";
import type { Provenance, RerankResult, ScoreResult } from "../contract/result.js";
import { createListEncoder, type ListEncoder } from "../encoding/list-encoder.js";
import { createPairEncoder, type PairEncoder } from "../encoding/pair-encoder.js";
import { readProfile } from "../profile/read-profile.js";
import { rowsTogether } from "../run/scheduler.js";
import { modulesOf, outputsFor, scaleOf } from "../score/head.js";
import { type HeadChain, loadHeadChain } from "../score/head-modules.js";
import { createTextTokenizer } from "../tokenizer/tokenizer.js";
import { probe } from "./probe.js";

/** Files that change what the tokenizer gives, and are not in the profile. */
const tokenizerFiles = ["tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json"];

interface RerankerFacts {
  readonly model: ModelFiles;
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  readonly session: BackendSession;
  readonly encoders: { readonly pair: PairEncoder; readonly list: ListEncoder | undefined };
  readonly chain: HeadChain;
  /** For the cache key; as {@link cacheKey} has them. */
  readonly variant: string | undefined;
  readonly contents: readonly string[] | undefined;
}

/** What {@link createReranker} does. @param variant name in a chain, for the cache key. */
export async function loadReranker(
  options: CreateRerankerOptions,
  variant?: string,
): Promise<SessionReranker> {
  const { model, backend, signal, onProgress } = options;
  const overrides: CrossrankJson = {
    ...options.profile,
    ...(options.truncation === undefined ? {} : { truncation: options.truncation }),
    ...(options.instruction === undefined ? {} : { instruction: options.instruction }),
  };
  requireSpecification(backend);
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
    const weights = modules.flatMap((module) => ("file" in module ? [module.file] : []));
    const contents = await contentsOf(model, [...tokenizerFiles, ...weights], signal);
    const create = (maxLength: number, truncation: TruncationStrategy): SessionReranker => {
      const fitted = { ...profile, maxLength, truncation };
      const list = fitted.listTemplate && createListEncoder(tokenizer, fitted.listTemplate, maxLength);
      const encoders = { pair: createPairEncoder(tokenizer, fitted), list };
      const { sources } = reading;
      return new SessionReranker({
        model,
        profile: fitted,
        sources,
        session,
        encoders,
        chain,
        variant,
        contents,
      });
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
      const { rowsAffectScores } = session.capabilities;
      const { movedInCompany } = await probe((pairs) => whole.logits(pairs, signal), {
        model: model.id,
        backend: session.info.name,
        file: session.artifact.files[0]?.path ?? model.id,
        rowsShareBatches: rowsTogether(session.capabilities) > 1,
        rowsAffectScores,
        expectations: profile.expectations,
      });
      if (rowsAffectScores) reranker.noteCompany(movedInCompany);
    }
    return reranker;
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

/** @throws {UnsupportedSpecificationError} */
function requireSpecification({ name, specificationVersion: found }: Backend): void {
  if (!supportedSpecificationVersions.includes(found)) {
    throw new UnsupportedSpecificationError({
      backend: name,
      found,
      supported: supportedSpecificationVersions,
    });
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

export class SessionReranker implements Reranker {
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  readonly session: SessionFacts;
  readonly #facts: RerankerFacts;
  readonly #resources: ScoringResources;
  readonly #calls = new Set<Promise<unknown>>();
  #disposing: Promise<void> | undefined;

  constructor(facts: RerankerFacts) {
    const { model, profile, session, encoders, chain } = facts;
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
      limit: pLimit(session.capabilities.concurrentRuns),
      movedInCompany: undefined,
      isDisposed: () => this.#disposing !== undefined,
    };
  }

  /** @param moved what the probe measured: largest |Δ logit| between a pair alone and in company. */
  noteCompany(moved: number): void {
    this.#resources.movedInCompany = moved;
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
      await this.#facts.session.dispose();
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
