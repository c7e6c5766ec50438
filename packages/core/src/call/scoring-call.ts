import type { LimitFunction } from "p-limit";
import type { BackendSession, RawOutput } from "../contract/backend.js";
import { BackendRunError, DisposedError, NonFiniteScoreError } from "../contract/errors.js";
import { requireInstruction } from "../contract/instruction.js";
import type { ModelFiles } from "../contract/model-files.js";
import type { ModelProfile } from "../contract/model-profile.js";
import type { Embedding, ScoreOptions, ScoringProgress } from "../contract/reranker.js";
import type { PairScore, Status, Usage } from "../contract/result.js";
import type { CrossrankWarning } from "../contract/warnings.js";
import type { ListDocument, ListEncoder } from "../encoding/list-encoder.js";
import type { EncodedQuery, EncodedSequence, PairEncoder } from "../encoding/pair-encoder.js";
import { type RunCount, runSequences } from "../run/run-sequences.js";
import { rowsTogether } from "../run/scheduler.js";
import { activate, readLogit, readMarks, readVector } from "../score/head.js";
import type { HeadChain } from "../score/head-modules.js";
import { type ListVectors, scoreList } from "../score/list.js";
import { dot, normalize } from "../score/vector.js";
import type { CheckedPair } from "./input.js";
import type { Listener } from "./listener.js";

/** Pairs that are encoded, run and delivered together. Bounds memory whatever the number of documents. */
const windowSize = 1024;

/** Milliseconds of tokenising after which the event loop gets a turn. */
const encodeSlice = 8;

/** What all calls of a reranker share. */
export interface ScoringResources {
  readonly model: Pick<ModelFiles, "id">;
  readonly profile: ModelProfile;
  readonly session: Pick<BackendSession, "info" | "capabilities" | "run">;
  readonly pairEncoder: PairEncoder;
  /** Of a listwise model. */
  readonly listEncoder: ListEncoder | undefined;
  readonly chain: HeadChain;
  /** So that together they keep to the session's `concurrentRuns`. */
  readonly limit: LimitFunction;
  /** Largest |Δ logit| between a pair alone and in company, from the probe; undefined where none measured it. */
  readonly movedInCompany: () => number | undefined;
  readonly isDisposed: () => boolean;
}

/** What the caller wants of a call. */
export interface ScoringOptions extends Pick<ScoreOptions, "signal" | "whenAborted" | "instruction"> {
  /** Told after each batch; what it fails with fails the call. */
  readonly progress?: Listener<ScoringProgress> | undefined;
}

/** What one call came to; provenance is the reranker's. */
export interface Scoring {
  readonly status: Status;
  /** One entry a pair, in their order. */
  readonly scores: readonly PairScore[];
  readonly warnings: readonly CrossrankWarning[];
  readonly usage: Usage;
}

/** One call of a reranker: encodes, runs and reads its pairs, as the model's family wants it. Used once. */
export class ScoringCall {
  readonly #resources: ScoringResources;
  readonly #options: ScoringOptions;
  readonly #instruction: string;
  /** By position; undefined until scored. */
  #scores: (PairScore | undefined)[] = [];
  #completed = 0;
  /** Tokenised queries of a pair model. */
  readonly #queries = new Map<string, EncodedQuery>();
  /** Embedded queries of a bi-encoder. */
  readonly #vectors = new Map<string, Float64Array>();
  readonly #count: RunCount = { sequences: 0, tokens: 0, paddedTokens: 0, batches: 0 };
  readonly #illFormed = new Set<string>();
  #emptyDocuments = 0;
  #truncatedQueries = 0;
  /** When the call began. */
  readonly #started: number;
  #encodeMilliseconds = 0;
  #runMilliseconds = 0;
  /** When the runs under way began. */
  #runStarted: number | undefined;
  /** Listwise: scores what has come back of the list under way. */
  #scoreWhatIsThere: (() => void) | undefined;
  #interrupted = false;
  /** Noticed, while other batches are still under way. */
  #nonFinite: NonFiniteScoreError | undefined;

  /**
   * @param started when the caller called, on `performance.now`'s clock.
   * @throws {InvalidInputError} when there is an instruction and the model takes none.
   */
  constructor(resources: ScoringResources, options: ScoringOptions, started: number = performance.now()) {
    this.#resources = resources;
    this.#options = options;
    this.#instruction = instructionOf(resources, options);
    this.#started = started;
  }

  /** Vectors instead of scores, for a bi-encoder. An abort rejects. */
  async embed(texts: readonly string[], as: "query" | "document"): Promise<Embedding> {
    const vectors = new Array<Float32Array>(texts.length);
    this.#scores = new Array<PairScore | undefined>(texts.length).fill(undefined);
    const truncatedTokens = new Array<number>(texts.length).fill(0);
    this.#check();
    for (let start = 0; start < texts.length; start += windowSize) {
      const window = texts.slice(start, start + windowSize);
      await this.#embed(
        window,
        as,
        (index, vector, sequence) => {
          vectors[start + index] = Float32Array.from(vector);
          truncatedTokens[start + index] = sequence.truncatedTokens;
          this.#completed += 1;
        },
        start,
      );
    }
    return { vectors, truncatedTokens, usage: this.#usage() };
  }

  async score(pairs: readonly CheckedPair[]): Promise<Scoring> {
    const { signal, whenAborted } = this.#options;
    const { profile, listEncoder } = this.#resources;
    this.#scores = new Array<PairScore | undefined>(pairs.length).fill(undefined);
    let status: Status = "reranked";
    try {
      this.#check();
      if (listEncoder !== undefined) await this.#scoreByList(listEncoder, pairs);
      else {
        for (let start = 0; start < pairs.length; start += windowSize) {
          const window = pairs.slice(start, start + windowSize);
          if (profile.family === "bi-encoder") await this.#scoreByCosine(window, start);
          else await this.#scoreByPair(window, start);
        }
      }
    } catch (error) {
      const aborted = signal?.aborted && error === signal.reason;
      if (!aborted || whenAborted !== "partial") throw error;
      status = "partial";
    }
    return this.#scoring(status);
  }

  /**
   * What there is at this moment, for a call that is answered before `score` settles. A batch that comes back later
   * changes nothing of it, and reports no progress any more.
   *
   * @throws {NonFiniteScoreError} for a part that holds NaN or an infinity.
   */
  interrupt(status: "partial" | "passthrough"): Scoring {
    this.#interrupted = true;
    if (status === "partial") {
      this.#scoreWhatIsThere?.();
      if (this.#nonFinite !== undefined) throw this.#nonFinite;
    }
    return this.#scoring(status);
  }

  #scoring(status: Status): Scoring {
    if (status === "passthrough") {
      return { status, scores: scoresOfNone(this.#scores.length), warnings: [], usage: this.#usage() };
    }
    const scores = this.#scores.map((score): PairScore => score ?? { ...notScored });
    return { status, scores, warnings: this.#warnings(scores), usage: this.#usage() };
  }

  #usage(): Usage {
    const now = performance.now();
    return {
      ...this.#count,
      milliseconds: {
        encode: this.#encodeMilliseconds,
        run: this.#runMilliseconds + (this.#runStarted === undefined ? 0 : now - this.#runStarted),
        total: now - this.#started,
      },
    };
  }

  /** Cross-encoders and causal rerankers: one sequence a pair, one number a sequence. */
  async #scoreByPair(window: readonly CheckedPair[], start: number): Promise<void> {
    const { head, activation, documentPrefix } = this.#resources.profile;
    const sequences: EncodedSequence[] = [];
    const positions: number[] = [];
    await this.#encodeAll(window, ({ query, text }, offset) => {
      const sequence = this.#resources.pairEncoder.encodePair(
        this.#encodedQuery(query),
        documentPrefix + text,
      );
      this.#note(sequence, text);
      if (sequence.queryOverflow) {
        this.#settle(start + offset, {
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
    await this.#run(sequences, (member, output, row) => {
      const position = positions[member] as number;
      const sequence = sequences[member] as EncodedSequence;
      const logit = this.#read(() => {
        if (head.kind !== "pooled-chain" || output.kind === "class-logits")
          return readLogit(head, output, row);
        const chained = this.#resources.chain(readVector(head.pooling, output, row, sequence.ids.length));
        if (chained.length !== 1)
          throw new RangeError(`the head's last module gives ${chained.length} numbers instead of one`);
        return chained[0] as number;
      });
      const { text } = window[position - start] as CheckedPair;
      this.#requireFinite(logit, position, text);
      this.#settle(position, {
        logit,
        score: activate(logit, activation),
        tokens: sequence.ids.length,
        ...cut(sequence),
      });
    });
  }

  async #scoreByCosine(window: readonly CheckedPair[], start: number): Promise<void> {
    const queries = [...new Set(window.map(({ query }) => query))].filter(
      (query) => !this.#vectors.has(query),
    );
    await this.#embed(queries, "query", (index, vector) => {
      this.#vectors.set(queries[index] as string, vector);
    });
    const texts = window.map(({ text }) => text);
    await this.#embed(texts, "document", (index, vector, sequence) => {
      const { query, text } = window[index] as CheckedPair;
      const cosine = dot(this.#vectors.get(query) as Float64Array, vector);
      this.#requireFinite(cosine, start + index, text);
      this.#settle(start + index, {
        logit: cosine,
        score: cosine,
        tokens: sequence.ids.length,
        ...cut(sequence),
      });
    });
  }

  /** Bi-encoder: the L2-normalised vector of each text, in no particular order. */
  async #embed(
    texts: readonly string[],
    as: "query" | "document",
    deliver: (index: number, vector: Float64Array, sequence: EncodedSequence) => void,
    start = 0,
  ): Promise<void> {
    const { head, queryPrefix, documentPrefix } = this.#resources.profile;
    if (head.kind !== "cosine") throw new TypeError("a bi-encoder has a cosine head");
    const prefix = as === "query" ? queryPrefix : documentPrefix;
    const sequences: EncodedSequence[] = [];
    await this.#encodeAll(texts, (text) => {
      const sequence = this.#resources.pairEncoder.encodeSingle(prefix + text);
      if (as === "document") this.#note(sequence, text);
      else {
        if (sequence.illFormed) this.#illFormed.add(text);
        if (sequence.truncatedTokens > 0) this.#truncatedQueries += 1;
      }
      sequences.push(sequence);
    });
    await this.#run(sequences, (member, output, row) => {
      const sequence = sequences[member] as EncodedSequence;
      const vector = this.#read(() =>
        normalize(this.#resources.chain(readVector(head.pooling, output, row, sequence.ids.length))),
      );
      this.#requireFinite(dot(vector, vector), as === "query" ? -1 : start + member, texts[member] as string);
      deliver(member, vector, sequence);
    });
  }

  /** Listwise: the documents of a query share sequences. Documents of one query stand together, in their order. */
  async #scoreByList(encoder: ListEncoder, pairs: readonly CheckedPair[]): Promise<void> {
    const lists = new Map<string, number[]>();
    for (const [position, { query }] of pairs.entries()) {
      const list = lists.get(query);
      if (list === undefined) lists.set(query, [position]);
      else list.push(position);
    }
    for (const [query, positions] of lists) await this.#scoreList(encoder, query, positions, pairs);
  }

  async #scoreList(
    encoder: ListEncoder,
    query: string,
    positions: readonly number[],
    pairs: readonly CheckedPair[],
  ): Promise<void> {
    const { head, queryPrefix, documentPrefix } = this.#resources.profile;
    if (head.kind !== "marker-cosine") throw new TypeError("a listwise model has a marker-cosine head");
    const textAt = (document: number): string => (pairs[positions[document] as number] as CheckedPair).text;
    if (!query.isWellFormed()) this.#illFormed.add(query);
    const documents: ListDocument[] = [];
    await this.#encodeAll(positions, (_, document) => {
      const text = textAt(document);
      if (!text.isWellFormed()) this.#illFormed.add(text);
      if (text.trim() === "") this.#emptyDocuments += 1;
      documents.push(encoder.cutDocument(documentPrefix + text));
    });
    if (encoder.measureQuery(queryPrefix + query) === undefined) {
      for (const [document, position] of positions.entries()) {
        const { tokens, truncatedTokens, truncatedTokensIsMinimum } = documents[document] as ListDocument;
        this.#settle(position, {
          logit: null,
          score: null,
          tokens: 0,
          ...cut({ truncatedTokens: tokens + truncatedTokens, truncatedTokensIsMinimum }),
          queryOverflow: true,
        });
      }
      return;
    }
    const lists = await this.#encodeEach(encoder.encodeList(queryPrefix + query, documents));
    const vectors: (ListVectors | undefined)[] = lists.map(() => undefined);
    const scoreWhatIsThere = (): void => {
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
        this.#scores[position] = {
          logit: cosine,
          score: cosine,
          tokens,
          ...cut({ truncatedTokens, truncatedTokensIsMinimum }),
        };
      }
    };
    this.#scoreWhatIsThere = scoreWhatIsThere;
    try {
      await this.#run(
        lists.map(({ sequence }) => sequence),
        (member, output, row) => {
          const { sequence, documents: members } = lists[member] as (typeof lists)[number];
          const marks = [...sequence.ids].filter((id) => id === head.query || id === head.document);
          const found = this.#read(() =>
            readMarks(output, row, marks.length).map((mark) => this.#resources.chain(mark)),
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
          this.#completed += members.length;
        },
      );
    } finally {
      // What came back before a failure is scored too, for callers who asked for the part that is there.
      this.#scoreWhatIsThere = undefined;
      scoreWhatIsThere();
    }
  }

  /** Takes everything from a source that computes it, in slices. */
  async #encodeEach<T>(source: Iterable<T>): Promise<T[]> {
    const taken: T[] = [];
    await this.#encodeAll(source, (item) => taken.push(item));
    return taken;
  }

  /** Tokenises in slices, so that a long list does not hold the event loop. */
  async #encodeAll<T>(items: Iterable<T>, encode: (item: T, index: number) => void): Promise<void> {
    let sliceStart = performance.now();
    let index = 0;
    this.#check();
    for (const item of items) {
      encode(item, index++);
      const now = performance.now();
      if (now - sliceStart < encodeSlice) continue;
      this.#encodeMilliseconds += now - sliceStart;
      await new Promise<void>((resolve) => setTimeout(resolve, 0));
      this.#check();
      sliceStart = performance.now();
    }
    this.#encodeMilliseconds += performance.now() - sliceStart;
  }

  async #run(
    sequences: readonly EncodedSequence[],
    deliver: (index: number, output: RawOutput, row: number) => void,
  ): Promise<void> {
    const started = performance.now();
    this.#runStarted = started;
    const { signal, progress } = this.#options;
    try {
      await runSequences(sequences, {
        session: this.#resources.session,
        paddingId: this.#resources.profile.paddingId,
        limit: this.#resources.limit,
        check: () => this.#check(),
        signal,
        count: this.#count,
        deliver,
        afterBatch: () => {
          if (this.#interrupted) return;
          progress?.tell({ completed: this.#completed, total: this.#scores.length });
          progress?.check();
        },
      });
    } finally {
      this.#runStarted = undefined;
      this.#runMilliseconds += performance.now() - started;
    }
  }

  /** Throws when the call should not go on. */
  #check(): void {
    if (this.#resources.isDisposed()) throw new DisposedError();
    this.#options.signal?.throwIfAborted();
    this.#options.progress?.check();
  }

  #encodedQuery(query: string): EncodedQuery {
    const known = this.#queries.get(query);
    if (known !== undefined) return known;
    const encoded = this.#resources.pairEncoder.encodeQuery(
      this.#resources.profile.queryPrefix + query,
      this.#instruction,
    );
    if (encoded.illFormed) this.#illFormed.add(query);
    this.#queries.set(query, encoded);
    return encoded;
  }

  #note(sequence: EncodedSequence, text: string): void {
    if (sequence.illFormed) this.#illFormed.add(text);
    if (sequence.truncatedQueryTokens > 0 && !sequence.queryOverflow) this.#truncatedQueries += 1;
    if (text.trim() === "") this.#emptyDocuments += 1;
  }

  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (cause) {
      throw new BackendRunError(
        { backend: this.#resources.session.info.name, problem: (cause as Error).message },
        { cause },
      );
    }
  }

  #requireFinite(value: number, index: number, text: string): void {
    if (Number.isFinite(value)) return;
    this.#nonFinite = new NonFiniteScoreError({
      index,
      value,
      model: this.#resources.model.id,
      backend: this.#resources.session.info.name,
      text,
    });
    throw this.#nonFinite;
  }

  #warnings(scores: readonly PairScore[]): CrossrankWarning[] {
    const { listTemplate, ...profile } = this.#resources.profile;
    const maxLength = listTemplate?.maxDocumentTokens ?? profile.maxLength;
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
      const most = listTemplate?.maxQueryTokens ?? profile.maxLength;
      warnings.push({
        code: "query-overflow",
        message: `the query leaves no room within ${most} tokens: ${overflowing} documents were not scored and rank last; shorten it`,
        count: overflowing,
        maxLength: most,
      });
    }
    if (this.#truncatedQueries > 0) {
      warnings.push({
        code: "query-truncated",
        message: `the query was cut to fit ${maxLength} tokens (${this.#truncatedQueries} times)`,
        count: this.#truncatedQueries,
        maxLength,
      });
    }
    if (this.#illFormed.size > 0) {
      warnings.push({
        code: "ill-formed-unicode",
        message: `${this.#illFormed.size} texts hold lone surrogates, read as U+FFFD`,
        count: this.#illFormed.size,
      });
    }
    if (this.#emptyDocuments > 0) {
      warnings.push({
        code: "empty-documents",
        message: `${this.#emptyDocuments} documents have no text; their scores say little`,
        count: this.#emptyDocuments,
      });
    }
    const { pairTemplate, readsSegments } = this.#resources.profile;
    const usesSegments =
      readsSegments && pairTemplate.some((piece) => "segment" in piece && piece.segment === 1);
    if (usesSegments && !this.#resources.session.capabilities.segmentIds) {
      warnings.push({
        code: "segment-ids-ignored",
        message:
          "the model's template marks the document as segment 1, and this artifact takes no segment ids",
      });
    }
    const { capabilities } = this.#resources.session;
    const rows = rowsTogether(capabilities);
    if (capabilities.rowsAffectScores && rows > 1) {
      const measured = this.#resources.movedInCompany() ?? null;
      const moved =
        measured === null
          ? "was not measured, without a probe"
          : `moved a probe pair by ${measured.toPrecision(2)}`;
      warnings.push({
        code: "rows-affect-scores",
        message:
          `up to ${rows} rows share a batch, and this artifact's scores depend on their neighbours in it: company ` +
          `${moved} (logit). Run one row a batch for scores that depend on nothing else`,
        measured,
        rows,
      });
    }
    return warnings;
  }

  #settle(position: number, score: PairScore): void {
    this.#scores[position] = score;
    this.#completed += 1;
  }
}

const notScored: PairScore = { logit: null, score: null, tokens: 0, truncatedTokens: 0, notScored: true };

/** For a call that ended before a model could take it. */
export function scoresOfNone(count: number): PairScore[] {
  return Array.from({ length: count }, () => ({ ...notScored }));
}

/** @throws {InvalidInputError} when the model takes none. */
function instructionOf({ model, profile }: ScoringResources, options: ScoringOptions): string {
  const wanted = options.instruction ?? profile.instruction ?? "";
  requireInstruction(wanted, { id: model.id, profile });
  return wanted;
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
