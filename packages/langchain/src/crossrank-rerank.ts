import type { Callbacks } from "@langchain/core/callbacks/manager";
import { Document, type DocumentInterface } from "@langchain/core/documents";
import { BaseDocumentCompressor } from "@langchain/core/retrievers/document_compressors";
import { type Runnable, type RunnableConfig, RunnableLambda } from "@langchain/core/runnables";
import {
  InvalidInputError,
  type LazyReranker,
  type LazyRerankerOptions,
  lazyReranker,
  type RerankerSource,
  requireAdapterOptions,
} from "crossrank";

/** Those of `openReranker`, where the model is named, and: */
export type CrossrankRerankOptions = LazyRerankerOptions & {
  /** Return the best n documents only. Default: all. */
  readonly topN?: number | undefined;
  /** The key of a document's metadata under which its score stands. Default `"relevanceScore"`. */
  readonly scoreKey?: string | undefined;
};

/** What {@link CrossrankRerank.asRunnable} takes. */
export interface RerankInput {
  readonly query: string;
  readonly documents: readonly DocumentInterface[];
}

/**
 * Reranks documents by their `pageContent`, best first. Each comes back as a copy with its id, its metadata, and its
 * score in the metadata; null where it has none (the query fills the model, or a time budget ran out).
 */
export class CrossrankRerank extends BaseDocumentCompressor implements AsyncDisposable {
  readonly #reranker: LazyReranker;
  readonly #topN: number | undefined;
  readonly #scoreKey: string;
  readonly #runnable: Runnable<RerankInput, Document[]>;

  /**
   * @param source a reranker, a promise of one, or a model's name as `openReranker` takes it.
   * @throws {InvalidInputError} when an option is wrong, or one of opening stands beside a reranker.
   */
  constructor(source: RerankerSource, options: CrossrankRerankOptions = {}) {
    super();
    requireAdapterOptions(options, { name: "CrossrankRerank", own: { topN: true, scoreKey: true } });
    const { topN, scoreKey = "relevanceScore", ...opening } = options;
    if (topN !== undefined && !(Number.isInteger(topN) && topN > 0)) {
      throw new InvalidInputError("topN", `must be a whole number above 0, not ${topN}`);
    }
    if (typeof scoreKey !== "string" || scoreKey === "") {
      throw new InvalidInputError("scoreKey", "must be a key of the metadata: a string that is not empty");
    }
    this.#reranker = lazyReranker(source, opening);
    this.#topN = topN;
    this.#scoreKey = scoreKey;
    this.#runnable = RunnableLambda.from<RerankInput, Document[]>((input, config) =>
      this.#rerank(input, config.signal),
    ).withConfig({ runName: "CrossrankRerank" });
  }

  /**
   * @param callbacks are told of the run, as those of a chain's step.
   * @throws what `Reranker.rerank` throws, and `openReranker` in the first call.
   */
  async compressDocuments(
    documents: DocumentInterface[],
    query: string,
    callbacks?: Callbacks,
  ): Promise<Document[]> {
    return this.#runnable.invoke({ query, documents }, callbacks === undefined ? {} : { callbacks });
  }

  /** The same as a step of a chain. The signal of its configuration stops the scoring. */
  asRunnable(): Runnable<RerankInput, Document[]> {
    return this.#runnable;
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

  async #rerank(input: RerankInput, signal: RunnableConfig["signal"]): Promise<Document[]> {
    const texts = textsOf(input);
    const { query, documents } = input;
    const { results } = await this.#reranker.rerank({
      query,
      documents: texts,
      topN: this.#topN,
      signal,
    });
    return results.map(({ index, score }) => {
      const { pageContent, metadata, id } = documents[index] as DocumentInterface;
      return new Document({
        pageContent,
        metadata: { ...metadata, [this.#scoreKey]: score },
        ...(id === undefined ? {} : { id }),
      });
    });
  }
}

/** @throws {InvalidInputError} when one of the documents is none, or its `pageContent` is no text. */
function textsOf(input: RerankInput): string[] {
  const documents: unknown = input?.documents;
  if (!Array.isArray(documents)) {
    throw new InvalidInputError(
      "documents",
      "must be an array of documents. A step of a chain takes { query, documents }",
    );
  }
  return documents.map((document: Partial<DocumentInterface> | null | undefined, index) => {
    const text: unknown = document?.pageContent;
    if (typeof text === "string") return text;
    const kind = text === null ? "null" : typeof text;
    throw new InvalidInputError(
      `documents[${index}].pageContent`,
      `must be a string, not ${kind}. Put the text there`,
    );
  });
}
