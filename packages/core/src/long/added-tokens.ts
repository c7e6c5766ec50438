import type { AddedTokenJson } from "../tokenizer/added-tokens.js";
import { createNormalizer } from "../tokenizer/normalizer.js";
import { type IsInsideToken, longestToken } from "./cuts.js";

/**
 * Whether a cut would take an added token apart. Special tokens are ordinary text to a reranker, and may be cut.
 *
 * @param tokenizerJson a tokenizer.json that was checked.
 */
export function insideAddedToken(tokenizerJson: unknown): IsInsideToken {
  const { added_tokens: added = [], normalizer } = tokenizerJson as {
    readonly added_tokens?: readonly AddedTokenJson[];
    readonly normalizer?: unknown;
  };
  const visible = added.filter(({ special, content }) => special !== true && content.length <= longestToken);
  if (visible.length === 0) return () => false;
  const normalize = createNormalizer(normalizer);
  const asWritten = spellings(visible.filter(({ normalized }) => normalized !== true));
  const asNormalized = spellings(
    visible
      .filter(({ normalized }) => normalized === true)
      .map((token) => ({ ...token, content: normalize(token.content) })),
  );
  return (text, position) => {
    if (asWritten.isAcross(around(text, position, asWritten.longest))) return true;
    if (asNormalized.longest < 2) return false;
    const [before, after] = around(text, position, asNormalized.longest * 2);
    return asNormalized.isAcross([normalize(before), normalize(after)]);
  };
}

/** The text on both sides of a cut. */
type Sides = readonly [before: string, after: string];

function around(text: string, position: number, length: number): Sides {
  return [text.slice(Math.max(0, position - length), position), text.slice(position, position + length)];
}

function spellings(tokens: readonly AddedTokenJson[]): {
  readonly longest: number;
  readonly isAcross: (sides: Sides) => boolean;
} {
  const all = new Set(tokens.map(({ content }) => content).filter((content) => content.length > 1));
  const lengths = [...new Set([...all].map(({ length }) => length))];
  return {
    longest: Math.max(0, ...lengths),
    isAcross([before, after]) {
      const both = before + after;
      // Each way in which a token could lie across: the set answers at once, however many tokens there are.
      return lengths.some((length) => {
        const first = Math.max(0, before.length - length + 1);
        const last = Math.min(before.length - 1, both.length - length);
        for (let start = first; start <= last; start += 1) {
          if (all.has(both.slice(start, start + length))) return true;
        }
        return false;
      });
    },
  };
}
