import { z } from "@hono/zod-openapi";

/** Where a null stands for a key that is not there. */
const whole = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const part = z.object({
  type: z.string().optional(),
  text: z.string().optional(),
});
const content = z.union([z.string(), z.array(part)]);

/** A text as Cohere, Jina, Together and Dify write it. */
export const documentSchema: z.ZodType = z
  .union([
    z.string(),
    z.object({ text: z.string() }),
    z.object({ content }),
    z.record(z.string(), z.unknown()),
  ])
  .openapi("Document", {
    description:
      "A text; or an object with `text` or `content`; or one of whose fields `rank_fields` names those to read.",
  });

const longDocuments = z
  .union([
    z.enum(["truncate", "chunk"]),
    z
      .object({
        aggregate: z.enum(["max", "mean-of-top", "first"]).optional(),
        top: whole.optional(),
        passage_tokens: whole.optional(),
        overlap_tokens: whole.optional(),
        max_passages: whole.optional(),
      })
      .strict(),
  ])
  .openapi("LongDocuments", {
    description:
      "What is done with documents that are longer than the model: cut, or scored passage by passage with these settings.",
  });

/** What several dialects share. A null is as if the key were not there, and other keys are not read. */
const common = {
  model: z.string().max(1024).optional().openapi({
    description: "One of /v1/models. Any name will do where there is one model. Default: the first.",
  }),
  instruction: z.string().optional().openapi({
    description: "What counts as relevant, for models that take an instruction.",
  }),
  raw_scores: z.boolean().optional().openapi({
    description: "Give logits, or cosines, instead of numbers from 0 to 1.",
  }),
  use_activation: z.boolean().optional().openapi({ description: "vLLM's: false is `raw_scores`." }),
  time_budget_ms: whole.min(1).optional().openapi({
    description: "Milliseconds after which the request is answered with 503, or as `when_exceeded` says.",
  }),
  long_documents: longDocuments.optional(),
  max_chunks_per_doc: whole.optional().openapi({
    description: "Cohere's: most passages of a document, where long documents are scored by passages.",
  }),
  max_tokens_per_doc: whole.optional(),
  truncate_prompt_tokens: z.number().int().min(-1).optional(),
  truncation: z
    .boolean()
    .optional()
    .openapi({ description: "False refuses what is too long for the model." }),
  truncate: z.boolean().optional().openapi({ description: "TEI's name for `truncation`." }),
  truncation_direction: z.enum(["Right", "right", "Left", "left"]).optional(),
};

export const rerankSchema: z.ZodObject = z
  .object({
    ...common,
    query: z.union([z.string(), z.object({ text: z.string() })]).optional(),
    documents: z.array(documentSchema).optional(),
    texts: z.array(documentSchema).optional().openapi({ description: "TEI's name for `documents`." }),
    top_n: whole.optional().openapi({ description: "Best n only; 0 or nothing gives all." }),
    top_k: whole.optional().openapi({ description: "Voyage's name for `top_n`." }),
    rank_fields: z.array(z.string()).max(64).optional(),
    return_documents: z.boolean().optional(),
    return_text: z.boolean().optional().openapi({ description: "TEI's name for `return_documents`." }),
    return_details: z.boolean().optional().openapi({
      description: "Give the logit, the tokens and what was cut of each document.",
    }),
    relevant_spans: z
      .object({
        mode: z.enum(["enabled", "disabled"]).optional(),
        threshold: z.number().min(0).max(1).optional(),
        max_spans: whole.optional(),
      })
      .optional()
      .openapi({
        description:
          "Cohere's: scores long documents by passages, and gives those whose score is not below the threshold (0.1), the best first.",
      }),
    when_exceeded: z.enum(["error", "partial", "passthrough"]).optional().openapi({
      description:
        "What to answer when the time is over. The last two give null scores; the superset's dialects only.",
    }),
  })
  .openapi("RerankRequest");

const side = z.union([z.string(), z.array(documentSchema)]).optional();

export const scoreSchema: z.ZodObject = z
  .object({
    ...common,
    text_1: side,
    text_2: side,
    data_1: side,
    data_2: side,
    queries: side,
    documents: side,
    items: side,
  })
  .openapi("ScoreRequest", { description: "One text and many, or as many of one as of the other." });

const usage = z.object({ prompt_tokens: z.number(), total_tokens: z.number() });
const index = z.number().int().openapi({ description: "Position in the request." });
const score = z.number().openapi({ description: "0 to 1, unless the request has `raw_scores`." });

export const rerankAnswerSchema: z.ZodObject = z
  .object({
    id: z.string(),
    object: z.literal("list"),
    model: z.string(),
    results: z.array(
      z.object({
        index,
        relevance_score: score.nullable().openapi({
          description: "Null only where the request has `when_exceeded`.",
        }),
        document: z.object({ text: z.string() }).optional(),
        logit: z.number().nullable().optional(),
        tokens: z.number().optional(),
        stage: z.number().nullable().optional(),
        truncated_tokens: z.number().optional(),
        truncated_tokens_is_minimum: z.literal(true).optional(),
        relevant_spans: z
          .array(
            z.object({
              start: z.number().int().openapi({ description: "In Unicode code points." }),
              end: z.number().int(),
              score,
            }),
          )
          .optional()
          .openapi({ description: "Only where the request asks for them." }),
      }),
    ),
    usage,
    meta: z.object({
      api_version: z.object({ version: z.string() }),
      billed_units: z.object({ search_units: z.number() }),
    }),
    scale: z.enum(["probability", "mapped-cosine", "logit", "cosine"]),
    status: z.enum(["reranked", "partial", "passthrough"]),
    warnings: z.array(z.object({ code: z.string(), message: z.string() })),
  })
  .openapi("RerankAnswer");

export const voyageAnswerSchema: z.ZodObject = z
  .object({
    object: z.literal("list"),
    data: z.array(z.object({ index, relevance_score: score, document: z.string().optional() })),
    model: z.string(),
    usage: z.object({ total_tokens: z.number() }),
  })
  .openapi("VoyageAnswer");

export const teiAnswerSchema: z.ZodArray = z
  .array(z.object({ index, score, text: z.string().optional() }))
  .openapi("TeiAnswer");

export const scoreAnswerSchema: z.ZodObject = z
  .object({
    id: z.string(),
    object: z.literal("list"),
    created: z.number(),
    model: z.string(),
    data: z.array(z.object({ index, object: z.literal("score"), score })),
    usage,
  })
  .openapi("ScoreAnswer");

export const refusalSchema: z.ZodObject = z
  .object({
    error: z.object({ message: z.string(), type: z.string(), code: z.number() }),
    message: z.string(),
    detail: z.string(),
  })
  .openapi("Refusal", {
    description: "TEI's dialect has `error` as a text and `error_type`; Voyage's has `detail` alone.",
  });
