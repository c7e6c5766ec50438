import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import {
  CrossrankError,
  InvalidInputError,
  type LazyRerankerOptions,
  lazyReranker,
  type RerankerSource,
  requireAdapterOptions,
} from "crossrank";
import { z } from "zod";
import { defaultLimits } from "./limits.js";
import { version } from "./version.js";

/** Those of `openReranker`, where the model is named, and: */
export type RerankServerOptions = LazyRerankerOptions & {
  /** Most documents of a call. Default 1000. */
  readonly maxDocuments?: number | undefined;
  /** Most characters of a call's query and documents together. Default 2,000,000. */
  readonly maxCharacters?: number | undefined;
};

export interface RerankServer extends AsyncDisposable {
  /** To be connected to a transport. */
  readonly server: McpServer;
  /** Opens the model now instead of in the first call. */
  load(): Promise<void>;
  /** Closes the server, and frees the model that was opened here; a reranker that was given stays the caller's. */
  dispose(): Promise<void>;
}

const description =
  "Orders texts by how well they answer a query, best first, with a reranking model (a cross-encoder) that runs on this machine. " +
  "Use it to choose among search results, notes or passages before reading them. " +
  "Each result has the position of its text in `documents`, from 0, and a score. " +
  "Scores order the texts of one query; they are null where a text could not be scored.";

/**
 * A server of the Model Context Protocol with one tool, `rerank`.
 *
 * @param source a reranker, a promise of one, or a model's name as `openReranker` takes it.
 * @throws {InvalidInputError} when a limit is wrong, an option is unknown, or one of opening stands beside a reranker.
 */
export function createRerankServer(source: RerankerSource, options: RerankServerOptions = {}): RerankServer {
  requireAdapterOptions(options, {
    name: "createRerankServer",
    own: { maxDocuments: true, maxCharacters: true },
  });
  const {
    maxDocuments = defaultLimits.maxDocuments,
    maxCharacters = defaultLimits.maxCharacters,
    ...opening
  } = options;
  for (const [name, limit] of Object.entries({ maxDocuments, maxCharacters })) {
    if (!(Number.isSafeInteger(limit) && limit > 0)) {
      throw new InvalidInputError(name, `must be a whole number above 0, not ${limit}`);
    }
  }
  const reranker = lazyReranker(source, opening);
  const server = new McpServer({ name: "crossrank", title: "crossrank", version });
  server.registerTool(
    "rerank",
    {
      title: "Rerank",
      description,
      inputSchema: inputSchema(maxDocuments, maxCharacters),
      outputSchema,
      annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
    },
    async ({ query, documents, topN, instruction, returnDocuments }, { signal }) => {
      try {
        const characters = documents.reduce((sum, text) => sum + text.length, query.length);
        if (characters > maxCharacters) {
          throw new InvalidInputError(
            "documents",
            `and query have ${characters} characters, and a call takes ${maxCharacters}. Send fewer or shorter texts`,
          );
        }
        const result = await reranker.rerank({ query, documents, topN, instruction, signal });
        const structuredContent: z.infer<typeof outputSchema> = {
          results: result.results.map(({ index, score }) => ({
            index,
            score,
            ...(returnDocuments === true ? { document: documents[index] } : {}),
          })),
          status: result.status,
          scale: result.scale,
          model: result.model?.id ?? null,
          backend: result.backend?.name ?? null,
          warnings: result.warnings.map(({ message }) => message),
        };
        return { content: [{ type: "text", text: JSON.stringify(structuredContent) }], structuredContent };
      } catch (error) {
        // An agent can mend its arguments, and reads why the model is not there.
        if (!(error instanceof Error)) throw error;
        const code = CrossrankError.isInstance(error) ? `${error.code}: ` : "";
        return { content: [{ type: "text", text: `${code}${error.message}` }], isError: true };
      }
    },
  );
  const dispose = async (): Promise<void> => {
    await server.close();
    await reranker.dispose();
  };
  return { server, load: () => reranker.load(), dispose, [Symbol.asyncDispose]: dispose };
}

interface Input {
  readonly query: string;
  readonly documents: string[];
  readonly topN?: number | undefined;
  readonly instruction?: string | undefined;
  readonly returnDocuments?: boolean | undefined;
}

// Strict: a misspelt argument that is left aside would be a wish that is not met.
function inputSchema(maxDocuments: number, maxCharacters: number): z.ZodType<Input, Input> {
  return z.strictObject({
    query: z.string().min(1).max(maxCharacters).describe("What is looked for, e.g. a question"),
    documents: z
      .array(z.string().max(maxCharacters))
      .max(maxDocuments)
      .describe(`The texts to order; with the query at most ${maxCharacters} characters`),
    topN: z.int().positive().optional().describe("Return the best n only. Default: all"),
    instruction: z
      .string()
      .optional()
      .describe("What counts as relevant, for models that take an instruction; others refuse it"),
    returnDocuments: z.boolean().optional().describe("Put the texts into the results. Default false"),
  });
}

const outputSchema = z.object({
  results: z
    .array(
      z.object({
        index: z.int().nonnegative().describe("Position in documents, from 0"),
        score: z.number().nullable().describe("Null where the text was not scored"),
        document: z.string().optional(),
      }),
    )
    .describe("Best first"),
  status: z.enum(["reranked", "partial", "passthrough"]),
  scale: z
    .string()
    .nullable()
    .describe("What a score is: logit (unbounded), probability (0 to 1), cosine or tanh (-1 to 1)"),
  model: z.string().nullable(),
  backend: z.string().nullable(),
  warnings: z.array(z.string()),
});
