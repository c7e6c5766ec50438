import * as z from "zod/mini";
import { calibrationSchema } from "../calibration/schema.js";
import type { CrossrankJson } from "../contract/model-profile.js";
import { fewKinds, mostPieces, positionCount, segment, tokenCount, tokenId, wording } from "./ranges.js";

const templatePiece = z.union([
  z.strictObject({ token: z.string(), id: tokenId, segment }),
  z.strictObject({
    text: z.enum(["query", "document", "instruction"]),
    segment,
    trim: z.optional(z.boolean()),
  }),
  z.strictObject({ literal: wording, segment }),
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
    residualWeight: z.optional(z.string()),
  }),
  z.strictObject({
    kind: z.literal("layer-norm"),
    file: z.string(),
    weight: z.string(),
    bias: z.optional(z.string()),
    epsilon: z.number().check(z.positive(), z.lte(1)),
  }),
  z.strictObject({ kind: z.literal("normalize") }),
]);

const modules = z.array(headModule).check(z.maxLength(100));

const template = z.array(templatePiece).check(z.maxLength(mostPieces));

/** Classes of a classifier; those of models for inference have three. */
const mostLabels = 1000;

const labelName = z.string().check(z.minLength(1), z.maxLength(200));

const pooling = z.enum(["cls", "mean", "last-token"]);

const head = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("logit") }),
  z.strictObject({ kind: z.literal("two-class"), positive: z.union([segment, labelName]) }),
  z.strictObject({
    kind: z.literal("class"),
    positive: z.union([z.int().check(z.gte(0), z.lt(mostLabels)), labelName]),
    classes: z.optional(z.int().check(z.gte(2), z.lte(mostLabels))),
  }),
  z.strictObject({ kind: z.literal("pooled-chain"), pooling, modules }),
  z.strictObject({
    kind: z.literal("answer-tokens"),
    positive: tokenId,
    negative: z.optional(tokenId),
    temperature: z.optional(z.number().check(z.gte(1e-6), z.lte(1e6))),
  }),
  z.strictObject({ kind: z.literal("cosine"), pooling, modules: z.optional(modules) }),
  z.strictObject({
    kind: z.literal("marker-cosine"),
    query: tokenId,
    document: tokenId,
    modules: z.optional(modules),
  }),
  z.strictObject({ kind: z.literal("max-sim"), modules: z.optional(modules) }),
]);

/** Checks a `crossrank.json`. The types and their meaning are in `contract/model-profile.ts`. */
export const crossrankJsonSchema: z.ZodMiniType<CrossrankJson> = z.partial(
  z.strictObject({
    $schema: z.string(),
    specificationVersion: z.literal("1"),
    family: z.enum(["cross-encoder", "bi-encoder", "causal-lm", "listwise", "late-interaction"]),
    architecture: z.string(),
    pairTemplate: template,
    instructedTemplate: template,
    instruction: wording,
    singleTemplate: template,
    listTemplate: z.strictObject({
      before: template,
      item: template,
      separator: template,
      after: template,
      maxDocuments: positionCount,
      maxDocumentTokens: positionCount,
      maxQueryTokens: positionCount,
    }),
    lateTemplate: z.strictObject({
      query: template,
      document: template,
      maxQueryTokens: positionCount,
      maxDocumentTokens: positionCount,
      expansion: z.optional(z.strictObject({ token: tokenId, attended: z.boolean() })),
      skipped: z.array(tokenId).check(z.maxLength(mostPieces)),
    }),
    readsSegments: z.boolean(),
    maxLength: positionCount,
    truncation: z.enum(["document-only", "longest-first"]),
    paddingId: tokenId,
    head,
    activation: z.enum(["identity", "sigmoid", "tanh"]),
    calibration: calibrationSchema,
    queryPrefix: wording,
    documentPrefix: wording,
    defaultDtype: z.string(),
    expectations: z.strictObject({
      tolerance: z.number().check(z.positive(), z.lte(1000)),
      pairs: z
        .array(z.strictObject({ query: z.string(), document: z.string(), logit: z.number() }))
        .check(z.minLength(1), z.maxLength(10_000)),
    }),
  }),
);

/** The entries of config.json that are read. */
export const configSchema: z.ZodMiniType<Config> = z.object({
  architectures: z.nullish(z.array(z.string())),
  model_type: z.nullish(z.string()),
  tokenizer_class: z.nullish(z.string()),
  id2label: z.nullish(z.record(z.string(), z.string())),
  label2id: z.optional(z.unknown()),
  num_labels: z.nullish(fewKinds),
  max_position_embeddings: z.nullish(positionCount),
  local_attention: z.nullish(positionCount),
  type_vocab_size: z.nullish(fewKinds),
  // −1 is transformers' old way to say that there is none.
  pad_token_id: z.nullish(z.union([tokenId, z.literal(-1)])),
  vocab_size: z.nullish(tokenCount),
  sentence_transformers: z.nullish(z.object({ activation_fn: z.nullish(z.string()) })),
  sbert_ce_default_activation_function: z.nullish(z.string()),
  _name_or_path: z.optional(z.unknown()),
});

export interface Config {
  architectures?: string[] | null | undefined;
  model_type?: string | null | undefined;
  tokenizer_class?: string | null | undefined;
  id2label?: Record<string, string> | null | undefined;
  label2id?: unknown;
  num_labels?: number | null | undefined;
  max_position_embeddings?: number | null | undefined;
  local_attention?: number | null | undefined;
  type_vocab_size?: number | null | undefined;
  pad_token_id?: number | null | undefined;
  vocab_size?: number | null | undefined;
  sentence_transformers?: { activation_fn?: string | null | undefined } | null | undefined;
  sbert_ce_default_activation_function?: string | null | undefined;
  _name_or_path?: unknown;
}
