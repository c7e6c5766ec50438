import { compilePattern, type Program } from "./regex/compile.js";
import { parsePattern } from "./regex/parse.js";
import { PatternError } from "./regex/pattern-error.js";
import { Search } from "./regex/search.js";
import { type InTurns, partLength, type Turns, withTurns } from "./turns.js";

/** Consecutive spans of a text: where each ends, and whether it is a match or lies between matches. */
export interface Spans {
  readonly ends: number[];
  readonly matches: boolean[];
}

/** Finds a pattern in a text. The spans cover the text. */
export type Pattern = InTurns<[text: string], Spans>;

/** Looks for matches in one text, from its start to its end. */
interface Finder {
  /** Where the last match begins and ends. */
  readonly start: number;
  readonly end: number;
  /** Finds the next match: false when there is none, undefined when the search should be gone on with later. */
  next(): boolean | undefined;
}

/**
 * A `pattern` of tokenizer.json: `{ String }` or `{ Regex }`, in Oniguruma's syntax. It throws a `PatternError` on a
 * text for which the expression would take too long.
 *
 * @param inverted whether what lies between matches counts as a match, and the other way round.
 * @throws {PatternError} for an expression that is not supported.
 */
export function createPattern(json: unknown, inverted = false): Pattern {
  const { Regex: source, String: literal } = (json ?? {}) as { Regex?: unknown; String?: unknown };
  if (typeof literal === "string" && source === undefined) {
    // An empty literal is found between all characters, as an empty expression is.
    if (literal === "") return createPattern({ Regex: "" }, inverted);
    return patternOf((text) => new LiteralSearch(literal, text), inverted);
  }
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
  return patternOf((text) => new Search(program, text), inverted);
}

/**
 * Characters with one of some properties, each a match of its own.
 *
 * @param inRuns whether several in a row may be one match, which is less work where it makes no difference.
 */
export function createCharacterPattern(isMatch: (codePoint: number) => boolean, inRuns = false): Pattern {
  return patternOf((text) => new CharacterSearch(isMatch, text, inRuns), false);
}

function patternOf(begin: (text: string) => Finder, inverted: boolean): Pattern {
  /** Goes on until there is a reason to pause. @returns whether that is the end. */
  const goOn = (finder: Finder, text: string, { ends, matches }: Spans, inTurns: boolean): boolean => {
    let last = ends.at(-1) ?? 0;
    const most = ends.length + (inTurns ? spansATurn : Number.POSITIVE_INFINITY);
    const reach = last + (inTurns ? partLength * 4 : Number.POSITIVE_INFINITY);
    while (ends.length < most && last < reach) {
      const found = finder.next();
      if (found === undefined) return false;
      const start = found ? finder.start : text.length;
      if (start > last) {
        ends.push(start);
        matches.push(inverted);
      }
      if (!found) return true;
      last = finder.end;
      ends.push(last);
      matches.push(!inverted);
    }
    return false;
  };
  return withTurns(
    (text) => {
      const spans: Spans = { ends: [], matches: [] };
      // Rust looks for nothing in nothing, not even for an expression that matches it.
      if (text === "") return spans;
      for (const finder = begin(text); !goOn(finder, text, spans, false); );
      return spans;
    },
    function* (text) {
      const spans: Spans = { ends: [], matches: [] };
      if (text === "") return spans;
      for (const finder = begin(text); !goOn(finder, text, spans, true); ) yield;
      return spans;
    },
  );
}

/** Matches between two turns. */
const spansATurn = 2048;

class LiteralSearch implements Finder {
  start = 0;
  end = 0;
  readonly #literal: string;
  readonly #text: string;

  constructor(literal: string, text: string) {
    this.#literal = literal;
    this.#text = text;
  }

  next(): boolean {
    this.start = this.#text.indexOf(this.#literal, this.end);
    if (this.start < 0) return false;
    this.end = this.start + this.#literal.length;
    return true;
  }
}

class CharacterSearch implements Finder {
  start = 0;
  end = 0;
  #position = 0;
  readonly #isMatch: (codePoint: number) => boolean;
  readonly #text: string;
  readonly #inRuns: boolean;

  constructor(isMatch: (codePoint: number) => boolean, text: string, inRuns: boolean) {
    this.#isMatch = isMatch;
    this.#text = text;
    this.#inRuns = inRuns;
  }

  next(): boolean | undefined {
    const text = this.#text;
    for (const pause = this.#position + partLength; this.#position < text.length; ) {
      const position = this.#position;
      if (position >= pause) return undefined;
      const codePoint = text.codePointAt(position) as number;
      this.#position += codePoint > 0xffff ? 2 : 1;
      if (!this.#isMatch(codePoint)) continue;
      this.start = position;
      while (this.#inRuns && this.#position < text.length && this.#position < pause) {
        const next = text.codePointAt(this.#position) as number;
        if (!this.#isMatch(next)) break;
        this.#position += next > 0xffff ? 2 : 1;
      }
      this.end = this.#position;
      return true;
    }
    return false;
  }
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
export function split(text: string, spans: Spans, behavior: SplitBehavior): string[] {
  const pieces: string[] = [];
  splitSpans(text, spans, behavior, { from: 0, to: spans.ends.length, start: 0 }, pieces);
  return pieces;
}

/** As {@link split}, and appends to `pieces`. */
export function* splitInTurns(
  text: string,
  spans: Spans,
  behavior: SplitBehavior,
  pieces: string[],
): Turns<void> {
  let start = 0;
  for (let from = 0; from < spans.ends.length; from += partLength) {
    const to = Math.min(spans.ends.length, from + partLength);
    start = splitSpans(text, spans, behavior, { from, to, start }, pieces);
    yield;
  }
}

/** Goes through some of the spans. @returns where the piece begins that is not closed yet. */
function splitSpans(
  text: string,
  { ends, matches }: Spans,
  behavior: SplitBehavior,
  range: { readonly from: number; readonly to: number; readonly start: number },
  pieces: string[],
): number {
  const isOnePiece = joins[behavior];
  const last = ends.length - 1;
  let { start } = range;
  for (let index = range.from; index < range.to; index += 1) {
    const end = ends[index] as number;
    const match = matches[index] as boolean;
    if (index < last && isOnePiece(match, matches[index + 1] as boolean)) continue;
    if (end > start && !(match && behavior === "Removed")) pieces.push(text.slice(start, end));
    start = end;
  }
  return start;
}
