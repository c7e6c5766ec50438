import { NoSuchModelError, type ProviderV3 } from "@ai-sdk/provider";
import {
  DisposedError,
  InvalidInputError,
  type LazyReranker,
  type LazyRerankerOptions,
  lazyReranker,
  type RerankerSource,
  requireAdapterOptions,
} from "crossrank";
import { type DocumentText, requireDocumentText } from "./document-text.js";
import { type CrossrankRerankingModel, modelOf } from "./reranking-model.js";

/** Those of `openReranker`, for models that are named, and: */
export type CrossrankProviderOptions = LazyRerankerOptions & {
  /** For documents that are objects: which field is ranked. Without it they are refused. */
  readonly documentText?: DocumentText | undefined;
  /** Rerankers by their id. An id that is not here is a model's name, as `openReranker` takes it. */
  readonly rerankers?: Readonly<Record<string, Exclude<RerankerSource, string>>> | undefined;
};

/** The provider: `crossrank.reranking("nano")`. */
export interface CrossrankProvider extends ProviderV3, AsyncDisposable {
  /**
   * The same id gives the same loaded model, however often it is asked for.
   *
   * @throws {DisposedError} after `dispose`.
   */
  reranking(modelId: string): CrossrankRerankingModel;
  /** As {@link reranking}; the name that a provider registry asks for. */
  rerankingModel(modelId: string): CrossrankRerankingModel;
  /** @throws {NoSuchModelError} always: this provider has reranking models alone. */
  languageModel(modelId: string): never;
  /** @throws {NoSuchModelError} always: this provider has reranking models alone. */
  embeddingModel(modelId: string): never;
  /** @throws {NoSuchModelError} always: this provider has reranking models alone. */
  imageModel(modelId: string): never;
  /** Frees every model that was opened here. Rerankers that were given stay the caller's. */
  dispose(): Promise<void>;
}

/**
 * A provider with options of its own. Models are opened by their first call.
 *
 * @throws {InvalidInputError} when an option is wrong.
 */
export function createCrossrank(options: CrossrankProviderOptions = {}): CrossrankProvider {
  requireAdapterOptions(options, { name: "createCrossrank", own: { documentText: true, rerankers: true } });
  const { documentText, rerankers = {}, ...opening } = options;
  requireDocumentText(documentText);
  if (typeof rerankers !== "object" || rerankers === null) {
    throw new InvalidInputError("rerankers", "must be an object of rerankers by their id");
  }
  const opened = new Map<string, LazyReranker>();
  for (const [id, reranker] of Object.entries(rerankers)) opened.set(id, lazyReranker(reranker));
  let isDisposed = false;
  const reranking = (modelId: string): CrossrankRerankingModel => {
    if (isDisposed) throw new DisposedError("provider");
    const reranker = opened.get(modelId) ?? lazyReranker(modelId, opening);
    opened.set(modelId, reranker);
    return modelOf(reranker, { documentText, modelId });
  };
  const dispose = async (): Promise<void> => {
    isDisposed = true;
    await Promise.all([...opened.values()].map((reranker) => reranker.dispose()));
  };
  const none =
    (modelType: "languageModel" | "embeddingModel" | "imageModel") =>
    (modelId: string): never => {
      throw new NoSuchModelError({ modelId, modelType });
    };
  return {
    specificationVersion: "v3",
    reranking,
    rerankingModel: reranking,
    languageModel: none("languageModel"),
    embeddingModel: none("embeddingModel"),
    imageModel: none("imageModel"),
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}

/** The provider with the defaults of `openReranker`. */
export const crossrank: CrossrankProvider = createCrossrank();
