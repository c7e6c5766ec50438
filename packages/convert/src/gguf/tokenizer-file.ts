import { type FileRequestOptions, type ModelFiles, ModelProfileError } from "@crossrank/core";
import * as z from "zod/mini";

const id = z.int().check(z.nonnegative());
const merge = z.union([z.string(), z.tuple([z.string(), z.string()])]);
const node = z.record(z.string(), z.unknown());

/** The parts of tokenizer.json (huggingface/tokenizers) that a vocabulary is made of. */
interface TokenizerParts {
  readonly added_tokens: readonly {
    readonly id: number;
    readonly content: string;
    readonly special: boolean;
  }[];
  readonly normalizer?: unknown;
  readonly pre_tokenizer?: unknown;
  readonly model: TokenizerModel;
}

/** Vocabularies give ids by spelling; Unigram's gives spellings and scores in the order of their ids. */
export type TokenizerModel =
  | {
      readonly type: "WordPiece";
      readonly vocab: Readonly<Record<string, number>>;
      readonly unk_token: string;
      readonly continuing_subword_prefix: string;
    }
  | {
      readonly type: "Unigram";
      readonly vocab: readonly (readonly [string, number])[];
      readonly unk_id?: number | null | undefined;
      readonly byte_fallback: boolean;
    }
  | {
      readonly type: "BPE";
      readonly vocab: Readonly<Record<string, number>>;
      /** Best first; as one string, the two parts have a space between them. */
      readonly merges: readonly (string | readonly [string, string])[];
      readonly unk_token?: string | null | undefined;
      readonly byte_fallback: boolean;
    };

const schema: z.ZodMiniType<TokenizerParts> = z.object({
  added_tokens: z._default(
    z.array(z.object({ id, content: z.string(), special: z._default(z.boolean(), false) })),
    [],
  ),
  normalizer: z.unknown(),
  pre_tokenizer: z.unknown(),
  model: z.union([
    z.object({
      type: z.literal("WordPiece"),
      vocab: z.record(z.string(), id),
      unk_token: z._default(z.string(), "[UNK]"),
      continuing_subword_prefix: z._default(z.string(), "##"),
    }),
    z.object({
      type: z.literal("Unigram"),
      vocab: z.array(z.tuple([z.string(), z.number()])),
      unk_id: z.nullish(id),
      byte_fallback: z._default(z.boolean(), false),
    }),
    z.object({
      type: z.literal("BPE"),
      vocab: z.record(z.string(), id),
      merges: z.array(merge),
      unk_token: z.nullish(z.string()),
      byte_fallback: z._default(z.boolean(), false),
    }),
  ]),
});

export interface TokenizerFile extends TokenizerParts {
  /** As the file stands, for its hash. */
  readonly bytes: Uint8Array;
  /** Normalizers and pre-tokenizers of every depth, by type, the first of each. */
  readonly steps: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
}

/**
 * @throws {ModelFileNotFoundError} when there is no tokenizer.json.
 * @throws {ModelProfileError} when it cannot be read, or holds a kind of tokenizer that llama.cpp has not.
 */
export async function readTokenizerFile(
  files: ModelFiles,
  options: FileRequestOptions = {},
): Promise<TokenizerFile> {
  const size = (await files.list(options)).find(({ path }) => path === "tokenizer.json")?.size;
  const bytes = await files.readBytes("tokenizer.json", { start: 0, end: size ?? 0 }, options);
  try {
    const parsed = schema.parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    const steps = new Map<string, Record<string, unknown>>();
    collectSteps([parsed.normalizer, parsed.pre_tokenizer], steps);
    return { ...parsed, bytes, steps };
  } catch (cause) {
    throw new ModelProfileError(
      {
        model: files.id,
        file: "tokenizer.json",
        problem: "cannot be read as a WordPiece, Unigram or BPE tokenizer",
        fix: "Save the tokenizer anew with a recent version of transformers",
      },
      { cause },
    );
  }
}

function collectSteps(parts: readonly unknown[], into: Map<string, Record<string, unknown>>): void {
  for (const part of parts) {
    const step = node.safeParse(part).data;
    const type = step?.["type"];
    if (step === undefined || typeof type !== "string") continue;
    if (!into.has(type)) into.set(type, step);
    for (const list of ["normalizers", "pretokenizers"]) {
      const inner = step[list];
      if (Array.isArray(inner)) collectSteps(inner, into);
    }
  }
}
