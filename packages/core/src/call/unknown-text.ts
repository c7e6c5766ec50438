import type { TextTokenizer } from "../tokenizer/tokenizer.js";

/** How much of a text a tokenizer does not know, 0 to 1. */
export interface UnknownShare {
  /** Of its tokens. */
  readonly tokens: number;
  /** Of its letters and digits; those that give no token at all are unknown too. */
  readonly letters: number;
}

/** UTF-16 code units and words of a text that are looked at: what a text is written in shows early. */
const sample = 512;
const mostWords = 32;

/** Letters of scripts that few vocabularies have. */
const rare = ["𓀀", "𒀀", "ꙮ", "𐤀"];

const word = /[\p{L}\p{N}][\p{L}\p{M}\p{N}]*/gu;

/** Looks at texts that a tokenizer may not know. */
export interface UnknownTextMeter {
  /** Undefined where most of the text is known. */
  shareOf(text: string): UnknownShare | undefined;
}

/**
 * Undefined for a tokenizer that has tokens for every text, e.g. of bytes.
 *
 * @param tokenizerJson a tokenizer.json that was checked.
 */
export function createUnknownTextMeter(
  tokenizer: TextTokenizer,
  tokenizerJson: unknown,
): UnknownTextMeter | undefined {
  const unknown = unknownIdOf(tokenizerJson);
  const encode = (text: string): readonly number[] => {
    try {
      return tokenizer.encode(text, sample).ids;
    } catch {
      // The call itself says what is wrong with the tokenizer.
      return [];
    }
  };
  const isUnknown = (id: number): boolean => id === unknown;
  const probes = rare.map(encode);
  const drops = probes.some((ids) => ids.length === 0);
  if (!drops && !probes.some((ids) => ids.some(isUnknown))) return undefined;
  const knowsAscii = !encode("the quick brown fox jumps over a lazy dog").some(isUnknown);
  return {
    shareOf(text) {
      const part = text.slice(0, sample).toWellFormed();
      if (knowsAscii && isMostlyAscii(part)) return undefined;
      const ids = encode(part);
      const tokens = ids.length === 0 ? 1 : ids.filter(isUnknown).length / ids.length;
      if (tokens === 0 && !drops) return undefined;
      let letters = 0;
      let lost = 0;
      for (const one of (part.match(word) ?? []).slice(0, mostWords)) {
        const own = encode(one);
        letters += one.length;
        lost += one.length * (own.length === 0 ? 1 : own.filter(isUnknown).length / own.length);
      }
      // A text without any letter, of pictures or signs, is told by its tokens.
      if (letters === 0) return part.trim() !== "" && tokens > 0.5 ? { tokens, letters: 0 } : undefined;
      return lost / letters > 0.5 ? { tokens, letters: lost / letters } : undefined;
    },
  };
}

/** Of the token that stands for what is not in the vocabulary. */
function unknownIdOf(tokenizerJson: unknown): number | undefined {
  const { model, added_tokens: added = [] } = tokenizerJson as {
    readonly model: {
      readonly unk_id?: number | null;
      readonly unk_token?: string | null;
      readonly vocab: Readonly<Record<string, number>> | readonly (readonly [string, number])[];
    };
    readonly added_tokens?: readonly { readonly id: number; readonly content: string }[];
  };
  if (typeof model.unk_id === "number") return model.unk_id;
  const { unk_token: token, vocab } = model;
  if (typeof token !== "string") return undefined;
  const named = added.find(({ content }) => content === token)?.id;
  if (named !== undefined) return named;
  return !Array.isArray(vocab) && Object.hasOwn(vocab, token)
    ? (vocab as Readonly<Record<string, number>>)[token]
    : undefined;
}

function isMostlyAscii(text: string): boolean {
  let other = 0;
  for (let index = 0; index < text.length; index += 1) if (text.charCodeAt(index) > 0x7f) other += 1;
  return other * 4 <= text.length;
}
