import pLimit, { type LimitFunction } from "p-limit";
import type { Backend, BackendSession, RawOutput } from "./contract/backend.js";
import {
  BackendRunError,
  DisposedError,
  IncompatibleModelError,
  InvalidInputError,
  NonFiniteScoreError,
} from "./contract/errors.js";
import type { FileProgress, ModelFiles } from "./contract/model-files.js";
import type {
  CrossrankJson,
  ModelProfile,
  ProfileSources,
  TruncationStrategy,
} from "./contract/model-profile.js";
import type {
  PairScore,
  Provenance,
  RankedDocument,
  RerankResult,
  ScoreResult,
  Status,
  Usage,
} from "./contract/result.js";
import type { CrossrankWarning } from "./contract/warnings.js";
import { createListEncoder, type ListDocument, type ListEncoder } from "./encode/list-encoder.js";
import {
  createPairEncoder,
  type EncodedQuery,
  type EncodedSequence,
  type PairEncoder,
} from "./encode/pair-encoder.js";
import { createTextTokenizer } from "./encode/tokenizer.js";
import { probe } from "./probe.js";
import { readProfile } from "./profile/read-profile.js";
import { type RunCount, runSequences } from "./run-sequences.js";
import { activate, modulesOf, outputsFor, readLogit, readMarks, readVector, scaleOf } from "./score/head.js";
import { type HeadChain, loadHeadChain } from "./score/head-modules.js";
import { type ListVectors, scoreList } from "./score/list.js";
import { rankByLogit } from "./score/order.js";
import { dot, normalize } from "./score/vector.js";

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

/** Pairs that are encoded, run and delivered together. Bounds memory whatever the number of documents. */
const windowSize = 1024;

/** Milliseconds of tokenising after which the event loop gets a turn. */
const encodeSlice = 8;

interface CheckedPair {
  readonly query: string;
  readonly text: string;
}

/** The running state of one call. */
interface Call {
  readonly options: ScoreOptions;
  /** By position; undefined until scored. */
  readonly scores: (PairScore | undefined)[];
  completed: number;
  readonly instruction: string;
  /** Tokenised queries of a pair model, embedded queries of a bi-encoder. */
  readonly queries: Map<string, EncodedQuery>;
  readonly vectors: Map<string, Float64Array>;
  readonly count: RunCount;
  readonly illFormed: Set<string>;
  emptyDocuments: number;
  truncatedQueries: number;
  encodeMilliseconds: number;
  runMilliseconds: number;
}

class SessionReranker implements Reranker {
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  readonly session: BackendSession;
  readonly #model: ModelFiles;
  readonly #encoder: PairEncoder;
  readonly #listEncoder: ListEncoder | undefined;
  readonly #chain: HeadChain;
  readonly #limit: LimitFunction;
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
    this.#encoder = encoders.pair;
    this.#listEncoder = encoders.list;
    this.#chain = chain;
    this.#limit = pLimit(session.capabilities.concurrentRuns);
  }

  get leastLength(): number {
    return this.#encoder.leastLength;
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
    const started = performance.now();
    const { signal } = options;
    const call: Call = {
      options,
      scores: new Array<PairScore | undefined>(pairs.length).fill(undefined),
      completed: 0,
      instruction: this.#instructionOf(options),
      queries: new Map(),
      vectors: new Map(),
      count: { sequences: 0, tokens: 0, paddedTokens: 0, batches: 0 },
      illFormed: new Set(),
      emptyDocuments: 0,
      truncatedQueries: 0,
      encodeMilliseconds: 0,
      runMilliseconds: 0,
    };
    let status: Status = "reranked";
    try {
      this.#check(call);
      if (this.#listEncoder !== undefined) await this.#scoreByList(this.#listEncoder, pairs, call);
      else {
        for (let start = 0; start < pairs.length; start += windowSize) {
          const window = pairs.slice(start, start + windowSize);
          if (this.profile.family === "bi-encoder") await this.#scoreByCosine(window, start, call);
          else await this.#scoreByPair(window, start, call);
        }
      }
    } catch (error) {
      const aborted = signal?.aborted && error === signal.reason;
      if (!aborted || options.whenAborted !== "partial") throw error;
      status = "partial";
    }
    const scores = call.scores.map(
      (score): PairScore =>
        score ?? { logit: null, score: null, tokens: 0, truncatedTokens: 0, notScored: true },
    );
    return {
      ...this.#provenance(),
      status,
      scores,
      warnings: this.#warnings(call, scores),
      usage: usageOf(call, performance.now() - started),
    };
  }

  /** @throws {InvalidInputError} when the model takes none. */
  #instructionOf(options: ScoreOptions): string {
    const { family, instruction, instructedTemplate } = this.profile;
    const wanted = options.instruction ?? instruction ?? "";
    if (typeof wanted !== "string") {
      throw new InvalidInputError("instruction", `must be a string, not ${nameOf(wanted)}`);
    }
    if (wanted !== "" && instructedTemplate === undefined) {
      throw new InvalidInputError(
        "instruction",
        `was given, and the template of ${this.#model.id}, a ${family}, has no place for one. ` +
          "Leave it out, or choose a reranker that follows instructions",
      );
    }
    return wanted;
  }

  /** Cross-encoders and causal rerankers: one sequence a pair, one number a sequence. */
  async #scoreByPair(window: readonly CheckedPair[], start: number, call: Call): Promise<void> {
    const { head, activation, documentPrefix } = this.profile;
    const sequences: EncodedSequence[] = [];
    const positions: number[] = [];
    await this.#encodeAll(window, call, ({ query, text }, offset) => {
      const sequence = this.#encoder.encodePair(this.#encodedQuery(query, call), documentPrefix + text);
      this.#note(sequence, text, call);
      if (sequence.queryOverflow) {
        settle(call, start + offset, {
          logit: null,
          score: null,
          tokens: 0,
          ...cut(sequence),
          queryOverflow: true,
        });
        return;
      }
      sequences.push(sequence);
      positions.push(start + offset);
    });
    await this.#run(sequences, call, (member, output, row) => {
      const position = positions[member] as number;
      const sequence = sequences[member] as EncodedSequence;
      const logit = this.#read(() => {
        if (head.kind !== "pooled-chain" || output.kind === "class-logits")
          return readLogit(head, output, row);
        const chained = this.#chain(readVector(head.pooling, output, row, sequence.ids.length));
        if (chained.length !== 1)
          throw new RangeError(`the head's last module gives ${chained.length} numbers instead of one`);
        return chained[0] as number;
      });
      const { text } = window[position - start] as CheckedPair;
      this.#requireFinite(logit, position, text);
      settle(call, position, {
        logit,
        score: activate(logit, activation),
        tokens: sequence.ids.length,
        ...cut(sequence),
      });
    });
  }

  async #scoreByCosine(window: readonly CheckedPair[], start: number, call: Call): Promise<void> {
    const { head, queryPrefix, documentPrefix } = this.profile;
    if (head.kind !== "cosine") throw new TypeError("a bi-encoder has a cosine head");
    const queries = [...new Set(window.map(({ query }) => query))].filter(
      (query) => !call.vectors.has(query),
    );
    const querySequences: EncodedSequence[] = [];
    await this.#encodeAll(queries, call, (query) => {
      const sequence = this.#encoder.encodeSingle(queryPrefix + query);
      if (sequence.illFormed) call.illFormed.add(query);
      if (sequence.truncatedTokens > 0) call.truncatedQueries += 1;
      querySequences.push(sequence);
    });
    const read = (sequence: EncodedSequence, output: RawOutput, row: number): Float64Array =>
      this.#read(() => normalize(this.#chain(readVector(head.pooling, output, row, sequence.ids.length))));
    await this.#run(querySequences, call, (member, output, row) => {
      const query = queries[member] as string;
      const vector = read(querySequences[member] as EncodedSequence, output, row);
      this.#requireFinite(dot(vector, vector), -1, query);
      call.vectors.set(query, vector);
    });
    const sequences: EncodedSequence[] = [];
    await this.#encodeAll(window, call, ({ text }) => {
      const sequence = this.#encoder.encodeSingle(documentPrefix + text);
      this.#note(sequence, text, call);
      sequences.push(sequence);
    });
    await this.#run(sequences, call, (member, output, row) => {
      const sequence = sequences[member] as EncodedSequence;
      const { query, text } = window[member] as CheckedPair;
      const cosine = dot(call.vectors.get(query) as Float64Array, read(sequence, output, row));
      this.#requireFinite(cosine, start + member, text);
      settle(call, start + member, {
        logit: cosine,
        score: cosine,
        tokens: sequence.ids.length,
        ...cut(sequence),
      });
    });
  }

  /** Listwise: the documents of a query share sequences. Documents of one query stand together, in their order. */
  async #scoreByList(encoder: ListEncoder, pairs: readonly CheckedPair[], call: Call): Promise<void> {
    const lists = new Map<string, number[]>();
    for (const [position, { query }] of pairs.entries()) {
      const list = lists.get(query);
      if (list === undefined) lists.set(query, [position]);
      else list.push(position);
    }
    for (const [query, positions] of lists) await this.#scoreList(encoder, query, positions, pairs, call);
  }

  async #scoreList(
    encoder: ListEncoder,
    query: string,
    positions: readonly number[],
    pairs: readonly CheckedPair[],
    call: Call,
  ): Promise<void> {
    const { head, queryPrefix, documentPrefix } = this.profile;
    if (head.kind !== "marker-cosine") throw new TypeError("a listwise model has a marker-cosine head");
    const textAt = (document: number): string => (pairs[positions[document] as number] as CheckedPair).text;
    if (!query.isWellFormed()) call.illFormed.add(query);
    const documents: ListDocument[] = [];
    await this.#encodeAll(positions, call, (_, document) => {
      const text = textAt(document);
      if (!text.isWellFormed()) call.illFormed.add(text);
      if (text.trim() === "") call.emptyDocuments += 1;
      documents.push(encoder.cutDocument(documentPrefix + text));
    });
    if (encoder.measureQuery(queryPrefix + query) === undefined) {
      for (const position of positions) {
        settle(call, position, {
          logit: null,
          score: null,
          tokens: 0,
          truncatedTokens: 0,
          queryOverflow: true,
        });
      }
      return;
    }
    const lists = await this.#encodeEach(encoder.encodeList(queryPrefix + query, documents), call);
    const vectors: (ListVectors | undefined)[] = lists.map(() => undefined);
    try {
      await this.#run(
        lists.map(({ sequence }) => sequence),
        call,
        (member, output, row) => {
          const { sequence, documents: members } = lists[member] as (typeof lists)[number];
          const marks = [...sequence.ids].filter((id) => id === head.query || id === head.document);
          const found = this.#read(() =>
            readMarks(output, row, marks.length).map((mark) => this.#chain(mark)),
          );
          found.forEach((vector, mark) => {
            const document = marks.slice(0, mark).filter((id) => id === head.document).length;
            const isQuery = marks[mark] === head.query;
            const place = isQuery ? -1 : (positions[members[document] as number] as number);
            const text = isQuery ? query : textAt(members[document] as number);
            this.#requireFinite(dot(vector, vector), place, text);
          });
          vectors[member] = {
            query: found[marks.indexOf(head.query)] as Float64Array,
            documents: found.filter((_, mark) => marks[mark] === head.document),
          };
          call.completed += members.length;
        },
      );
    } finally {
      // What came back before a failure is scored too, for callers who asked for the part that is there.
      const there = lists.flatMap(({ documents: members }, list) => {
        const found = vectors[list];
        return found === undefined ? [] : [{ members, found }];
      });
      const cosines = scoreList(there.map(({ found }) => found));
      for (const [index, document] of there.flatMap(({ members }) => members).entries()) {
        const { tokens, truncatedTokens, truncatedTokensIsMinimum } = documents[document] as ListDocument;
        const cosine = cosines[index] as number;
        const position = positions[document] as number;
        this.#requireFinite(cosine, position, textAt(document));
        call.scores[position] = {
          logit: cosine,
          score: cosine,
          tokens,
          ...cut({ truncatedTokens, truncatedTokensIsMinimum }),
        };
      }
    }
  }

  /** Takes everything from a source that computes it, in slices. */
  async #encodeEach<T>(source: Iterable<T>, call: Call): Promise<T[]> {
    const taken: T[] = [];
    await this.#encodeAll(source, call, (item) => taken.push(item));
    return taken;
  }

  /** Tokenises in slices, so that a long list does not hold the event loop. */
  async #encodeAll<T>(
    items: Iterable<T>,
    call: Call,
    encode: (item: T, index: number) => void,
  ): Promise<void> {
    let sliceStart = performance.now();
    let index = 0;
    this.#check(call);
    for (const item of items) {
      encode(item, index++);
      const now = performance.now();
      if (now - sliceStart < encodeSlice) continue;
      call.encodeMilliseconds += now - sliceStart;
      await new Promise<void>((resolve) => setTimeout(resolve, 0));
      this.#check(call);
      sliceStart = performance.now();
    }
    call.encodeMilliseconds += performance.now() - sliceStart;
  }

  async #run(
    sequences: readonly EncodedSequence[],
    call: Call,
    deliver: (index: number, output: RawOutput, row: number) => void,
  ): Promise<void> {
    const started = performance.now();
    const { signal, onProgress } = call.options;
    try {
      await runSequences(sequences, {
        session: this.session,
        paddingId: this.profile.paddingId,
        limit: this.#limit,
        check: () => this.#check(call),
        signal,
        count: call.count,
        deliver,
        afterBatch: () => onProgress?.({ completed: call.completed, total: call.scores.length }),
      });
    } finally {
      call.runMilliseconds += performance.now() - started;
    }
  }

  /** Throws when the call should not go on. */
  #check(call: Call): void {
    if (this.#disposing !== undefined) throw new DisposedError();
    call.options.signal?.throwIfAborted();
  }

  #encodedQuery(query: string, call: Call): EncodedQuery {
    const known = call.queries.get(query);
    if (known !== undefined) return known;
    const encoded = this.#encoder.encodeQuery(this.profile.queryPrefix + query, call.instruction);
    if (encoded.illFormed) call.illFormed.add(query);
    call.queries.set(query, encoded);
    return encoded;
  }

  #note(sequence: EncodedSequence, text: string, call: Call): void {
    if (sequence.illFormed) call.illFormed.add(text);
    if (sequence.truncatedQueryTokens > 0 && !sequence.queryOverflow) call.truncatedQueries += 1;
    if (text.trim() === "") call.emptyDocuments += 1;
  }

  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (cause) {
      throw new BackendRunError(
        { backend: this.session.info.name, problem: (cause as Error).message },
        { cause },
      );
    }
  }

  #requireFinite(value: number, index: number, text: string): void {
    if (Number.isFinite(value)) return;
    throw new NonFiniteScoreError({
      index,
      value,
      model: this.#model.id,
      backend: this.session.info.name,
      text,
    });
  }

  #provenance(): Provenance {
    return {
      model: { id: this.#model.id, revision: this.#model.revision, artifact: this.session.artifact },
      backend: this.session.info,
      scale: scaleOf(this.profile),
      scoring: this.profile.family === "listwise" ? "listwise" : "pointwise",
    };
  }

  #warnings(call: Call, scores: readonly PairScore[]): CrossrankWarning[] {
    const { maxLength } = this.profile;
    const warnings: CrossrankWarning[] = [];
    const overflowing = scores.filter((score) => score.queryOverflow).length;
    const truncated = scores.filter((score) => score.truncatedTokens > 0 && !score.queryOverflow).length;
    if (truncated > 0) {
      warnings.push({
        code: "documents-truncated",
        message: `${truncated} of ${scores.length} documents were cut to fit ${maxLength} tokens`,
        count: truncated,
        maxLength,
      });
    }
    if (overflowing > 0) {
      warnings.push({
        code: "query-overflow",
        message: `the query leaves no room within ${maxLength} tokens: ${overflowing} documents were not scored and rank last; shorten it`,
        count: overflowing,
        maxLength,
      });
    }
    if (call.truncatedQueries > 0) {
      warnings.push({
        code: "query-truncated",
        message: `the query was cut to fit ${maxLength} tokens (${call.truncatedQueries} times)`,
        count: call.truncatedQueries,
        maxLength,
      });
    }
    if (call.illFormed.size > 0) {
      warnings.push({
        code: "ill-formed-unicode",
        message: `${call.illFormed.size} texts hold lone surrogates, read as U+FFFD`,
        count: call.illFormed.size,
      });
    }
    if (call.emptyDocuments > 0) {
      warnings.push({
        code: "empty-documents",
        message: `${call.emptyDocuments} documents have no text; their scores say little`,
        count: call.emptyDocuments,
      });
    }
    const { pairTemplate, readsSegments } = this.profile;
    const usesSegments =
      readsSegments && pairTemplate.some((piece) => "segment" in piece && piece.segment === 1);
    if (usesSegments && !this.session.capabilities.segmentIds) {
      warnings.push({
        code: "segment-ids-ignored",
        message:
          "the model's template marks the document as segment 1, and this artifact takes no segment ids",
      });
    }
    return warnings;
  }
}

function settle(call: Call, position: number, score: PairScore): void {
  call.scores[position] = score;
  call.completed += 1;
}

/** What of a sequence's truncation goes into a score. */
function cut(
  sequence: Pick<EncodedSequence, "truncatedTokens" | "truncatedTokensIsMinimum">,
): Pick<PairScore, "truncatedTokens" | "truncatedTokensIsMinimum"> {
  return {
    truncatedTokens: sequence.truncatedTokens,
    ...(sequence.truncatedTokensIsMinimum ? { truncatedTokensIsMinimum: true } : {}),
  };
}

function usageOf(call: Call, total: number): Usage {
  return {
    ...call.count,
    milliseconds: { encode: call.encodeMilliseconds, run: call.runMilliseconds, total },
  };
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
