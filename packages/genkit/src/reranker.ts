import {
  InvalidInputError,
  type LazyReranker,
  type LazyRerankerOptions,
  lazyReranker,
  type RerankerSource,
  requireAdapterOptions,
  requireScore,
} from "crossrank";
import { type Document, type Genkit, type RerankerAction, z } from "genkit";
import { reranker as rerankerAction } from "genkit/plugin";

/** Options of a call of `ai.rerank`. Others are refused. */
export const CrossrankRerankerOptionsSchema: z.ZodObject<
  { k: z.ZodOptional<z.ZodNumber>; instruction: z.ZodOptional<z.ZodString> },
  "strict"
> = z
  .object({
    k: z.number().int().positive().describe("Return the best k documents only").optional(),
    instruction: z
      .string()
      .describe("What counts as relevant, for models that take an instruction")
      .optional(),
  })
  .strict();

/** For an error about one of them at another place. */
export const namesOfCall = { name: "ai.rerank", options: ["k"] } as const;

/** Options of a call of `ai.rerank`. */
export type CrossrankRerankerOptions = z.infer<typeof CrossrankRerankerOptionsSchema>;

/** Those of `openReranker`, where the model is named. */
export type DefineRerankerOptions = LazyRerankerOptions;

/** A reranker of Genkit, with the model behind it. */
export interface DefinedReranker extends AsyncDisposable {
  /** What `ai.rerank` takes as `reranker`; its name does as well. */
  readonly action: RerankerAction<typeof CrossrankRerankerOptionsSchema>;
  /** Opens the model now instead of in the first call. */
  load(): Promise<void>;
  /** Frees the model that was opened here; a reranker that was given stays the caller's. */
  dispose(): Promise<void>;
}

/**
 * Defines one reranker without the plugin.
 *
 * @param name by which `ai.rerank` finds it.
 * @param source a reranker, a promise of one, or a model's name as `openReranker` takes it.
 * @throws {InvalidInputError} when an option is unknown, or one of opening stands beside a reranker.
 */
export function defineCrossrankReranker(
  ai: Genkit,
  name: string,
  source: RerankerSource,
  options: DefineRerankerOptions = {},
): DefinedReranker {
  requireAdapterOptions(options, { name: "defineCrossrankReranker", ofCalls: namesOfCall });
  const reranker = lazyReranker(source, options);
  return {
    action: ai.defineReranker({ ...description(name), name }, (query, documents, call) =>
      rerank(reranker, query, documents, call),
    ),
    load: () => reranker.load(),
    dispose: () => reranker.dispose(),
    [Symbol.asyncDispose]: () => reranker.dispose(),
  };
}

/** The action of a reranker, for the plugin to register. */
export function actionOf(
  name: string,
  reranker: LazyReranker,
): RerankerAction<typeof CrossrankRerankerOptionsSchema> {
  return rerankerAction({ ...description(name), name }, (query, documents, call) =>
    rerank(reranker, query, documents, call),
  );
}

interface Description {
  readonly configSchema: typeof CrossrankRerankerOptionsSchema;
  readonly info: { readonly label: string; readonly supports: { readonly media: boolean } };
}

function description(name: string): Description {
  return {
    configSchema: CrossrankRerankerOptionsSchema,
    info: { label: `crossrank: ${name}`, supports: { media: false } },
  };
}

type Ranked = Pick<Document, "content"> & { metadata: Record<string, unknown> & { score: number } };

async function rerank(
  reranker: LazyReranker,
  query: Document,
  documents: readonly Document[],
  options: CrossrankRerankerOptions | undefined,
): Promise<{ documents: Ranked[] }> {
  const { results } = await reranker.rerank({
    query: textOf(query, "query"),
    documents: documents.map((document, index) => textOf(document, `documents[${index}]`)),
    topN: options?.k,
    instruction: options?.instruction,
  });
  return {
    documents: results.map((one) => {
      const { content, metadata } = documents[one.index] as Document;
      return { content, metadata: { ...metadata, score: requireScore(one.index, one) } };
    }),
  };
}

/** @throws {InvalidInputError} when there is media alone: its URL is not what it shows. */
function textOf(document: Document, path: string): string {
  const parts = document.content.flatMap(({ text }) => text ?? []);
  if (parts.length > 0) return parts.join("");
  throw new InvalidInputError(path, "has no text part. Put the text that is to be ranked into its content");
}
