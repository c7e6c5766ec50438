import type { LimitFunction } from "p-limit";
import type { BackendSession, RawOutput } from "../contract/backend.js";
import {
  BackendRunError,
  CrossrankError,
  DisposedError,
  InvalidInputError,
  NonFiniteScoreError,
} from "../contract/errors.js";
import { requireInstruction } from "../contract/instruction.js";
import type { ModelFiles } from "../contract/model-files.js";
import type { Embedding, ScoreOptions, ScoringProgress } from "../contract/reranker.js";
import type { PairScore, Status, Usage } from "../contract/result.js";
import type { CrossrankWarning } from "../contract/warnings.js";
import type { EncodedSequence } from "../encoding/pair-encoder.js";
import { cosineFamily, vectorStages } from "../families/cosine.js";
import type { CallProgress, CheckedPair, Family, FamilyResources, Stage } from "../families/family.js";
import { lateFamily } from "../families/late.js";
import { listFamily } from "../families/list.js";
import { pairFamily } from "../families/pair.js";
import type { IsInsideToken } from "../long/cuts.js";
import { FoldedScores } from "../long/folded-scores.js";
import { PassageCutter } from "../long/passages.js";
import type { Chunking } from "../long/settings.js";
import { type RunCount, runSequences } from "../run/run-sequences.js";
import type { CallCache } from "../score-cache/call-cache.js";
import type { TextTokenizer } from "../tokenizer/tokenizer.js";
import type { Turns } from "../tokenizer/turns.js";
import { type Noticed, warningsOf, warningsOfTexts } from "./call-warnings.js";
import type { Listener } from "./listener.js";
import type { UnknownTextMeter } from "./unknown-text.js";
import { UnknownTexts } from "./unknown-texts.js";

/** Milliseconds of tokenising after which the event loop gets a turn. */
const encodeSlice = 8;

const families: Readonly<Record<FamilyResources["profile"]["family"], Family>> = {
  "cross-encoder": pairFamily,
  "causal-lm": pairFamily,
  "bi-encoder": cosineFamily,
  listwise: listFamily,
  "late-interaction": lateFamily,
};

/** What is known of texts by the tokenizer alone. */
export interface TextResources {
  readonly tokenizer: TextTokenizer;
  readonly isInsideToken: IsInsideToken;
  /** Undefined for a tokenizer that knows every text. */
  readonly unknownTexts: UnknownTextMeter | undefined;
}

/** What all calls of a reranker share. */
export interface ScoringResources extends Omit<FamilyResources, "instruction"> {
  readonly model: Pick<ModelFiles, "id">;
  readonly session: Pick<BackendSession, "info" | "capabilities" | "notes" | "run">;
  /** Of the files of the tokenizer, for a warning. */
  readonly disagreements: readonly string[];
  readonly texts: TextResources;
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
  /** Where documents that are longer than the model are scored by passages. */
  readonly chunking?: Chunking | undefined;
  readonly cache?: CallCache | undefined;
  /** How many pairs that stand together are of one query, where the call answers for each query by itself. */
  readonly groupSize?: number | undefined;
}

/** What is to be said of the pairs of one query. */
export interface GroupNotes {
  readonly status: Status;
  /** Of its texts; what concerns the session is said of the call. */
  readonly warnings: readonly CrossrankWarning[];
}

/** What one call came to; provenance is the reranker's. */
export interface Scoring {
  readonly status: Status;
  /** One entry a pair, in their order. */
  readonly scores: readonly PairScore[];
  readonly warnings: readonly CrossrankWarning[];
  readonly usage: Usage;
  /** One a query, in their order; none without a `groupSize`. */
  readonly groups: readonly GroupNotes[];
}

/** One call of a reranker: takes its pairs through the stages of the model's family. Used once. */
export class ScoringCall implements CallProgress {
  readonly #resources: ScoringResources & FamilyResources;
  readonly #options: ScoringOptions;
  /** By position of a pair, or of a passage where there are some; undefined until scored. */
  #scores: (PairScore | undefined)[] = [];
  #pairs: readonly CheckedPair[] = [];
  /** What is scored: the pairs, or passages. */
  #parts: readonly CheckedPair[] = [];
  /** That a family has told of. */
  #lastQuery = "";
  /** Pairs of the call, or texts. */
  #total = 0;
  #completed = 0;
  /** What the scores of passages become. */
  #folded: FoldedScores | undefined;
  /** Passages of each pair that have no score yet. */
  #left: number[] = [];
  readonly #unknown: UnknownTexts;
  readonly #count: RunCount = { sequences: 0, tokens: 0, paddedTokens: 0, batches: 0 };
  readonly #illFormed = new Set<string>();
  #emptyDocuments = 0;
  #truncatedQueries = 0;
  /** Of the queries that were cut, how often. */
  readonly #cutQueries = new Map<string, number>();
  /** When the call began. */
  readonly #started: number;
  #encodeMilliseconds = 0;
  #runMilliseconds = 0;
  /** When the runs under way began. */
  #runStarted: number | undefined;
  /** The stage whose sequences run. */
  #running: Stage | undefined;
  #interrupted = false;
  /** Noticed, while other batches are still under way. */
  #nonFinite: NonFiniteScoreError | undefined;

  /**
   * @param started when the caller called, on `performance.now`'s clock.
   * @throws {InvalidInputError} when there is an instruction and the model takes none.
   */
  constructor(resources: ScoringResources, options: ScoringOptions, started: number = performance.now()) {
    const { model, profile } = resources;
    const instruction = options.instruction ?? profile.instruction ?? "";
    requireInstruction(instruction, { id: model.id, profile });
    this.#resources = { ...resources, instruction };
    this.#unknown = new UnknownTexts(resources.texts.unknownTexts);
    requireChunkable(options.chunking, { model: model.id, family: profile.family });
    this.#options = options;
    this.#started = started;
  }

  /** Vectors instead of scores, for a bi-encoder. An abort rejects. */
  async embed(texts: readonly string[], as: "query" | "document"): Promise<Embedding> {
    const vectors = new Array<Float32Array>(texts.length);
    const truncatedTokens = new Array<number>(texts.length).fill(0);
    this.#total = texts.length;
    const stages = vectorStages(texts, as, {
      ...{ resources: this.#resources, progress: this },
      deliver: (index, vector, sequence) => {
        vectors[index] = Float32Array.from(vector);
        truncatedTokens[index] = sequence.truncatedTokens;
        this.advance(1);
      },
    });
    await this.#take(stages);
    return { vectors, truncatedTokens, usage: this.#usage() };
  }

  async score(pairs: readonly CheckedPair[]): Promise<Scoring> {
    const { signal, whenAborted } = this.#options;
    const { chunking } = this.#options;
    this.#pairs = pairs;
    this.#total = pairs.length;
    this.#scores = new Array<PairScore | undefined>(pairs.length).fill(undefined);
    try {
      this.#check();
      await this.#inTurns(this.#unknown.look(pairs));
      const parts = chunking === undefined ? pairs : await this.#cut(pairs, chunking);
      await this.#takeParts(parts);
    } catch (error) {
      const aborted = signal?.aborted && error === signal.reason;
      if (!aborted || whenAborted !== "partial") throw error;
      return this.#scoring("partial");
    }
    return this.#scoring("reranked");
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
      this.#running?.conclude?.();
      if (this.#nonFinite !== undefined) throw this.#nonFinite;
    }
    return this.#scoring(status);
  }

  put(position: number, score: PairScore): void {
    this.#scores[position] = score;
    const owner = this.#folded?.owners[position];
    if (owner === undefined) return;
    const left = (this.#left[owner] as number) - 1;
    this.#left[owner] = left;
    if (left === 0) this.#completed += 1;
  }

  advance(count: number): void {
    // Of passages, a document is done with its last.
    if (this.#folded === undefined) this.#completed += count;
  }

  requireFinite(value: number, index: number, text: string): void {
    if (Number.isFinite(value)) return;
    const { model, session } = this.#resources;
    const position = this.#folded?.owners[index] ?? index;
    this.#nonFinite = new NonFiniteScoreError({
      ...{ index: position, value, text },
      model: model.id,
      backend: session.info.name,
    });
    throw this.#nonFinite;
  }

  noteDocument({ illFormed }: Pick<EncodedSequence, "illFormed">, text: string): void {
    if (illFormed) this.#illFormed.add(text);
    if (text.trim() === "") this.#emptyDocuments += 1;
  }

  noteQuery({ illFormed }: Pick<EncodedSequence, "illFormed">, text: string): void {
    this.#lastQuery = text;
    if (illFormed) this.#illFormed.add(text);
  }

  noteTruncatedQuery(position?: number): void {
    this.#truncatedQueries += 1;
    const query = position === undefined ? this.#lastQuery : (this.#parts[position]?.query ?? "");
    this.#cutQueries.set(query, (this.#cutQueries.get(query) ?? 0) + 1);
    this.#options.cache?.noteTruncatedQuery(query, position);
  }

  /** Scores what the cache does not have. */
  async #takeParts(parts: readonly CheckedPair[]): Promise<void> {
    const { cache, signal, progress } = this.#options;
    this.#parts = parts;
    const score = families[this.#resources.profile.family];
    if (cache === undefined) return this.#take(score(parts, this.#resources, this));
    const hits = await cache.take(parts, signal);
    this.#check();
    for (const { position, score: kept, queryTruncated } of hits) {
      const { query, text } = parts[position] as CheckedPair;
      this.put(position, kept);
      this.noteQuery({ illFormed: !query.isWellFormed() }, query);
      this.noteDocument({ illFormed: !text.isWellFormed() }, text);
      if (queryTruncated) this.noteTruncatedQuery(position);
    }
    this.advance(hits.length);
    if (hits.length > 0) progress?.tell({ completed: this.#completed, total: this.#total });
    const known = new Set(hits.map(({ position }) => position));
    const missing = parts.flatMap((_, position) => (known.has(position) ? [] : position));
    const others = missing.map((position) => parts[position] as CheckedPair);
    try {
      await this.#take(score(others, this.#resources, progressAt(this, missing)));
    } finally {
      // Also what came before an abort or a failure: those numbers are as good.
      await cache.keep(this.#scores);
    }
  }

  /** Documents that are too long become passages; what is scored then. */
  async #cut(pairs: readonly CheckedPair[], chunking: Chunking): Promise<readonly CheckedPair[]> {
    const { profile, pairEncoder, lateEncoder, instruction, texts } = this.#resources;
    const { tokenizer, isInsideToken } = texts;
    const cutter = new PassageCutter(
      { profile, pairEncoder, lateEncoder, instruction, tokenizer, isInsideToken },
      chunking,
    );
    const folded = new FoldedScores(chunking, profile);
    const cut = function* (): Turns<void> {
      for (const pair of pairs) {
        folded.add(pair, yield* cutter.cut(pair.query, pair.text));
        if (folded.pairs.length > mostPassages) {
          throw new InvalidInputError(
            "documents",
            `have more than ${mostPassages} passages together. Send fewer of them in a call, or lower maxPassages`,
          );
        }
        yield;
      }
    };
    await this.#inTurns(cut());
    // At once, so that a call that is cut short before has none.
    this.#scores = new Array<PairScore | undefined>(folded.pairs.length).fill(undefined);
    this.#left = pairs.map((_, owner) => folded.countOf(owner));
    this.#folded = folded;
    return folded.pairs;
  }

  /** Work on texts, counted as encoding. */
  async #inTurns(work: Turns<void>): Promise<void> {
    let sliceStart = performance.now();
    while (work.next().done !== true) {
      const now = performance.now();
      if (now - sliceStart < encodeSlice) continue;
      this.#encodeMilliseconds += now - sliceStart;
      await new Promise<void>((resolve) => setTimeout(resolve, 0));
      this.#check();
      sliceStart = performance.now();
    }
    this.#encodeMilliseconds += performance.now() - sliceStart;
  }

  /** Encode, run, read: stage by stage. */
  async #take(stages: Iterable<Stage>): Promise<void> {
    this.#check();
    for (const stage of stages) {
      const sequences = await this.#encode(stage);
      this.#running = stage;
      try {
        await this.#run(sequences, stage);
      } finally {
        this.#running = undefined;
        stage.conclude?.();
      }
    }
  }

  /** Tokenises in slices, so that a long list does not hold the event loop. */
  async #encode(stage: Stage): Promise<EncodedSequence[]> {
    const sequences: EncodedSequence[] = [];
    let sliceStart = performance.now();
    this.#check();
    for (const sequence of stage.encode()) {
      if (sequence !== undefined) sequences.push(sequence);
      const now = performance.now();
      if (now - sliceStart < encodeSlice) continue;
      this.#encodeMilliseconds += now - sliceStart;
      await new Promise<void>((resolve) => setTimeout(resolve, 0));
      this.#check();
      sliceStart = performance.now();
    }
    this.#encodeMilliseconds += performance.now() - sliceStart;
    return sequences;
  }

  async #run(sequences: readonly EncodedSequence[], stage: Stage): Promise<void> {
    const started = performance.now();
    this.#runStarted = started;
    const { signal, progress } = this.#options;
    const { session, profile, limit } = this.#resources;
    try {
      await runSequences(sequences, {
        ...{ session, limit, signal, paddingId: profile.paddingId, count: this.#count },
        check: () => this.#check(),
        deliver: (member, output, row) => this.#read(stage, member, output, row),
        afterBatch: () => {
          if (this.#interrupted) return;
          progress?.tell({ completed: this.#completed, total: this.#total });
          progress?.check();
        },
      });
    } finally {
      this.#runStarted = undefined;
      this.#runMilliseconds += performance.now() - started;
    }
  }

  #read(stage: Stage, member: number, output: RawOutput, row: number): void {
    try {
      stage.read(member, output, row);
    } catch (cause) {
      if (CrossrankError.isInstance(cause)) throw cause;
      throw new BackendRunError(
        { backend: this.#resources.session.info.name, problem: (cause as Error).message },
        { cause },
      );
    }
  }

  /** Throws when the call should not go on. */
  #check(): void {
    if (this.#resources.isDisposed()) throw new DisposedError();
    this.#options.signal?.throwIfAborted();
    this.#options.progress?.check();
  }

  #scoring(status: Status): Scoring {
    if (status === "passthrough") {
      const scores = scoresOfNone(this.#total);
      return { status, scores, warnings: [], usage: this.#usage(), groups: this.#groups(status, scores) };
    }
    const found = this.#folded?.fold(this.#scores) ?? this.#scores;
    const scores = found.map((score): PairScore => score ?? { ...notScored });
    const { profile, session, disagreements, movedInCompany } = this.#resources;
    const noticed: Noticed = {
      unknown: this.#unknown.foundIn(this.#pairs),
      illFormed: this.#folded === undefined ? this.#illFormed.size : this.#illFormedOf(scores),
      emptyDocuments: this.#emptyDocuments,
      truncatedQueries: this.#truncatedQueries,
    };
    const { capabilities, notes } = session;
    const { chunking } = this.#options;
    const facts = { profile, capabilities, notes, disagreements, chunking, movedInCompany: movedInCompany() };
    return {
      ...{ status, scores },
      warnings: [...warningsOf(scores, noticed, facts), ...(this.#options.cache?.warnings ?? [])],
      usage: this.#usage(),
      groups: this.#groups(status, scores),
    };
  }

  /** Texts of scored pairs that are ill-formed, where what was encoded are passages of them. */
  #illFormedOf(scores: readonly PairScore[]): number {
    const done = this.#pairs.filter((_, position) => scores[position]?.notScored !== true);
    const texts = new Set(done.flatMap(({ query, text }) => [query, text]));
    return [...texts].filter((text) => !text.isWellFormed()).length;
  }

  #groups(status: Status, scores: readonly PairScore[]): GroupNotes[] {
    const { groupSize = 0, chunking } = this.#options;
    const { profile } = this.#resources;
    const groups: GroupNotes[] = [];
    for (let start = 0; groupSize > 0 && start < this.#total; start += groupSize) {
      const own = scores.slice(start, start + groupSize);
      if (status === "passthrough") {
        groups.push({ status, warnings: [] });
        continue;
      }
      const pairs = this.#pairs.slice(start, start + groupSize);
      const isDone = own.every(({ notScored: isLeft }) => isLeft !== true);
      const done = pairs.filter((_, position) => own[position]?.notScored !== true);
      const query = pairs[0]?.query ?? "";
      const texts = new Set([...(done.length === 0 ? [] : [query]), ...done.map(({ text }) => text)]);
      const noticed: Noticed = {
        illFormed: [...texts].filter((text) => !text.isWellFormed()).length,
        emptyDocuments: done.filter(({ text }) => text.trim() === "").length,
        truncatedQueries: this.#cutQueries.get(query) ?? 0,
        unknown: this.#unknown.foundIn(pairs),
      };
      groups.push({
        status: isDone ? "reranked" : "partial",
        warnings: warningsOfTexts(own, noticed, { profile, chunking }),
      });
    }
    return groups;
  }

  #usage(): Usage {
    const now = performance.now();
    const { cache } = this.#options;
    return {
      ...this.#count,
      ...(cache === undefined ? {} : { cached: cache.hits }),
      milliseconds: {
        encode: this.#encodeMilliseconds,
        run: this.#runMilliseconds + (this.#runStarted === undefined ? 0 : now - this.#runStarted),
        total: now - this.#started,
      },
    };
  }
}

/** For a family that is given some of the pairs, and counts positions among these. */
function progressAt(progress: CallProgress, positions: readonly number[]): CallProgress {
  const of = (position: number): number => (position < 0 ? position : (positions[position] as number));
  return {
    put: (position, score) => progress.put(of(position), score),
    advance: (count) => progress.advance(count),
    requireFinite: (value, position, text) => progress.requireFinite(value, of(position), text),
    noteDocument: (sequence, text) => progress.noteDocument(sequence, text),
    noteQuery: (sequence, text) => progress.noteQuery(sequence, text),
    noteTruncatedQuery: (position) =>
      progress.noteTruncatedQuery(position === undefined ? undefined : of(position)),
  };
}

/** Passages of a call: beyond what any call is worth, and within memory. */
const mostPassages = 2 ** 20;

/** @throws {InvalidInputError} for a model whose documents are scored together. */
export function requireChunkable(
  chunking: Chunking | undefined,
  { model, family }: { readonly model: string; readonly family: FamilyResources["profile"]["family"] },
): void {
  if (chunking === undefined || family !== "listwise") return;
  throw new InvalidInputError(
    "longDocuments",
    `cannot cut documents for ${model}: a listwise model scores the documents of a query together, and their passages would change each other's scores. Write "truncate", or choose a pointwise model`,
  );
}

const notScored: PairScore = { logit: null, score: null, tokens: 0, truncatedTokens: 0, notScored: true };

/** For a call that ended before a model could take it. */
export function scoresOfNone(count: number): PairScore[] {
  return Array.from({ length: count }, () => ({ ...notScored }));
}
