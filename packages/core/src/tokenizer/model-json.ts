/** `model` of tokenizer.json, as far as it decides about ids. */
export interface ModelJson {
  readonly type?: string;
  readonly vocab: Readonly<Record<string, number>> | readonly (readonly [string, number])[];
  readonly merges?: readonly (string | readonly [string, string])[];
  readonly unk_token?: string | null;
  readonly unk_id?: number | null;
  readonly continuing_subword_prefix?: string | null;
  readonly end_of_word_suffix?: string | null;
  readonly max_input_chars_per_word?: number;
  readonly fuse_unk?: boolean;
  readonly byte_fallback?: boolean;
  readonly ignore_merges?: boolean;
}

export const modelTypes = ["BPE", "WordPiece", "WordLevel", "Unigram"] as const;
export type ModelType = (typeof modelTypes)[number];

/** Tokens and their ids, in the file's order. */
export interface VocabularyEntries {
  readonly tokens: readonly string[];
  readonly ids: Int32Array;
}

/** A model whose every entry was looked at, with the type that old files leave out. */
export type CheckedModel = ModelJson & {
  readonly type: ModelType;
  /** Of `vocab`, read once, where it is an object: of Unigram's list undefined. */
  readonly entries: VocabularyEntries | undefined;
};
