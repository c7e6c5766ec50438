import { compilePattern, type Program } from "./regex/compile.js";
import { parsePattern } from "./regex/parse.js";
import { PatternError } from "./regex/pattern-error.js";
import { Search } from "./regex/search.js";

/** Consecutive spans of a text: where each ends, and whether it is a match or lies between matches. */
export interface Spans {
  readonly ends: number[];
  readonly matches: boolean[];
}

/** Finds a pattern in a text. The spans cover the text. */
export type Pattern = (text: string) => Spans;

/**
 * A `pattern` of tokenizer.json: `{ String }` or `{ Regex }`, in Oniguruma's syntax. It throws a `PatternError` on a
 * text for which the expression would take too long.
 *
 * @throws {PatternError} for an expression that is not supported.
 */
export function createPattern(json: unknown): Pattern {
  const { Regex: source, String: literal } = (json ?? {}) as { Regex?: unknown; String?: unknown };
  if (typeof literal === "string" && source === undefined) return createLiteralPattern(literal);
  if (typeof source !== "string" || literal !== undefined)
    throw new PatternError("a pattern is neither a String nor a Regex");
  let program: Program;
  try {
    program = compilePattern(parsePattern(source));
  } catch (cause) {
    throw new PatternError(
      `the regular expression ${JSON.stringify(source.slice(0, 60))} is not supported: ${(cause as Error).message}`,
    );
  }
  return (text) => {
    const spans: Spans = { ends: [], matches: [] };
    // Rust looks for nothing in nothing, not even for an expression that matches it.
    if (text === "") return spans;
    let last = 0;
    const search = new Search(program, text);
    while (search.next()) {
      if (search.start > last) add(spans, search.start, false);
      last = search.end;
      add(spans, last, true);
    }
    if (last < text.length) add(spans, text.length, false);
    return spans;
  };
}

/** An empty literal is found between all characters, as an empty expression is. */
function createLiteralPattern(literal: string): Pattern {
  if (literal === "") return createPattern({ Regex: "" });
  return (text) => {
    const spans: Spans = { ends: [], matches: [] };
    let last = 0;
    for (let start = text.indexOf(literal); start >= 0; start = text.indexOf(literal, last)) {
      if (start > last) add(spans, start, false);
      last = start + literal.length;
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
