import { toByteAlphabet } from "./bytes.js";
import { createCharacterMap } from "./charsmap.js";
import { checkStep } from "./check-step.js";
import { createPattern } from "./pattern.js";
import { PatternError } from "./regex/pattern-error.js";
import {
  ideograph,
  isAscii,
  leadingSpace,
  lowercase,
  mark,
  nonspacingMark,
  normalForm,
  replaceCharacters,
  trailingSpace,
  unclean,
} from "./unicode.js";

export type Normalizer = (text: string) => string;

interface NormalizerJson {
  readonly type: string;
  readonly normalizers?: readonly NormalizerJson[];
  readonly clean_text?: boolean;
  readonly handle_chinese_chars?: boolean;
  readonly strip_accents?: boolean | null;
  readonly lowercase?: boolean;
  readonly precompiled_charsmap?: string | null;
  readonly pattern?: unknown;
  readonly content?: string;
  readonly prepend?: string;
  readonly strip_left?: boolean;
  readonly strip_right?: boolean;
}

const fields = {
  normalizers: "list",
  clean_text: "switch",
  handle_chinese_chars: "switch",
  strip_accents: "switch",
  lowercase: "switch",
  precompiled_charsmap: "anything",
  pattern: "anything",
  content: "text",
  prepend: "text",
  strip_left: "switch",
  strip_right: "switch",
} as const;

const required = { Sequence: ["normalizers"], Prepend: ["prepend"], Replace: ["pattern", "content"] };

/**
 * `normalizer` of tokenizer.json, as in Rust's tokenizers 0.23.3 (`src/normalizers`).
 *
 * @throws {Error} for a normalizer of another kind, or a malformed one.
 */
export function createNormalizer(json: unknown): Normalizer {
  if (json === null || json === undefined) return (text) => text;
  checkStep(json, fields, required);
  const config = json as NormalizerJson;
  switch (config.type) {
    case "Sequence": {
      const steps = (config.normalizers ?? []).map(createNormalizer);
      return (text) => {
        const most = text.length * mostGrowth + leastRoom;
        return steps.reduce((current, step) => bounded(step(current), most), text);
      };
    }
    case "BertNormalizer":
      return createBertNormalizer(config);
    case "Precompiled":
      return config.precompiled_charsmap ? createCharacterMap(config.precompiled_charsmap) : (text) => text;
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD": {
      const form = config.type;
      return (text) => normalForm(text, form);
    }
    case "Lowercase":
      return lowercase;
    case "StripAccents":
      return (text) => replaceCharacters(text, mark, () => "");
    case "Strip":
      return (text) => {
        const start = config.strip_left ? leadingSpace(text) : 0;
        return text.slice(start, config.strip_right ? trailingSpace(text, start) : text.length);
      };
    case "Prepend":
      return (text) => (text === "" ? text : `${config.prepend}${text}`);
    case "Replace": {
      const pattern = createPattern(config.pattern);
      const content = config.content ?? "";
      return (text) => {
        const { ends, matches } = pattern(text);
        const found = matches.reduce((count, match) => count + (match ? 1 : 0), 0);
        checkLength(text.length + found * content.length, text.length * mostGrowth + leastRoom);
        return ends
          .map((end, span) => (matches[span] ? content : text.slice(ends[span - 1] ?? 0, end)))
          .join("");
      };
    }
    case "Nmt":
      return (text) =>
        text
          // biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the point
          .replace(/[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]/g, "")
          .replace(/[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g, " ");
    case "ByteLevel":
      return toByteAlphabet;
    default:
      throw new Error(`unknown normalizer ${config.type}`);
  }
}

/** Texts do not grow beyond this factor, and so many UTF-16 code units more. Real ones grow by 18 at most (U+FDFA). */
const mostGrowth = 32;
const leastRoom = 10_000;

function checkLength(length: number, most: number): void {
  if (length > most) throw new PatternError(`the normalizer makes ${length} characters of a text`);
}

function bounded(text: string, most: number): string {
  checkLength(text.length, most);
  return text;
}

function createBertNormalizer(config: NormalizerJson): Normalizer {
  const stripAccents = config.strip_accents ?? config.lowercase ?? false;
  return (text) => {
    let current = text;
    // Where \s of JavaScript differs from White_Space (U+0085, U+FEFF), the character is unclean.
    if (config.clean_text && !/^[ -~]*$/.test(text)) {
      current = replaceCharacters(text, unclean, () => "").replace(/[^\S ]/g, " ");
    }
    if (!isAscii(current)) {
      if (config.handle_chinese_chars) {
        current = replaceCharacters(current, ideograph, (character) => ` ${character} `);
      }
      if (stripAccents) current = replaceCharacters(normalForm(current, "NFD"), nonspacingMark, () => "");
    }
    return config.lowercase ? lowercase(current) : current;
  };
}
