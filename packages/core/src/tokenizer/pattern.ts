import * as library from "@huggingface/tokenizers";
import { asSeenByRegex } from "./unicode.js";

// Exported, but lost in the package's own types, whose paths lack the endings that ESM asks for. One property access,
// so that a bundler takes this class only.
const SplitPreTokenizer = (library as unknown as { SplitPreTokenizer: SplitConstructor }).SplitPreTokenizer;
type SplitConstructor = new (config: object) => { readonly pattern: unknown };

/** Consecutive spans of a text: where each ends, and whether it is a match or lies between matches. */
export interface Spans {
  readonly ends: number[];
  readonly matches: boolean[];
}

/** Finds a pattern in a text. The spans cover the text. */
export type Pattern = (text: string) => Spans;

/** A `pattern` of tokenizer.json: `{ String }` or `{ Regex }`, in Oniguruma's syntax. */
export function createPattern(json: unknown): Pattern {
  const { Regex: source, String: literal } = json as { Regex?: string; String?: string };
  const expression =
    typeof literal === "string"
      ? new RegExp(literal.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gu")
      : new SplitPreTokenizer({
          type: "Split",
          pattern: { Regex: source },
          behavior: "Isolated",
          invert: false,
        }).pattern;
  if (!(expression instanceof RegExp)) throw new Error(`unusable pattern ${JSON.stringify(json)}`);
  const foldCase = source?.includes("(?i") ?? false;

  return (text) => {
    const spans: Spans = { ends: [], matches: [] };
    let last = 0;
    // An empty match splits, too.
    for (const { index, 0: match } of asSeenByRegex(text, foldCase).matchAll(expression)) {
      if (index > last) add(spans, index, false);
      last = index + match.length;
      add(spans, last, true);
    }
    if (last < text.length) add(spans, text.length, false);
    return spans;
  };
}

/** Characters with one of some properties, each a match of its own. */
export function createCharacterPattern(isMatch: (codePoint: number) => boolean): Pattern {
  return (text) => {
    const spans: Spans = { ends: [], matches: [] };
    let last = 0;
    for (let position = 0; position < text.length; ) {
      const codePoint = text.codePointAt(position) as number;
      const end = position + (codePoint > 0xffff ? 2 : 1);
      if (isMatch(codePoint)) {
        if (position > last) add(spans, position, false);
        add(spans, end, true);
        last = end;
      }
      position = end;
    }
    if (last < text.length) add(spans, text.length, false);
    return spans;
  };
}

export function invert(pattern: Pattern): Pattern {
  return (text) => {
    const { ends, matches } = pattern(text);
    return { ends, matches: matches.map((match) => !match) };
  };
}

export type SplitBehavior = "Removed" | "Isolated" | "MergedWithPrevious" | "MergedWithNext" | "Contiguous";

/** Whether two neighbouring spans are one piece. Of several matches in a row only the nearest joins its neighbour. */
const joins: Readonly<Record<SplitBehavior, (match: boolean, next: boolean) => boolean>> = {
  Removed: () => false,
  Isolated: () => false,
  MergedWithPrevious: (match, next) => !match && next,
  MergedWithNext: (match, next) => match && !next,
  Contiguous: (match, next) => match === next,
};

/** The pieces of a text, none of them empty, as Rust's `NormalizedString::split` (`tokenizer/normalizer.rs`). */
export function split(text: string, { ends, matches }: Spans, behavior: SplitBehavior): string[] {
  const pieces: string[] = [];
  const last = ends.length - 1;
  let start = 0;
  ends.forEach((end, index) => {
    const match = matches[index] as boolean;
    if (index < last && joins[behavior](match, matches[index + 1] as boolean)) return;
    if (end > start && !(match && behavior === "Removed")) pieces.push(text.slice(start, end));
    start = end;
  });
  return pieces;
}

function add(spans: Spans, end: number, match: boolean): void {
  spans.ends.push(end);
  spans.matches.push(match);
}
