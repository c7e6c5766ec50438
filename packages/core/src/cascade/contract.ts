import type {
  DocumentInput,
  Pair,
  Reranker,
  RerankManyOptions,
  RerankOptions,
  ScoreOptions,
} from "../contract/reranker.js";
import type {
  PairScore,
  Provenance,
  QueryRanking,
  RankedDocument,
  RerankManyResult,
  RerankResult,
  ScoreResult,
  Usage,
} from "../contract/result.js";
import type { CrossrankWarning } from "../contract/warnings.js";

export interface CascadeOptions {
  /**
   * How many documents of a query go on to the next stage, 1 or more: a number of two stages; else one number for each
   * stage but the last, each smaller than the one before.
   */
  readonly keep: number | readonly number[];
  /** Dispose the stages with the cascade. Default false: they stay the caller's. */
  readonly disposeStages?: boolean | undefined;
}

/** Which stage decided about a document, and what every stage found. */
export interface StagePlace {
  /**
   * The last stage that has a score of the document, from 0; null where none has. The order is by this first, the last
   * stage's documents before all others, and within a stage by that stage's logits.
   */
  readonly stage: number | null;
  /**
   * What each stage gave the document, in their order and each on its own scale; null of a stage that was not asked.
   * Numbers of two stages are not comparable.
   */
  readonly stageScores: readonly (PairScore | null)[];
}

/**
 * A document's score by the last stage. `logit` and `score` are null where it has none, so that scales never mix; an
 * earlier stage's are in `stageScores`. `notScored` says that the last stage was to score the document and the call
 * ended before.
 */
export type CascadeScore = PairScore & StagePlace;

/** One document in the order of a cascade. */
export type CascadeDocument<Document> = RankedDocument<Document> & StagePlace;

/** What a stage did in a call. Its `scale` is that of its `stageScores`. */
export interface CascadeStage extends Provenance {
  /**
   * - `reranked`: it scored all that it was given.
   * - `partial`: the call ended before that.
   * - `not-needed`: no query has more documents than go on to the next stage, so that one scores them all.
   * - `not-reached`: the call ended before its turn.
   */
  readonly status: "reranked" | "partial" | "not-needed" | "not-reached";
  /** Pairs that it was given. */
  readonly pairs: number;
  /** Pairs that it has a score of. */
  readonly scored: number;
  readonly warnings: readonly CrossrankWarning[];
  readonly usage: Usage;
}

interface Stages {
  /**
   * In their order. The provenance beside them (`model`, `backend`, `scale` and so on) is the last stage's, whose the
   * scores are.
   */
  readonly stages: readonly CascadeStage[];
}

/**
 * What a cascade answers. Its warnings are those of all stages, of one code the last stage's; each stage has its own in
 * `stages`.
 */
export interface CascadeRerankResult<Document> extends Omit<RerankResult<Document>, "results">, Stages {
  readonly results: readonly CascadeDocument<Document>[];
}

export interface CascadeQueryRanking<Document> extends Omit<QueryRanking<Document>, "results"> {
  readonly results: readonly CascadeDocument<Document>[];
}

/** As `RerankManyResult`. The warnings of a ranking are those of the first stage that ran; all are in the result's. */
export interface CascadeRerankManyResult<Document>
  extends Omit<RerankManyResult<Document>, "rankings">,
    Stages {
  readonly rankings: readonly CascadeQueryRanking<Document>[];
}

export interface CascadeScoreResult extends Omit<ScoreResult, "scores">, Stages {
  readonly scores: readonly CascadeScore[];
}

/**
 * Rerankers in stages that behave as one: the first scores all documents of a query, the next the best of them, and so
 * on. A stage is left out where there is nothing for it to leave out: with no more documents than `keep`, the last
 * model runs alone. `profile`, `sources` and `session` are the last stage's.
 *
 * Options of a call go to every stage, save these: `activation` is for the last stage's scores, `instruction` for the
 * stages that take one, and `threshold` is refused, since a document without a score of the last stage is neither above
 * nor below it. When a time budget runs out, the last stage falls out first: what it has scored comes first, and the
 * others come in the order of the stage before. An error of a stage fails the call.
 */
export interface CascadeReranker extends Reranker {
  /** How many documents go on from each stage but the last. */
  readonly keep: readonly number[];
  /** @throws {InvalidInputError} also for a `threshold`; otherwise as `Reranker.rerank`. */
  rerank<Document extends DocumentInput | object>(
    options: RerankOptions<Document>,
  ): Promise<CascadeRerankResult<Document>>;
  /** As `rerank`, for many queries: each keeps its own best. */
  rerankMany<Document extends DocumentInput | object>(
    options: RerankManyOptions<Document>,
  ): Promise<CascadeRerankManyResult<Document>>;
  /** Scores pairs, in their own order. The pairs of one query, wherever they stand, are its documents. */
  score(pairs: readonly Pair[], options?: ScoreOptions): Promise<CascadeScoreResult>;
}
