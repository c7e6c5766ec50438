import type { RelevanceScoreProvider } from "@mastra/core/relevance";
import type { QueryResult } from "@mastra/core/vector";
import {
  InvalidInputError,
  type LazyReranker,
  type LazyRerankerOptions,
  lazyReranker,
  type RerankerSource,
  requireScore,
  toUnitScore,
} from "crossrank";

/** Those of `openReranker`, where the model is named. */
export type CrossrankScorerOptions = LazyRerankerOptions;

export interface RerankResultsOptions {
  /** What a vector store has found. */
  readonly results: readonly QueryResult[];
  readonly query: string;
  /** Return the best n only. Default: all. */
  readonly topK?: number | undefined;
  /** The text of a result. Default: `metadata.text`, where Mastra puts it, else `document`. */
  readonly text?: ((result: QueryResult) => string) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A result in the form of Mastra's own `rerank`. */
export interface RankedQueryResult {
  /** The caller's own. */
  readonly result: QueryResult;
  /** 0 to 1: the model's alone. */
  readonly score: number;
  readonly details: {
    /** As `score`. */
    readonly semantic: number;
    /** The vector store's. */
    readonly vector: number;
    /** 1 for the vector store's first, then falling evenly. */
    readonly position: number;
  };
}

interface Waiting {
  readonly query: string;
  readonly text: string;
  readonly resolve: (score: number) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * A relevance scorer for `rerankWithScorer` and the vector query tool of @mastra/rag. Scores lie between 0 and 1: a
 * probability as it is, the logistic function of a logit, `(1 + score) / 2` of a cosine or a hyperbolic tangent.
 */
export class CrossrankRelevanceScorer implements RelevanceScoreProvider, AsyncDisposable {
  readonly #reranker: LazyReranker;
  #waiting: Waiting[] = [];

  /**
   * @param source a reranker, a promise of one, or a model's name as `openReranker` takes it.
   * @throws {InvalidInputError} when an option of opening stands beside a reranker.
   */
  constructor(source: RerankerSource, options: CrossrankScorerOptions = {}) {
    this.#reranker = lazyReranker(source, options);
  }

  /**
   * One score. Calls that are made together, as Mastra makes them, are scored in one call of the model.
   *
   * @throws {InvalidInputError} when a text is empty: that one is scored for no reason, and its number says little.
   * @throws {DocumentNotScoredError} when the query leaves no room for the text, or a time budget ran out.
   */
  async getRelevanceScore(query: string, text: string): Promise<number> {
    requireText(query, "query");
    requireText(text, "text");
    return new Promise((resolve, reject) => {
      this.#waiting.push({ query, text, resolve, reject });
      if (this.#waiting.length === 1) queueMicrotask(() => void this.#scoreWaiting());
    });
  }

  /**
   * Orders what a vector store has found by the model's score alone, best first. Mastra's `rerankWithScorer` mixes in
   * the vector store's score and order, and gives 0 to a result without `metadata.text`; this refuses one.
   *
   * @throws {InvalidInputError} when a result has no text.
   * @throws {DocumentNotScoredError} when the query leaves no room for a text, or a time budget ran out.
   */
  async rerank({ results, query, topK, text, signal }: RerankResultsOptions): Promise<RankedQueryResult[]> {
    const found = [...results];
    const ranked = await this.#reranker.rerank({
      query,
      documents: found.map((result, index) => textOf(result, text, `results[${index}]`)),
      topN: topK,
      signal,
    });
    return ranked.results.map((one): RankedQueryResult => {
      const result = found[one.index] as QueryResult;
      const score = toUnitScore(requireScore(one.index, one), ranked.scale ?? "logit");
      const position = 1 - one.index / found.length;
      return { result, score, details: { semantic: score, vector: result.score, position } };
    });
  }

  /** Opens the model now instead of in the first call. */
  async load(): Promise<void> {
    await this.#reranker.load();
  }

  /** Frees the model that was opened here; a reranker that was given stays the caller's. */
  async dispose(): Promise<void> {
    await this.#reranker.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #scoreWaiting(): Promise<void> {
    const calls = this.#waiting;
    this.#waiting = [];
    try {
      const { scores, scale } = await this.#reranker.score(
        calls.map(({ query, text }) => ({ query, document: text })),
      );
      for (const [index, { resolve, reject }] of calls.entries()) {
        try {
          // Each call has one text.
          resolve(toUnitScore(requireScore(0, scores[index] as (typeof scores)[number]), scale ?? "logit"));
        } catch (error) {
          reject(error);
        }
      }
    } catch (error) {
      for (const { reject } of calls) reject(error);
    }
  }
}

function textOf(
  result: QueryResult,
  text: ((result: QueryResult) => string) | undefined,
  path: string,
): string {
  if (text !== undefined) return text(result);
  const found: unknown = result.metadata?.["text"] ?? result.document;
  if (typeof found === "string" && found !== "") return found;
  throw new InvalidInputError(
    path,
    "has no text in metadata.text or document. Store the chunk's text in the metadata, or give the option text",
  );
}

/** @throws {InvalidInputError} */
function requireText(value: unknown, path: string): void {
  if (typeof value === "string" && value.trim() !== "") return;
  throw new InvalidInputError(path, "must be a string that is not empty");
}
