import pLimit, { type LimitFunction } from "p-limit";
import { contentsOf } from "../call/cache-key.js";
import { readCallback, readSignal } from "../call/input.js";
import { requireBackend, requireModelFiles, requireScoreCache } from "../call/input-model.js";
import { Listener, unwrapped } from "../call/listener.js";
import { type OptionNames, requireKnownOptions } from "../call/option-names.js";
import { requireOptionType } from "../call/option-types.js";
import { lastPatience, settledWithin } from "../call/patience.js";
import { requireChunkable, type TextResources } from "../call/scoring-call.js";
import { createUnknownTextMeter } from "../call/unknown-text.js";
import {
  type Backend,
  type BackendSession,
  type BatchPreference,
  type Capabilities,
  type DeclaredClasses,
  supportedSpecificationVersions,
} from "../contract/backend.js";
import {
  BackendRunError,
  DisposedError,
  IncompatibleModelError,
  InvalidInputError,
  ModelFileNotFoundError,
  UnsupportedSpecificationError,
} from "../contract/errors.js";
import { requireInstruction } from "../contract/instruction.js";
import type { LoadedModel, LoadedRerankerOptions, LoadModelOptions } from "../contract/loaded-model.js";
import type { ModelFiles } from "../contract/model-files.js";
import type { ModelProfile, ProfileSources, TruncationStrategy } from "../contract/model-profile.js";
import { createLateEncoder } from "../encoding/late-encoder.js";
import { createListEncoder } from "../encoding/list-encoder.js";
import { createPairEncoder } from "../encoding/pair-encoder.js";
import { insideAddedToken } from "../long/added-tokens.js";
import { readLongDocuments } from "../long/settings.js";
import { readProfile } from "../profile/read-profile.js";
import { derive } from "../run/abort.js";
import { mostCells, mostColumns, readBatchPreference } from "../run/limits.js";
import { rowsTogether } from "../run/scheduler.js";
import { modulesOf, outputsFor } from "../score/head.js";
import { type HeadChain, loadHeadChain } from "../score/head-modules.js";
import { createTextTokenizer, type TextTokenizer } from "../tokenizer/tokenizer.js";
import { probe } from "./probe.js";
import { readOnce } from "./read-once.js";
import { readDeclaredClasses, readSession } from "./read-session.js";
import {
  type Encoders,
  type RerankerFacts,
  type RunnableSession,
  SessionReranker,
} from "./session-reranker.js";

/** Files that change what the tokenizer gives, and are not in the profile. */
const tokenizerFiles = ["tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json"];

const truncations: readonly TruncationStrategy[] = ["document-only", "longest-first"];

interface LoadedParts {
  readonly model: ModelFiles;
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  readonly tokenizer: TextTokenizer;
  readonly texts: TextResources;
  /** To be disposed. */
  readonly session: BackendSession;
  /** What the session declares, checked. */
  readonly declared: RunnableSession;
  readonly chain: HeadChain;
  /** Of the files of the tokenizer, for a warning. */
  readonly disagreements: readonly string[];
  /** Of the files beside the artifact, for the cache key. */
  readonly contents: readonly string[] | undefined;
}

/**
 * Reads a model's files and loads it on a backend, for several rerankers that share it. Nothing is scored: a reranker's
 * probe does that.
 *
 * @throws {ModelFileNotFoundError} a file that the model needs is missing.
 * @throws {ModelProfileError} its files contradict each other or describe something unsupported.
 * @throws {IncompatibleModelError} model and backend do not go together.
 * @throws {ModelLoadError} the runtime refuses the artifact.
 */
export async function loadModel(options: LoadModelOptions): Promise<LoadedModel> {
  requireKnownOptions(options, loadModelNames, "loadModel", undefined, "@({ model, backend })");
  return unwrapped(SessionModel.load(options));
}

export const loadModelNames: OptionNames<LoadModelOptions> = {
  model: true,
  backend: true,
  dtype: true,
  profile: true,
  signal: true,
  onProgress: true,
};

const rerankerNames: OptionNames<LoadedRerankerOptions> = {
  maxLength: true,
  truncation: true,
  instruction: true,
  longDocuments: true,
  scoreCache: true,
  probe: true,
  batches: true,
  signal: true,
};

/** How a reranker stands to the model that it is made of. */
interface Bond {
  /** Name in a chain of variants, for the cache key. */
  readonly variant?: string | undefined;
  /** The reranker is the model's only one, and frees it. */
  readonly owns?: boolean | undefined;
}

/** Reading, session and head of one model. */
export class SessionModel implements LoadedModel {
  readonly id: string;
  readonly revision: string | undefined;
  /** Longest sequence that the files allow, before the artifact's own limit. */
  readonly declaredMaxLength: number;
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  readonly session: RunnableSession;
  readonly #parts: LoadedParts;
  /** So that all rerankers of the model together keep to the session's `concurrentRuns`. */
  readonly #limit: LimitFunction;
  readonly #rerankers = new Set<SessionReranker>();
  /** Largest |Δ logit| between a pair alone and in company; undefined before a probe has measured it. */
  #movedInCompany: number | undefined;
  #disposing: Promise<void> | undefined;

  private constructor(parts: LoadedParts) {
    const { model, profile, sources, declared } = parts;
    this.id = model.id;
    this.revision = model.revision;
    this.declaredMaxLength = profile.maxLength;
    this.profile = { ...profile, maxLength: longestSequence(profile, declared.capabilities) };
    this.sources = sources;
    this.session = declared;
    this.#parts = parts;
    this.#limit = pLimit(declared.capabilities.concurrentRuns);
  }

  /** What {@link loadModel} does. @throws {CallbackFailure} what `onProgress` failed with. */
  static async load(given: LoadModelOptions): Promise<SessionModel> {
    const { model, backend, dtype, profile, signal, onProgress } = readLoadOptions(given);
    requireSpecification(backend);
    const stop = derive(signal);
    // A callback that fails ends the load, and not the runtime's or the file source's own code that called it.
    const progress = new Listener(onProgress, (failure) => stop.abort(failure));
    const options = { signal: stop.signal, onProgress: onProgress && progress.tell };
    let session: BackendSession | undefined;
    try {
      const { files, texts } = readOnce(model);
      const asked = { files: model, dtype, ...options };
      const declaredLabels = async (): Promise<DeclaredClasses | undefined> => {
        const declared: unknown = await backend.declaredClasses?.(asked);
        return readDeclaredClasses(declared, { model: model.id, backend: backend.name });
      };
      const reading = await readProfile(files, profile, stop.signal, declaredLabels);
      requireFamily(reading.profile, model, backend);
      const tokenizer = createTextTokenizer(reading.tokenizerJson, model.id);
      const { head } = reading.profile;
      const output = outputsFor(head);
      const request = { files: model, profile: reading.profile, output, dtype, ...options };
      session = await backend.load(request).catch(async (error: unknown) => {
        throw (await withoutArtifact(error, files, stop.signal)) ?? error;
      });
      const declared = readSession(session, { model: model.id, backend: backend.name, output });
      requireUnattended(reading.profile, declared.capabilities, { model: model.id, backend: backend.name });
      const modules = declared.capabilities.output === "class-logits" ? [] : modulesOf(head);
      const chain = await loadHeadChain(files, modules, options);
      const weights = modules.flatMap((module) => ("file" in module ? [module.file] : []));
      const contents = await contentsOf(files, [...tokenizerFiles, ...weights], texts, stop.signal);
      await progress.settled(stop.signal);
      const { sources, disagreements } = reading;
      return new SessionModel({
        ...{ model, profile: reading.profile, sources, tokenizer, session, declared, chain, contents },
        disagreements,
        texts: {
          tokenizer,
          isInsideToken: insideAddedToken(reading.tokenizerJson),
          unknownTexts: createUnknownTextMeter(tokenizer, reading.tokenizerJson),
        },
      });
    } catch (error) {
      if (session !== undefined) await freed(session).catch(() => undefined);
      progress.check();
      throw error;
    } finally {
      stop.release();
    }
  }

  /** The encoders for these rules. @throws {InvalidInputError} when `maxLength` leaves no room for a text. */
  encoders(rules: Pick<ModelProfile, "maxLength" | "truncation">): Encoders {
    const { tokenizer } = this.#parts;
    const profile = { ...this.profile, ...rules };
    const { listTemplate, lateTemplate, maxLength } = profile;
    return {
      pair: createPairEncoder(tokenizer, profile),
      list: listTemplate && createListEncoder(tokenizer, listTemplate, maxLength),
      late: lateTemplate && createLateEncoder(tokenizer, lateTemplate, maxLength),
    };
  }

  async createReranker(options: LoadedRerankerOptions = {}, bond: Bond = {}): Promise<SessionReranker> {
    if (this.#disposing !== undefined) throw new DisposedError("model");
    requireKnownOptions(options, rerankerNames, "createReranker of a loaded model");
    const most = this.profile.maxLength;
    const { truncation, instruction, maxLength = most, probe: wantsProbe = true } = options;
    requireOptionType(wantsProbe, "boolean", "probe");
    const signal = readSignal(options.signal);
    const longDocuments = readLongDocuments(options.longDocuments);
    const chunking = longDocuments === "truncate" ? undefined : longDocuments;
    const { scoreCache } = options;
    requireScoreCache(scoreCache, "scoreCache");
    requireChunkable(chunking, { model: this.id, family: this.profile.family });
    const batches = options.batches && readBatchPreference(options.batches, "batches");
    // At the model's own length: what the caller shortens says nothing about the model.
    const whole = this.#bind({ maxLength: most, truncation: "document-only" }, {}, undefined);
    const least = whole.leastLength;
    if (!Number.isInteger(maxLength) || maxLength < least || maxLength > most) {
      throw new InvalidInputError(
        "maxLength",
        `must be a whole number from ${least} to ${most}, not ${maxLength}`,
      );
    }
    const reranker = this.#bind({ maxLength, truncation, instruction }, bond, batches, {
      chunking,
      scoreCache,
    });
    if (wantsProbe) await this.#probe(whole, signal);
    if (this.#disposing !== undefined) throw new DisposedError("model");
    if (bond.owns !== true) this.#rerankers.add(reranker);
    return reranker;
  }

  dispose(): Promise<void> {
    this.#disposing ??= (async () => {
      await settledWithin(
        [...this.#rerankers].map((reranker) => reranker.dispose()),
        lastPatience,
      );
      await freed(this.#parts.session);
    })();
    return this.#disposing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #bind(
    rules: Pick<LoadedRerankerOptions, "truncation" | "instruction"> & { readonly maxLength: number },
    { variant, owns = false }: Bond,
    batches: BatchPreference | undefined,
    { chunking, scoreCache }: Partial<Pick<RerankerFacts, "chunking" | "scoreCache">> = {},
  ): SessionReranker {
    const { model, disagreements, texts, chain, contents } = this.#parts;
    const { profile, sources } = withRules(this, rules);
    const reranker: SessionReranker = new SessionReranker({
      model,
      profile,
      sources,
      disagreements,
      session: batches === undefined ? this.session : inBatches(this.session, batches),
      encoders: this.encoders(profile),
      ...{ texts, chunking, scoreCache },
      chain,
      limit: this.#limit,
      movedInCompany: () => this.#movedInCompany,
      variant,
      contents,
      release: async () => {
        this.#rerankers.delete(reranker);
        if (owns) await this.dispose();
      },
    });
    return reranker;
  }

  async #probe(whole: SessionReranker, signal: AbortSignal | undefined): Promise<void> {
    const { info, artifact, capabilities } = this.session;
    const stop = derive(signal);
    try {
      const { movedInCompany } = await probe((pairs) => whole.logits(pairs, stop.signal), {
        model: this.id,
        backend: info.name,
        file: artifact.files[0]?.path ?? this.id,
        rowsShareBatches: rowsTogether(capabilities) > 1,
        rowsAffectScores: capabilities.rowsAffectScores,
        expectations: this.profile.expectations,
      });
      if (capabilities.rowsAffectScores) this.#movedInCompany = movedInCompany;
    } finally {
      stop.release();
    }
  }
}

/** Frees a session's memory. @throws {BackendRunError} when the runtime does not end. */
async function freed(session: BackendSession): Promise<void> {
  const gone = session.dispose();
  if (await settledWithin([gone], lastPatience)) return gone;
  throw new BackendRunError({
    backend: session.info.name,
    problem: `did not free the model within ${lastPatience / 1000} s. End the process to be rid of it`,
  });
}

/** Says what a model's weights are, where a backend found none that it runs. */
async function withoutArtifact(
  error: unknown,
  files: ModelFiles,
  signal: AbortSignal,
): Promise<ModelFileNotFoundError | undefined> {
  if (!ModelFileNotFoundError.isInstance(error) || error.found.length > 0) return undefined;
  const { recogniseFiles } = await import("../profile/recognise.js");
  const known = await recogniseFiles(files, { signal });
  if (known === undefined) return undefined;
  const { model, expected } = error;
  const fix = `${known.what.charAt(0).toUpperCase()}${known.what.slice(1)}. ${known.fix}.`;
  return new ModelFileNotFoundError({ model, expected, found: known.files, fix }, { cause: error });
}

/** @throws {InvalidInputError} */
function readLoadOptions(given: LoadModelOptions): LoadModelOptions {
  const { model, backend, dtype, profile, signal, onProgress } = given;
  requireModelFiles(model);
  requireBackend(backend);
  requireOptionType(dtype, "name", "dtype");
  requireOptionType(profile, "object", "profile");
  return {
    ...{ model, backend, dtype, profile },
    signal: readSignal(signal),
    onProgress: readCallback(onProgress, "onProgress"),
  };
}

/** @throws {IncompatibleModelError} */
function requireFamily({ family }: ModelProfile, model: ModelFiles, backend: Backend): void {
  if (backend.families.includes(family)) return;
  throw new IncompatibleModelError({
    model: model.id,
    backend: backend.name,
    capability: "family",
    wanted: family,
    supported: backend.families,
  });
}

/** @throws {IncompatibleModelError} where a query's expansion is not attended, and the session cannot have such tokens. */
function requireUnattended(
  { lateTemplate }: ModelProfile,
  { unattendedStates }: Capabilities,
  facts: { readonly model: string; readonly backend: string },
): void {
  if (lateTemplate?.expansion?.attended !== false || unattendedStates === true) return;
  throw new IncompatibleModelError({
    ...facts,
    capability: "tokens",
    wanted: "unattended",
    supported: ["attended"],
  });
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

/** The longest sequence that model and artifact allow, and that a batch of theirs has room for. */
function longestSequence(profile: ModelProfile, capabilities: Capabilities): number {
  const { maxSequenceLength, sequenceLengths, batchSize } = capabilities;
  const rows = "exactly" in batchSize ? batchSize.exactly : 1;
  return Math.min(
    profile.maxLength,
    mostColumns,
    Math.floor(mostCells / rows),
    maxSequenceLength ?? Number.POSITIVE_INFINITY,
    sequenceLengths === "any" ? Number.POSITIVE_INFINITY : Math.max(...sequenceLengths),
  );
}

/** The profile of one reranker, and where its fields are from. @throws {InvalidInputError} */
function withRules(
  { id, profile, sources }: Pick<SessionModel, "id" | "profile" | "sources">,
  rules: Pick<LoadedRerankerOptions, "truncation" | "instruction"> & { readonly maxLength: number },
): Pick<RerankerFacts, "profile" | "sources"> {
  const { maxLength, truncation, instruction } = rules;
  if (truncation !== undefined && !truncations.includes(truncation)) {
    throw new InvalidInputError(
      "truncation",
      `must be one of ${truncations.join(", ")}, not ${String(truncation)}`,
    );
  }
  if (instruction !== undefined) requireInstruction(instruction, { id, profile });
  const given = "given by the caller";
  return {
    profile: {
      ...{ ...profile, maxLength },
      ...(truncation === undefined ? {} : { truncation }),
      ...(instruction === undefined ? {} : { instruction }),
    },
    sources: {
      ...sources,
      ...(truncation === undefined ? {} : { truncation: given }),
      ...(instruction === undefined ? {} : { instruction: given }),
    },
  };
}

/** The session as it is for a caller who chooses the batches: these, one at a time. */
function inBatches(session: RunnableSession, batches: BatchPreference): RunnableSession {
  const capabilities = { ...session.capabilities, batchPreference: batches, concurrentRuns: 1 };
  const { rows, tokens, padding } = batches;
  const settings = capabilities.rowsAffectScores
    ? { ...session.settings, batches: `${rows} rows, ${tokens} tokens, ${padding} padding` }
    : session.settings;
  return { ...session, capabilities, settings };
}
