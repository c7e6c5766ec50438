import * as z from "zod/mini";
import { positionCount } from "./ranges.js";

/** What a late-interaction model's files say of its sequences, in words. */
export interface LateFacts {
  /** Spelling of the token that marks a query; `""` for none. */
  readonly queryMarker: string;
  readonly documentMarker: string;
  readonly queryLength: number;
  readonly documentLength: number;
  readonly expands: boolean;
  readonly attends: boolean;
  readonly skippedWords: readonly string[];
  /** The file that says it. */
  readonly file: string;
}

/** Python's `string.punctuation`. */
export const punctuation: readonly string[] = [..."!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"];

export const word: z.ZodMiniString = z.string().check(z.maxLength(1000));

/** The entries of config_sentence_transformers.json that PyLate writes. */
export interface LateSettings {
  similarity_fn_name?: string | null | undefined;
  query_prefix?: string | null | undefined;
  document_prefix?: string | null | undefined;
  query_length?: number | null | undefined;
  document_length?: number | null | undefined;
  do_query_expansion?: boolean | null | undefined;
  attend_to_expansion_tokens?: boolean | null | undefined;
  skiplist_words?: string[] | null | undefined;
}

export const lateSettingsShape: {
  readonly [Name in keyof LateSettings]-?: z.ZodMiniType<LateSettings[Name]>;
} = {
  similarity_fn_name: z.nullish(z.string()),
  query_prefix: z.nullish(word),
  document_prefix: z.nullish(word),
  query_length: z.nullish(positionCount),
  document_length: z.nullish(positionCount),
  do_query_expansion: z.nullish(z.boolean()),
  attend_to_expansion_tokens: z.nullish(z.boolean()),
  skiplist_words: z.nullish(z.array(word).check(z.maxLength(1000))),
};

/** Whether sentence-transformers' files are those of PyLate. */
export function isLate(moduleTypes: readonly string[], settings: LateSettings): boolean {
  return (
    moduleTypes.some((type) => type.startsWith("pylate.")) ||
    settings.similarity_fn_name?.toLowerCase() === "maxsim" ||
    "do_query_expansion" in settings ||
    "skiplist_words" in settings
  );
}

/** With PyLate's own defaults (1.6.0, `ColBERT.__init__`) for what is left out. */
export function lateFactsOf(settings: LateSettings): LateFacts {
  const expands = settings.do_query_expansion ?? true;
  return {
    queryMarker: settings.query_prefix ?? "[Q] ",
    documentMarker: settings.document_prefix ?? "[D] ",
    queryLength: settings.query_length ?? 32,
    documentLength: settings.document_length ?? 180,
    expands,
    attends: expands && (settings.attend_to_expansion_tokens ?? false),
    skippedWords: settings.skiplist_words ?? punctuation,
    file: "config_sentence_transformers.json",
  };
}

/** The file of a checkpoint that the original ColBERT wrote. */
export const artifactMetadata = "artifact.metadata";
