import { toByteAlphabet } from "./bytes.js";
import { checkStep } from "./check-step.js";
import {
  createCharacterPattern,
  createPattern,
  invert,
  type Pattern,
  type SplitBehavior,
  split,
} from "./pattern.js";
import { numeric, propertiesOf, punctuationMark, whiteSpace } from "./unicode.js";

/** Cuts pieces of a text further. `atStart`: the first piece is where the whole text begins. */
export type PreTokenizer = (pieces: readonly string[], atStart: boolean) => readonly string[];

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
const spaces = createCharacterPattern((codePoint) => (propertiesOf(codePoint) & whiteSpace) !== 0);
const marks = createCharacterPattern((codePoint) => (propertiesOf(codePoint) & punctuationMark) !== 0);
const digits = createCharacterPattern((codePoint) => (propertiesOf(codePoint) & numeric) !== 0);

/**
 * `pre_tokenizer` of tokenizer.json, as in Rust's tokenizers 0.23.3 (`src/pre_tokenizers`).
 *
 * @throws {Error} for a pre-tokenizer of another kind, or a malformed one.
 */
export function createPreTokenizer(json: unknown): PreTokenizer {
  if (json === null || json === undefined) return (pieces) => pieces;
  checkStep(json, fields, required);
  const config = json as PreTokenizerJson;
  switch (config.type) {
    case "Sequence": {
      const steps = (config.pretokenizers ?? []).map(createPreTokenizer);
      return (pieces, atStart) =>
        steps.reduce((current, step) => step(current, atStart && current[0]?.[0] === pieces[0]?.[0]), pieces);
    }
    case "BertPreTokenizer":
      return (pieces) => pieces.flatMap(splitBertWords);
    case "Punctuation":
      return splitter(marks, toBehavior(config.behavior ?? "Isolated"));
    case "WhitespaceSplit":
      return splitter(spaces, "Removed");
    case "Whitespace":
      // Of the regex crate, whose \w has the joiners and lacks the superscripts of Oniguruma's.
      return splitter(
        invert(
          createPattern({
            Regex:
              "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]+|[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}\\s]+",
          }),
        ),
        "Removed",
      );
    case "Digits":
      return splitter(digits, config.individual_digits ? "Isolated" : "Contiguous");
    case "CharDelimiterSplit":
      return splitter(createPattern({ String: config.delimiter }), "Removed");
    case "Split": {
      const pattern = createPattern(config.pattern);
      return splitter(config.invert ? invert(pattern) : pattern, toBehavior(config.behavior ?? ""));
    }
    case "FixedLength":
      return (pieces) =>
        pieces.flatMap((piece) => {
          const characters = [...piece];
          const length = config.length ?? 5;
          return Array.from({ length: Math.ceil(characters.length / length) }, (_, index) =>
            characters.slice(index * length, (index + 1) * length).join(""),
          );
        });
    case "ByteLevel":
      return createByteLevel(config);
    case "Metaspace":
      return createMetaspace(config);
    default:
      throw new Error(`unknown pre_tokenizer ${config.type}`);
  }
}

function createByteLevel({ add_prefix_space = true, use_regex = true }: PreTokenizerJson): PreTokenizer {
  const cut = use_regex ? splitter(createPattern(gpt2), "Isolated") : undefined;
  return (pieces, atStart) => {
    const spaced = add_prefix_space
      ? pieces.map((piece) => (piece.startsWith(" ") ? piece : ` ${piece}`))
      : pieces;
    return (cut?.(spaced, atStart) ?? spaced).map(toByteAlphabet);
  };
}

function createMetaspace(config: PreTokenizerJson): PreTokenizer {
  const replacement = config.replacement ?? "▁";
  const scheme = config.add_prefix_space === false ? "never" : (config.prepend_scheme ?? "always");
  if (!["always", "first", "never"].includes(scheme)) throw new Error(`unknown prepend_scheme ${scheme}`);
  const cut =
    config.split === false ? undefined : splitter(createPattern({ String: replacement }), "MergedWithNext");
  return (pieces, atStart) => {
    const marked = pieces.map((piece, index) => {
      const text = piece.replaceAll(" ", replacement);
      const prepend = scheme === "always" || (scheme === "first" && index === 0 && atStart);
      return prepend && !text.startsWith(replacement) ? replacement + text : text;
    });
    return cut?.(marked, atStart) ?? marked;
  };
}

function splitter(pattern: Pattern, behavior: SplitBehavior): PreTokenizer {
  return (pieces) => pieces.flatMap((piece) => split(piece, pattern(piece), behavior));
}

/** White space removed, then punctuation isolated; in one go, since WordPiece itself costs little more. */
function splitBertWords(text: string): string[] {
  const words: string[] = [];
  let start = 0;
  for (let position = 0; position < text.length; ) {
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
  if (start < text.length) words.push(text.slice(start));
  return words;
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
