import * as z from "zod/mini";
import { InvalidInputError } from "../contract/errors.js";
import type { FileRequestOptions, ModelFiles } from "../contract/model-files.js";
import type { TruncationStrategy } from "../contract/model-profile.js";
import { english, explain, ModelReader } from "../files/model-reader.js";

/** What a reference implementation gave for one pair. */
export interface GoldenScore {
  /** Token ids of the sequence (where query and document are read apart: of the document's); `[]` for a query overflow. Undefined where the
   * source published scores alone. */
  readonly ids?: readonly number[] | undefined;
  /** Undefined when all are 0. */
  readonly segmentIds?: readonly number[] | undefined;
  /** Where query and document are read apart: token ids of the query's sequence, a query's expansion included. */
  readonly queryIds?: readonly number[] | undefined;
  /** Document tokens that were cut. */
  readonly truncatedTokens?: number | undefined;
  readonly queryOverflow?: boolean | undefined;
  /** The ranking key; null for a query overflow. Undefined where the source published scores alone. */
  readonly logit?: number | null | undefined;
  /** After the activation. */
  readonly score?: number | null | undefined;
}

export interface GoldenCase {
  readonly name: string;
  readonly query: string;
  readonly document: string;
  readonly instruction?: string | undefined;
  readonly expected: { readonly [Truncation in TruncationStrategy]?: GoldenScore | undefined };
}

/** A query and its documents for a listwise model. */
export interface GoldenList {
  readonly name: string;
  readonly query: string;
  readonly documents: readonly string[];
  /** The sequences, each with the positions of its documents. Empty for a query overflow. */
  readonly sequences: readonly {
    readonly ids: readonly number[];
    readonly documents: readonly number[];
  }[];
  readonly truncatedTokens: readonly number[];
  readonly logits: readonly (number | null)[];
  readonly scores: readonly (number | null)[];
}

/** A model's `golden.json`: what its reference implementation gives for fixed texts. */
export interface Goldens {
  readonly specificationVersion: "1";
  readonly reference: {
    /** The implementation, e.g. `"transformers BertForSequenceClassification"`, or the publication. */
    readonly name: string;
    readonly versions?: Readonly<Record<string, string>> | undefined;
    /** Its arithmetic, e.g. `"float32"`, `"bfloat16"`. */
    readonly dtype: string;
  };
  /** Largest |Δ logit| (or of the scores, where there are only scores) that the reference itself is good to. Default 1e-4. */
  readonly tolerance?: number | undefined;
  readonly cases: readonly GoldenCase[];
  readonly lists?: readonly GoldenList[] | undefined;
}

const ids = z.array(z.int().check(z.nonnegative()));
const number = z.nullable(z.number());

const goldenScore = z.object({
  ids: z.optional(ids),
  segmentIds: z.optional(ids),
  queryIds: z.optional(ids),
  truncatedTokens: z.optional(z.int().check(z.nonnegative())),
  queryOverflow: z.optional(z.boolean()),
  logit: z.optional(number),
  score: z.optional(number),
});

const goldensSchema: z.ZodMiniType<Goldens> = z.object({
  specificationVersion: z.literal("1"),
  reference: z.object({
    name: z.string(),
    versions: z.optional(z.record(z.string(), z.string())),
    dtype: z.string(),
  }),
  tolerance: z.optional(z.number().check(z.positive())),
  cases: z.array(
    z.object({
      name: z.string(),
      query: z.string(),
      document: z.string(),
      instruction: z.optional(z.string()),
      expected: z.object({
        "document-only": z.optional(goldenScore),
        "longest-first": z.optional(goldenScore),
      }),
    }),
  ),
  lists: z.optional(
    z.array(
      z.object({
        name: z.string(),
        query: z.string(),
        documents: z.array(z.string()),
        sequences: z.array(z.object({ ids, documents: ids })),
        truncatedTokens: ids,
        logits: z.array(number),
        scores: z.array(number),
      }),
    ),
  ),
});

/** The caller's goldens, checked and copied: each property was read once. @throws {InvalidInputError} */
export function checkedGoldens(given: unknown): Goldens {
  const parsed = goldensSchema.safeParse(given, english);
  if (parsed.success) return parsed.data;
  throw new InvalidInputError("goldens", `are not valid: ${explain(parsed.error)}`, { cause: parsed.error });
}

/**
 * The model's `golden.json`; undefined when it has none.
 * @throws {ModelProfileError} when it is damaged.
 */
export async function readGoldens(
  files: ModelFiles,
  options: FileRequestOptions = {},
): Promise<Goldens | undefined> {
  return new ModelReader(files, await files.list(options), options.signal).optional(
    "golden.json",
    goldensSchema,
  );
}
