import type { RelevanceScoreProvider } from "@mastra/core/relevance";
import type { QueryResult } from "@mastra/core/vector";
import {
  InvalidInputError,
  type LazyReranker,
  type LazyRerankerOptions,
  lazyReranker,
  type RerankerSource,
  requireAdapterOptions,
  requireKnownOptions,
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
   * @throws {InvalidInputError} when an option is unknown, or one of opening stands beside a reranker.
   */
  constructor(source: RerankerSource, options: CrossrankScorerOptions = {}) {
    requireAdapterOptions(options, {
      name: "CrossrankRelevanceScorer",
      ofCalls: { name: "scorer.rerank", options: Object.keys(rerankNames) },
    });
    this.#reranker = lazyReranker(source, options);
  }

  /**
   * One score. Calls that are made together, as Mastra makes them, are scored in one call of the model.
   *
   * @throws {InvalidInputError} when the query or the text is empty: Mastra asks for the score of no such text. One of
   * spaces alone is scored as `rerank` does: it must not take a search's other results with it.
   * @throws {DocumentNotScoredError} when the query leaves no room for the text, or a time budget ran out.
   */
  async getRelevanceScore(query: string, text: string): Promise<number> {
    if (typeof query !== "string" || query.trim() === "") throw emptyText("query");
    if (typeof text !== "string" || text === "") throw emptyText("text");
    return new Promise((resolve, reject) => {
      this.#waiting.push({ query, text, resolve, reject });
      if (this.#waiting.length === 1) queueMicrotask(() => void this.#scoreWaiting());
    });
  }

  /**
   * Orders what a vector store has found by the model's score alone, best first. Mastra's `rerankWithScorer` mixes in
   * the vector store's score and order, and gives 0 to a result without `metadata.text`; this refuses one.
   *
   * @throws {InvalidInputError} when a result has no text, or an option is wrong.
   * @throws {DocumentNotScoredError} when the query leaves no room for a text, or a time budget ran out.
   */
  async rerank(options: RerankResultsOptions): Promise<RankedQueryResult[]> {
    const { results, query, topK, text, signal } = checkRerank(options);
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

const rerankNames: Readonly<Record<keyof RerankResultsOptions, true>> = {
  results: true,
  query: true,
  topK: true,
  text: true,
  signal: true,
};

/** @throws {InvalidInputError} */
function checkRerank(options: RerankResultsOptions): RerankResultsOptions {
  if (typeof options !== "object" || options === null) {
    throw new InvalidInputError("options", "of scorer.rerank must be an object: { results, query }");
  }
  requireKnownOptions(options, rerankNames, "scorer.rerank");
  const { results, topK, text } = options;
  if (!Array.isArray(results)) {
    throw new InvalidInputError("results", "must be an array of what a vector store has found");
  }
  if (topK !== undefined && !(Number.isInteger(topK) && topK > 0)) {
    throw new InvalidInputError("topK", `must be a whole number above 0, not ${topK}`);
  }
  if (text !== undefined && typeof text !== "function") {
    throw new InvalidInputError(
      "text",
      "must be a function of a result, such as (result) => result.metadata.body",
    );
  }
  return options;
}

function textOf(
  result: QueryResult,
  text: ((result: QueryResult) => string) | undefined,
  path: string,
): string {
  if (typeof result !== "object" || result === null) {
    throw new InvalidInputError(
      path,
      `must be a result of a vector store, not ${result === null ? "null" : typeof result}`,
    );
  }
  if (text !== undefined) {
    const given: unknown = text(result);
    if (typeof given === "string") return given;
    throw new InvalidInputError(
      path,
      `has no text: the option text gave ${given === null ? "null" : typeof given}`,
    );
  }
  // A store may keep something else under the name, or nothing, and have the text beside it.
  const texts = [result.metadata?.["text"], result.document].filter(
    (one: unknown): one is string => typeof one === "string" && one !== "",
  );
  const found = texts.find((one) => one.trim() !== "") ?? texts[0];
  if (found !== undefined) return found;
  throw new InvalidInputError(
    path,
    "has no text in metadata.text or document. Store the chunk's text in the metadata, or give the option text",
  );
}

function emptyText(path: string): InvalidInputError {
  return new InvalidInputError(path, "must be a string that is not empty");
}
