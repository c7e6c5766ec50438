import { toByteAlphabet } from "./bytes.js";
import { createCharacterMap } from "./charsmap.js";
import { checkStep } from "./check-step.js";
import type { NormalForm } from "./long-marks.js";
import { createPattern, type Spans } from "./pattern.js";
import { PatternError } from "./regex/pattern-error.js";
import { finish, type InTurns, inOnePiece, inParts, partLength, type Turns, withTurns } from "./turns.js";
import {
  ideograph,
  isAscii,
  leadingSpace,
  lowercase,
  mark,
  nonspacingMark,
  normalForm,
  normalFormInTurns,
  replaceCharacters,
  trailingSpace,
  unclean,
} from "./unicode.js";

export type Normalizer = InTurns<[text: string], string>;

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
  if (json === null || json === undefined) return unchanged;
  checkStep(json, fields, required);
  const config = json as NormalizerJson;
  switch (config.type) {
    case "Sequence":
      return inSequence((config.normalizers ?? []).map(createNormalizer));
    case "BertNormalizer":
      return createBertNormalizer(config);
    case "Precompiled":
      return config.precompiled_charsmap ? createCharacterMap(config.precompiled_charsmap) : unchanged;
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return toNormalForm(config.type);
    case "Lowercase":
      return eachCharacter(lowercase);
    case "StripAccents":
      return eachCharacter((text) => replaceCharacters(text, mark, () => ""));
    case "Strip":
      return whole((text) => {
        const start = config.strip_left ? leadingSpace(text) : 0;
        return text.slice(start, config.strip_right ? trailingSpace(text, start) : text.length);
      });
    case "Prepend":
      return whole((text) => (text === "" ? text : `${config.prepend}${text}`));
    case "Replace": {
      const pattern = createPattern(config.pattern);
      const content = config.content ?? "";
      return withTurns(
        (text) => finish(replaceMatches(text, pattern(text), content)),
        function* (text) {
          return yield* replaceMatches(text, yield* pattern.inTurns(text), content);
        },
      );
    }
    case "Nmt":
      return eachCharacter((text) =>
        text
          // biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the point
          .replace(/[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]/g, "")
          .replace(/[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g, " "),
      );
    case "ByteLevel":
      return eachCharacter(toByteAlphabet);
    default:
      throw new Error(`unknown normalizer ${config.type}`);
  }
}

/** A step that takes hardly any time. */
function whole(work: (text: string) => string): Normalizer {
  // biome-ignore lint/correctness/useYield: there is nothing to interrupt
  return withTurns(work, function* (text) {
    return work(text);
  });
}

const unchanged: Normalizer = whole((text) => text);

/** A step that knows nothing of a character's neighbours. */
function eachCharacter(work: (text: string) => string): Normalizer {
  return withTurns(work, (text) => inParts(text, work));
}

function toNormalForm(form: NormalForm): Normalizer {
  return withTurns(
    (text) => normalForm(text, form),
    (text) => normalFormInTurns(text, form),
  );
}

function inSequence(steps: readonly Normalizer[]): Normalizer {
  const mostOf = (text: string): number => text.length * mostGrowth + leastRoom;
  return withTurns(
    (text) => steps.reduce((current, step) => bounded(step(current), mostOf(text)), text),
    function* (text) {
      let current = text;
      for (const step of steps) current = bounded(yield* step.inTurns(current), mostOf(text));
      return current;
    },
  );
}

function* replaceMatches(text: string, { ends, matches }: Spans, content: string): Turns<string> {
  const most = text.length * mostGrowth + leastRoom;
  let out = "";
  let part = "";
  let copied = 0;
  let length = text.length;
  for (let span = 0; span < ends.length; span += 1) {
    if (span % partLength === partLength - 1) {
      out += inOnePiece(part);
      part = "";
      yield;
    }
    if (!matches[span]) continue;
    length += content.length;
    checkLength(length, most);
    part += text.slice(copied, ends[span - 1] ?? 0) + content;
    copied = ends[span] as number;
  }
  return out + part + text.slice(copied);
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
  // Where \s of JavaScript differs from White_Space (U+0085, U+FEFF), the character is unclean.
  const clean = (text: string): string =>
    /^[ -~]*$/.test(text) ? text : replaceCharacters(text, unclean, () => "").replace(/[^\S ]/g, " ");
  const partIdeographs = (text: string): string =>
    isAscii(text) ? text : replaceCharacters(text, ideograph, (character) => ` ${character} `);
  const strip = (text: string): string =>
    isAscii(text) ? text : replaceCharacters(text, nonspacingMark, () => "");
  const steps = [
    ...(config.clean_text ? [eachCharacter(clean)] : []),
    ...(config.handle_chinese_chars ? [eachCharacter(partIdeographs)] : []),
    ...(stripAccents ? [toNormalForm("NFD"), eachCharacter(strip)] : []),
  ];
  return withTurns(
    (text) => {
      // Almost always true, and changes nothing but letters.
      const current = /^[ -~]*$/.test(text) ? text : steps.reduce((before, step) => step(before), text);
      return config.lowercase ? lowercase(current) : current;
    },
    function* (text) {
      let current = text;
      for (const step of steps) current = yield* step.inTurns(current);
      return config.lowercase ? yield* inParts(current, lowercase) : current;
    },
  );
}
