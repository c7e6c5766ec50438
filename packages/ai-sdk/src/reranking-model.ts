import type { RerankingModelV3, RerankingModelV3CallOptions, SharedV3Warning } from "@ai-sdk/provider";
import {
  InvalidInputError,
  type LazyReranker,
  type LazyRerankerOptions,
  lazyReranker,
  type RerankerSource,
  requireAdapterOptions,
  requireScore,
} from "crossrank";
import { type DocumentText, requireDocumentText, requireTexts, textsOf } from "./document-text.js";

/** Those of `openReranker`, where the model is named, and: */
export type RerankingModelOptions = LazyRerankerOptions & {
  /** For documents that are objects: which field is ranked. Without it they are refused. */
  readonly documentText?: DocumentText | undefined;
  /** The id that the AI SDK tells. Default: the model's name, or `"reranker"` for a reranker that was given. */
  readonly modelId?: string | undefined;
};

/** A reranking model of the AI SDK. */
export interface CrossrankRerankingModel extends RerankingModelV3 {
  /** Opens the model now instead of in the first call. */
  load(): Promise<void>;
}

/** One that belongs to no provider. */
export interface OwnRerankingModel extends CrossrankRerankingModel, AsyncDisposable {
  /** Frees the model that was opened here; a reranker that was given stays the caller's. */
  dispose(): Promise<void>;
}

/** The name of the provider, under which options of a call and metadata of a result stand. */
export const providerName = "crossrank";

/**
 * A reranking model for `rerank()` of the AI SDK, versions 6 and 7.
 *
 * @param source a reranker, a promise of one, or a model's name as `openReranker` takes it.
 * @throws {InvalidInputError} when an option is wrong, or one of opening stands beside a reranker.
 */
export function rerankingModel(
  source: RerankerSource,
  options: RerankingModelOptions = {},
): OwnRerankingModel {
  requireAdapterOptions(options, { name: "rerankingModel", own: { documentText: true, modelId: true } });
  const { documentText, modelId = typeof source === "string" ? source : "reranker", ...opening } = options;
  requireDocumentText(documentText);
  if (typeof modelId !== "string")
    throw new InvalidInputError("modelId", `must be a string, not ${typeof modelId}`);
  const reranker = lazyReranker(source, opening);
  return {
    ...modelOf(reranker, { documentText, modelId }),
    dispose: () => reranker.dispose(),
    [Symbol.asyncDispose]: () => reranker.dispose(),
  };
}

// A plain object: the AI SDK wraps models in a Proxy, which private fields do not survive.
export function modelOf(
  reranker: LazyReranker,
  options: { readonly documentText: DocumentText | undefined; readonly modelId: string },
): CrossrankRerankingModel {
  return {
    specificationVersion: "v3",
    provider: providerName,
    modelId: options.modelId,
    doRerank: (call) => doRerank(reranker, options, call),
    load: () => reranker.load(),
  };
}

async function doRerank(
  reranker: LazyReranker,
  { documentText, modelId }: { readonly documentText: DocumentText | undefined; readonly modelId: string },
  call: RerankingModelV3CallOptions,
): Promise<Awaited<ReturnType<RerankingModelV3["doRerank"]>>> {
  const { query, documents, topN, abortSignal } = call;
  const own = readProviderOptions(call);
  const result = await reranker.rerank({
    query,
    documents:
      documents.type === "text"
        ? requireTexts(documents.values)
        : textsOf(documents.values, own.documentText ?? documentText),
    topN,
    instruction: own.instruction,
    signal: abortSignal,
  });
  const told = result.warnings.map(({ message }): SharedV3Warning => ({ type: "other", message }));
  return {
    ranking: result.results.map((one) => ({
      index: one.index,
      relevanceScore: requireScore(one.index, one),
    })),
    warnings: [...own.warnings, ...told],
    providerMetadata: {
      [providerName]: {
        status: result.status,
        scale: result.scale,
        backend: result.backend?.name ?? null,
        dtype: result.model?.artifact.dtype ?? null,
      },
    },
    response: { timestamp: new Date(), modelId: result.model?.id ?? modelId },
  };
}

interface OwnOptions {
  readonly documentText: string | readonly string[] | undefined;
  readonly instruction: string | undefined;
  readonly warnings: readonly SharedV3Warning[];
}

/** @throws {InvalidInputError} */
function readProviderOptions({ providerOptions, headers }: RerankingModelV3CallOptions): OwnOptions {
  const { documentText, instruction, ...others } = providerOptions?.[providerName] ?? {};
  const isNames = Array.isArray(documentText) && documentText.every((name) => typeof name === "string");
  if (documentText !== undefined && typeof documentText !== "string" && !isNames) {
    throw new InvalidInputError("documentText", "must be a field's name, or an array of names");
  }
  if (instruction !== undefined && typeof instruction !== "string") {
    throw new InvalidInputError("instruction", "must be a string");
  }
  const unsupported = (feature: string, details: string): SharedV3Warning => ({
    type: "unsupported",
    feature,
    details,
  });
  return {
    documentText: documentText as OwnOptions["documentText"],
    instruction,
    warnings: [
      ...Object.keys(others).map((name) =>
        unsupported(
          `providerOptions.${providerName}.${name}`,
          "A call takes documentText and instruction. Give the others to the model.",
        ),
      ),
      ...(Object.keys(headers ?? {}).some((name) => !/^user-agent$/i.test(name))
        ? [unsupported("headers", "The model runs in this process: nothing is sent.")]
        : []),
    ],
  };
}
