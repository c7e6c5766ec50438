/** A step of tokenizer.json: its `type`, and what goes with it. */
export interface TokenizerStep {
  readonly type: string;
  readonly [setting: string]: unknown;
}

/** An entry of `added_tokens`. */
export interface AddedTokenJson {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** tokenizer.json of Rust's tokenizers, as far as it decides about ids. */
export interface TokenizerJson {
  readonly version: "1.0";
  readonly truncation: null;
  readonly padding: null;
  readonly added_tokens: readonly AddedTokenJson[];
  readonly normalizer: TokenizerStep | null;
  readonly pre_tokenizer: TokenizerStep | null;
  readonly post_processor: TokenizerStep | null;
  readonly decoder: TokenizerStep | null;
  readonly model: TokenizerStep;
}

/** A token in a template: its text and its id. */
export interface TemplateToken {
  readonly content: string;
  readonly id: number;
}

/** A piece of a template: a token, or the sequence A or B; and the segment it counts to. */
export type TemplatePart = readonly [piece: TemplateToken | "A" | "B", segment: 0 | 1];

/** The post-processor `TemplateProcessing`. */
export function templateProcessing(
  single: readonly TemplatePart[],
  pair: readonly TemplatePart[],
): TokenizerStep {
  const special: Record<string, { id: string; ids: number[]; tokens: string[] }> = {};
  const written = (parts: readonly TemplatePart[]): object[] =>
    parts.map(([piece, segment]) => {
      if (typeof piece === "string") return { Sequence: { id: piece, type_id: segment } };
      special[piece.content] = { id: piece.content, ids: [piece.id], tokens: [piece.content] };
      return { SpecialToken: { id: piece.content, type_id: segment } };
    });
  return {
    type: "TemplateProcessing",
    single: written(single),
    pair: written(pair),
    special_tokens: special,
  };
}

/** ▁, which SentencePiece writes for a space. */
export const spaceMark = "\u2581";

export const metaspace = (scheme: "always" | "first" | "never", split = true): TokenizerStep => ({
  type: "Metaspace",
  replacement: spaceMark,
  prepend_scheme: scheme,
  split,
});

export const byteLevel = (addPrefixSpace: boolean, useRegex = true): TokenizerStep => ({
  type: "ByteLevel",
  add_prefix_space: addPrefixSpace,
  trim_offsets: true,
  use_regex: useRegex,
});

export const replace = (
  pattern: { readonly String: string } | { readonly Regex: string },
  content: string,
): TokenizerStep => ({ type: "Replace", pattern, content });

export const bertNormalizer = (settings: {
  readonly lowercase: boolean;
  readonly stripAccents: boolean | null;
  readonly handleChineseChars: boolean;
}): TokenizerStep => ({
  type: "BertNormalizer",
  clean_text: true,
  handle_chinese_chars: settings.handleChineseChars,
  strip_accents: settings.stripAccents,
  lowercase: settings.lowercase,
});

/** The ways back from tokens to text; those of byte-level BPE and Unigram are `byteLevel` and `metaspace` themselves. */
export const wordPieceDecoder: TokenizerStep = { type: "WordPiece", prefix: "##", cleanup: true };

export const sentencePieceDecoder = (stripsFirstSpace: boolean): TokenizerStep => ({
  type: "Sequence",
  decoders: [
    replace({ String: spaceMark }, " "),
    { type: "ByteFallback" },
    { type: "Fuse" },
    ...(stripsFirstSpace ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
  ],
});
