import { Tokenizer } from "@huggingface/tokenizers";
import { ModelProfileError } from "../contract/errors.js";

/** The ids of one text, cut to a limit. */
export interface TokenizedText {
  /** At most the limit asked for. */
  readonly ids: readonly number[];
  /** Tokens beyond the limit. */
  readonly truncatedTokens: number;
  /** True when the text was not read to its end, so that more was cut than `truncatedTokens` says. */
  readonly truncatedTokensIsMinimum: boolean;
  /** True when the part that was read held lone surrogates, now U+FFFD. */
  readonly illFormed: boolean;
}

/** Text → token ids, without template. Special tokens spelled in the text come out as ordinary text. */
export interface TextTokenizer {
  encode(text: string, limit: number): TokenizedText;
  /** Token ids → text, as Rust's tokenizers decode them. */
  decode(ids: readonly number[]): string;
}

/** The parts of tokenizer.json that are read here; everything else is the library's affair. */
interface TokenizerJson {
  readonly added_tokens?: readonly {
    readonly id: number;
    readonly content: string;
    readonly special?: boolean;
  }[];
  readonly model: {
    readonly vocab: Readonly<Record<string, number>> | readonly (readonly [string, number])[];
    readonly unk_token?: string | null;
  };
}

/**
 * Characters read per token kept, at first. A long document is cut before it is tokenised, so that a 10 MB file
 * costs what is kept of it. Sixteen is about four times what prose needs, so that almost every document is still
 * read whole and its truncation counted exactly.
 */
const charactersPerToken = 16;

/**
 * Tokens at the cut that are not trusted: where a text is cut inside a word, its last tokens may differ from those
 * of the whole text. Longer than any piece's reach in practice.
 */
const untrustedTokens = 16;

/**
 * @param tokenizerJson parsed `tokenizer.json`.
 * @param model id, for error messages.
 * @throws {ModelProfileError} when the library does not know a part of the tokenizer.
 */
export function createTextTokenizer(tokenizerJson: unknown, model: string): TextTokenizer {
  let tokenizer: Tokenizer;
  try {
    // Rust's `tokenizers` reads tokenizer.json alone, and so do we: the second argument would let
    // tokenizer_config.json change the ids.
    tokenizer = new Tokenizer(withoutSpecialTokens(tokenizerJson as TokenizerJson), {});
  } catch (cause) {
    throw new ModelProfileError(
      {
        model,
        file: "tokenizer.json",
        problem: `cannot be used (${(cause as Error).message})`,
        fix: "Download it again, or save it anew with a current version of transformers",
      },
      { cause },
    );
  }
  const tokenize = (text: string): readonly number[] =>
    text === "" ? [] : tokenizer.encode(text, { add_special_tokens: false }).ids;

  return {
    decode: (ids) => (ids.length === 0 ? "" : tokenizer.decode([...ids], { skip_special_tokens: false })),

    encode(text, limit) {
      for (let window = Math.max(limit, untrustedTokens) * charactersPerToken; ; window *= 4) {
        const whole = text.length <= window;
        const part = whole ? text : text.slice(0, cutAt(text, window));
        const illFormed = !part.isWellFormed();
        const ids = tokenize(illFormed ? part.toWellFormed() : part);
        const trusted = whole ? ids.length : ids.length - untrustedTokens;
        if (!whole && trusted < limit) continue;
        return {
          ids: ids.slice(0, limit),
          truncatedTokens: Math.max(0, trusted - limit),
          truncatedTokensIsMinimum: !whole,
          illFormed,
        };
      }
    },
  };
}

/** The last whitespace in the second half of the window, else the window itself, never inside a surrogate pair. */
function cutAt(text: string, window: number): number {
  for (let position = window; position > window / 2; position -= 1) {
    if (/\s/.test(text.charAt(position))) return position;
  }
  const previous = text.charCodeAt(window - 1);
  return previous >= 0xd800 && previous <= 0xdbff ? window - 1 : window;
}

/**
 * The same tokenizer, in which no text can become a special token: special entries leave `added_tokens`, which are
 * matched first, and their vocabulary entries get a spelling that well-formed text cannot have, so that a Unigram
 * or BPE model cannot assemble them either. Ids stay. (Rust's `encode_special_tokens` does the first half only.)
 */
function withoutSpecialTokens(json: TokenizerJson): object {
  const special = new Set(json.added_tokens?.filter((token) => token.special).map((token) => token.content));
  const respell = (token: string): string => (special.has(token) ? `\ud800${token}` : token);
  const { vocab, unk_token } = json.model;
  return {
    ...json,
    added_tokens: json.added_tokens?.filter((token) => !token.special) ?? [],
    post_processor: null,
    model: {
      ...json.model,
      vocab: Array.isArray(vocab)
        ? (vocab as [string, number][]).map(([token, score]) => [respell(token), score])
        : Object.fromEntries(Object.entries(vocab).map(([token, id]) => [respell(token), id])),
      ...(typeof unk_token === "string" ? { unk_token: respell(unk_token) } : {}),
    },
  };
}
