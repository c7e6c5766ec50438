import { toByteAlphabet } from "./bytes.js";
import { checkStep } from "./check-step.js";
import {
  createCharacterPattern,
  createPattern,
  type Pattern,
  type SplitBehavior,
  split,
  splitInTurns,
} from "./pattern.js";
import {
  betweenCharacters,
  finish,
  type InTurns,
  inParts,
  partLength,
  type Turns,
  withTurns,
} from "./turns.js";
import { numeric, propertiesOf, punctuationMark, whiteSpace } from "./unicode.js";

/** Cuts pieces of a text further. `atStart`: the first piece is where the whole text begins. */
export type PreTokenizer = InTurns<[pieces: readonly string[], atStart: boolean], readonly string[]>;

interface PreTokenizerJson {
  readonly type: string;
  readonly pretokenizers?: readonly PreTokenizerJson[];
  readonly pattern?: unknown;
  readonly behavior?: string;
  readonly invert?: boolean;
  readonly add_prefix_space?: boolean;
  readonly use_regex?: boolean;
  readonly replacement?: string;
  readonly prepend_scheme?: string;
  readonly split?: boolean;
  readonly individual_digits?: boolean;
  readonly delimiter?: string;
  readonly length?: number;
}

const fields = {
  pretokenizers: "list",
  pattern: "anything",
  behavior: "text",
  invert: "switch",
  add_prefix_space: "switch",
  use_regex: "switch",
  replacement: "character",
  prepend_scheme: "text",
  split: "switch",
  individual_digits: "switch",
  delimiter: "character",
  length: "count",
} as const;

const required = {
  Sequence: ["pretokenizers"],
  Split: ["pattern", "behavior"],
  CharDelimiterSplit: ["delimiter"],
};

const gpt2 = { Regex: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+" };
const spaces = createCharacterPattern((codePoint) => (propertiesOf(codePoint) & whiteSpace) !== 0, true);
const marks = createCharacterPattern((codePoint) => (propertiesOf(codePoint) & punctuationMark) !== 0);
const digits = createCharacterPattern((codePoint) => (propertiesOf(codePoint) & numeric) !== 0);

/**
 * `pre_tokenizer` of tokenizer.json, as in Rust's tokenizers 0.23.3 (`src/pre_tokenizers`).
 *
 * @throws {Error} for a pre-tokenizer of another kind, or a malformed one.
 */
export function createPreTokenizer(json: unknown): PreTokenizer {
  if (json === null || json === undefined) return inSequence([]);
  checkStep(json, fields, required);
  const config = json as PreTokenizerJson;
  switch (config.type) {
    case "Sequence":
      return inSequence((config.pretokenizers ?? []).map(createPreTokenizer));
    case "BertPreTokenizer":
      return eachPiece(splitBertWords, splitBertWordsInTurns);
    case "Punctuation":
      return splitter(marks, toBehavior(config.behavior ?? "Isolated"));
    case "WhitespaceSplit":
      return splitter(spaces, "Removed");
    case "Whitespace":
      // Of the regex crate, whose \w has the joiners and lacks the superscripts of Oniguruma's.
      return splitter(
        createPattern(
          {
            Regex:
              "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]+|[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}\\s]+",
          },
          true,
        ),
        "Removed",
      );
    case "Digits":
      return splitter(digits, config.individual_digits ? "Isolated" : "Contiguous");
    case "CharDelimiterSplit":
      return splitter(createPattern({ String: config.delimiter }), "Removed");
    case "Split":
      return splitter(createPattern(config.pattern, config.invert), toBehavior(config.behavior ?? ""));
    case "FixedLength":
      return createFixedLength(config.length ?? 5);
    case "ByteLevel":
      return createByteLevel(config);
    case "Metaspace":
      return createMetaspace(config);
    default:
      throw new Error(`unknown pre_tokenizer ${config.type}`);
  }
}

function createFixedLength(length: number): PreTokenizer {
  const cut = function* (piece: string, out: string[]): Turns<void> {
    let start = 0;
    let count = 0;
    for (let position = 0; position < piece.length; ) {
      position = betweenCharacters(piece, position + 1);
      count += 1;
      if (count % partLength === 0) yield;
      if (count % length !== 0 && position < piece.length) continue;
      out.push(piece.slice(start, position));
      start = position;
    }
  };
  return eachPiece((piece, out) => finish(cut(piece, out)), cut);
}

function createByteLevel({ add_prefix_space = true, use_regex = true }: PreTokenizerJson): PreTokenizer {
  return inSequence([
    ...(add_prefix_space ? [changed((piece) => (piece.startsWith(" ") ? piece : ` ${piece}`))] : []),
    ...(use_regex ? [splitter(createPattern(gpt2), "Isolated")] : []),
    changed(toByteAlphabet, (piece) => inParts(piece, toByteAlphabet)),
  ]);
}

function createMetaspace(config: PreTokenizerJson): PreTokenizer {
  const replacement = config.replacement ?? "▁";
  const scheme = config.add_prefix_space === false ? "never" : (config.prepend_scheme ?? "always");
  if (!["always", "first", "never"].includes(scheme)) throw new Error(`unknown prepend_scheme ${scheme}`);
  const mark = (piece: string): string => piece.replaceAll(" ", replacement);
  const begin = (text: string): string => (text.startsWith(replacement) ? text : replacement + text);
  const marked = changed(mark, (piece) => inParts(piece, mark));
  const begun = changed(begin);
  const beginFirst = (pieces: readonly string[], atStart: boolean): readonly string[] => {
    const all = pieces.slice();
    if (atStart && all[0] !== undefined) all[0] = begin(all[0]);
    return all;
  };
  // biome-ignore lint/correctness/useYield: there is nothing to interrupt
  const firstBegun: PreTokenizer = withTurns(beginFirst, function* (pieces, atStart) {
    return beginFirst(pieces, atStart);
  });
  return inSequence([
    marked,
    ...(scheme === "always" ? [begun] : scheme === "first" ? [firstBegun] : []),
    ...(config.split === false ? [] : [splitter(createPattern({ String: replacement }), "MergedWithNext")]),
  ]);
}

/** Steps one after the other. What the first of them takes away from the text's beginning moves it. */
function inSequence(steps: readonly PreTokenizer[]): PreTokenizer {
  const isAtStart = (now: readonly string[], before: readonly string[]): boolean =>
    now[0]?.[0] === before[0]?.[0];
  return withTurns(
    (pieces, atStart) =>
      steps.reduce((current, step) => step(current, atStart && isAtStart(current, pieces)), pieces),
    function* (pieces, atStart) {
      let current = pieces;
      for (const step of steps) current = yield* step.inTurns(current, atStart && isAtStart(current, pieces));
      return current;
    },
  );
}

/** A step that does to each piece what it does to one: `cut` appends what becomes of it. */
function eachPiece(
  cut: (piece: string, out: string[]) => void,
  cutInTurns: (piece: string, out: string[]) => Turns<void>,
): PreTokenizer {
  return withTurns(
    (pieces) => {
      const out: string[] = [];
      for (const piece of pieces) cut(piece, out);
      return out;
    },
    function* (pieces) {
      const out: string[] = [];
      let done = 0;
      for (const piece of pieces) {
        if (piece.length > partLength) yield* cutInTurns(piece, out);
        else cut(piece, out);
        // An empty piece takes time too.
        done += piece.length + 1;
        if (done < partLength) continue;
        done = 0;
        yield;
      }
      return out;
    },
  );
}

function changed(
  change: (piece: string) => string,
  changeInTurns?: (piece: string) => Turns<string>,
): PreTokenizer {
  const cut = (piece: string, out: string[]): void => void out.push(change(piece));
  return eachPiece(cut, function* (piece, out) {
    if (changeInTurns === undefined) cut(piece, out);
    else out.push(yield* changeInTurns(piece));
  });
}

function splitter(pattern: Pattern, behavior: SplitBehavior): PreTokenizer {
  return eachPiece(
    (piece, out) => {
      for (const part of split(piece, pattern(piece), behavior)) out.push(part);
    },
    function* (piece, out) {
      yield* splitInTurns(piece, yield* pattern.inTurns(piece), behavior, out);
    },
  );
}

/** White space removed, then punctuation isolated; in one go, since WordPiece itself costs little more. */
function splitBertWords(text: string, words: string[]): void {
  bertWords(text, { from: 0, to: text.length, start: 0 }, words);
}

function* splitBertWordsInTurns(text: string, words: string[]): Turns<void> {
  let start = 0;
  for (let from = 0; from < text.length; yield) {
    const to = betweenCharacters(text, from + partLength);
    start = bertWords(text, { from, to, start }, words);
    from = to;
  }
}

/** Goes through a part of the text. @returns where the word begins that has not ended yet. */
function bertWords(
  text: string,
  { from, to, start: firstStart }: { readonly from: number; readonly to: number; readonly start: number },
  words: string[],
): number {
  let start = firstStart;
  for (let position = from; position < to; ) {
    const codePoint = text.codePointAt(position) as number;
    const end = position + (codePoint > 0xffff ? 2 : 1);
    const properties = propertiesOf(codePoint) & (whiteSpace | punctuationMark);
    if (properties !== 0) {
      if (position > start) words.push(text.slice(start, position));
      if ((properties & whiteSpace) === 0) words.push(text.slice(position, end));
      start = end;
    }
    position = end;
  }
  if (to === text.length && start < to) words.push(text.slice(start));
  return start;
}

const behaviors: readonly SplitBehavior[] = [
  "Removed",
  "Isolated",
  "MergedWithPrevious",
  "MergedWithNext",
  "Contiguous",
];

/** Written in camel case by some versions. */
function toBehavior(name: string): SplitBehavior {
  const found = behaviors.find((behavior) => behavior.toLowerCase() === name.toLowerCase());
  if (found === undefined) throw new Error(`unknown split behavior ${name}`);
  return found;
}
