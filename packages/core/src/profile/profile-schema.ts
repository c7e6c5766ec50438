import * as z from "zod/mini";
import type { CrossrankJson } from "../contract/model-profile.js";

const segment = z.union([z.literal(0), z.literal(1)]);

const tokenId = z.int().check(z.nonnegative());

const templatePiece = z.union([
  z.strictObject({ token: z.string(), id: tokenId, segment }),
  z.strictObject({
    text: z.enum(["query", "document", "instruction"]),
    segment,
    trim: z.optional(z.boolean()),
  }),
  z.strictObject({ literal: z.string(), segment }),
  z.strictObject({ split: z.literal(true) }),
]);

const headModule = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("dense"),
    file: z.string(),
    weight: z.string(),
    bias: z.optional(z.string()),
    activation: z.enum(["identity", "tanh", "relu", "gelu", "silu", "sigmoid"]),
    residual: z.optional(z.boolean()),
  }),
  z.strictObject({
    kind: z.literal("layer-norm"),
    file: z.string(),
    weight: z.string(),
    bias: z.optional(z.string()),
    epsilon: z.number(),
  }),
  z.strictObject({ kind: z.literal("normalize") }),
]);

const pooling = z.enum(["cls", "mean", "last-token"]);

const head = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("logit") }),
  z.strictObject({ kind: z.literal("two-class"), positive: segment }),
  z.strictObject({ kind: z.literal("pooled-chain"), pooling, modules: z.array(headModule) }),
  z.strictObject({
    kind: z.literal("answer-tokens"),
    positive: tokenId,
    negative: z.optional(tokenId),
    temperature: z.optional(z.number().check(z.positive())),
  }),
  z.strictObject({ kind: z.literal("cosine"), pooling, modules: z.optional(z.array(headModule)) }),
  z.strictObject({
    kind: z.literal("marker-cosine"),
    query: tokenId,
    document: tokenId,
    modules: z.optional(z.array(headModule)),
  }),
]);

/** Checks a `crossrank.json`. The types and their meaning are in `contract/model-profile.ts`. */
export const crossrankJsonSchema: z.ZodMiniType<CrossrankJson> = z.partial(
  z.strictObject({
    $schema: z.string(),
    specificationVersion: z.literal("1"),
    family: z.enum(["cross-encoder", "bi-encoder", "causal-lm", "listwise"]),
    architecture: z.string(),
    pairTemplate: z.array(templatePiece),
    instructedTemplate: z.array(templatePiece),
    instruction: z.string(),
    singleTemplate: z.array(templatePiece),
    listTemplate: z.strictObject({
      before: z.array(templatePiece),
      item: z.array(templatePiece),
      separator: z.array(templatePiece),
      after: z.array(templatePiece),
      maxDocuments: z.int().check(z.positive()),
      maxDocumentTokens: z.int().check(z.positive()),
      maxQueryTokens: z.int().check(z.positive()),
    }),
    readsSegments: z.boolean(),
    maxLength: z.int().check(z.positive()),
    truncation: z.enum(["document-only", "longest-first"]),
    paddingId: z.int().check(z.nonnegative()),
    head,
    activation: z.enum(["identity", "sigmoid"]),
    queryPrefix: z.string(),
    documentPrefix: z.string(),
    defaultDtype: z.string(),
    expectations: z.strictObject({
      tolerance: z.number().check(z.positive()),
      pairs: z
        .array(z.strictObject({ query: z.string(), document: z.string(), logit: z.number() }))
        .check(z.minLength(1)),
    }),
  }),
);

/** The entries of config.json that are read. */
export const configSchema: z.ZodMiniType<Config> = z.object({
  architectures: z.nullish(z.array(z.string())),
  model_type: z.nullish(z.string()),
  id2label: z.nullish(z.record(z.string(), z.string())),
  num_labels: z.nullish(z.int()),
  max_position_embeddings: z.nullish(z.int()),
  type_vocab_size: z.nullish(z.int()),
  pad_token_id: z.nullish(z.int()),
  sentence_transformers: z.nullish(z.object({ activation_fn: z.nullish(z.string()) })),
  sbert_ce_default_activation_function: z.nullish(z.string()),
});

export interface Config {
  architectures?: string[] | null | undefined;
  model_type?: string | null | undefined;
  id2label?: Record<string, string> | null | undefined;
  num_labels?: number | null | undefined;
  max_position_embeddings?: number | null | undefined;
  type_vocab_size?: number | null | undefined;
  pad_token_id?: number | null | undefined;
  sentence_transformers?: { activation_fn?: string | null | undefined } | null | undefined;
  sbert_ce_default_activation_function?: string | null | undefined;
}
