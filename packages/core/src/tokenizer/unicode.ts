import { longNormalForm, type NormalForm } from "./long-marks.js";
import { finish, inParts, partLength, seamAt, type Turns } from "./turns.js";
import {
  dropped,
  inert,
  marks,
  newerThanRegex,
  nonspacingMarks,
  numbers,
  punctuation,
} from "./unicode-data.js";

/** Properties of characters, as Rust's tokenizers see them. Combine with `|`. */
export const whiteSpace = 1;
export const nonspacingMark = 2;
export const mark = 4;
export const punctuationMark = 8;
/** Removed by BERT's `clean_text`. */
export const unclean = 16;
/** Stands alone for BERT (`handle_chinese_chars`). */
export const ideograph = 32;
export const numeric = 64;
const known = 128;

type Range = readonly [first: number, last: number];

const tables: readonly (readonly [property: number, ranges: readonly Range[]])[] = [
  [
    whiteSpace,
    [
      [9, 13],
      [32, 32],
      [0x85, 0x85],
      [0xa0, 0xa0],
      [0x1680, 0x1680],
      [0x2000, 0x200a],
      [0x2028, 0x2029],
      [0x202f, 0x202f],
      [0x205f, 0x205f],
      [0x3000, 0x3000],
    ],
  ],
  [nonspacingMark, unpack(nonspacingMarks)],
  [mark, unpack(marks)],
  [punctuationMark, unpack(punctuation)],
  [unclean, unpack(dropped)],
  [numeric, unpack(numbers)],
  // `is_chinese_char` of `normalizers/bert.rs`, which leaves 2B820–2B91F out.
  [
    ideograph,
    [
      [0x3400, 0x4dbf],
      [0x4e00, 0x9fff],
      [0xf900, 0xfaff],
      [0x20000, 0x2a6df],
      [0x2a700, 0x2b81f],
      [0x2b920, 0x2ceaf],
      [0x2f800, 0x2fa1f],
    ],
  ],
];

/** Asked for once a character; the plane that texts are written in is remembered. */
const remembered = new Uint8Array(0x10000);

/** The properties of a code point, or-ed together. */
export function propertiesOf(codePoint: number): number {
  let properties = codePoint < remembered.length ? (remembered[codePoint] as number) : 0;
  if (properties === 0) {
    properties = known;
    for (const [property, ranges] of tables) if (isWithin(codePoint, ranges)) properties |= property;
    if (codePoint < remembered.length) remembered[codePoint] = properties;
  }
  return properties & ~known;
}

/** Characters with one of some properties, as the inside of a class of a JavaScript regular expression. */
export function classOf(properties: number): string {
  return tables
    .flatMap(([property, ranges]) => ((properties & property) === 0 ? [] : ranges))
    .map(([first, last]) => `\\u{${first.toString(16)}}-\\u{${last.toString(16)}}`)
    .join("");
}

/** The text with every character of a property replaced. */
export function replaceCharacters(
  text: string,
  properties: number,
  replacement: (character: string) => string,
): string {
  let out = "";
  let copied = 0;
  for (let position = 0; position < text.length; ) {
    const codePoint = text.codePointAt(position) as number;
    const end = position + (codePoint > 0xffff ? 2 : 1);
    if ((propertiesOf(codePoint) & properties) !== 0) {
      out += text.slice(copied, position) + replacement(text.slice(position, end));
      copied = end;
    }
    position = end;
  }
  return copied === 0 ? text : out + text.slice(copied);
}

const inertCharacters = toCharacterClass(inert);

const isInert = new RegExp(`^${inertCharacters.source}$`, "u");
const manyMarks = /\p{M}{100}/u;

/**
 * A normal form of Unicode 9, which is what Rust's tokenizers have (`unicode-normalization-alignments` 0.1.12).
 * What came later neither changes nor lets anything pass, so the text falls into parts there.
 */
export function normalForm(text: string, form: NormalForm): string {
  if (isAscii(text)) return text;
  if (manyMarks.test(text)) return finish(normalFormOfMarks(text, form));
  return text
    .split(inertCharacters)
    .map((part, index) => (index % 2 === 1 ? part : part.normalize(form)))
    .join("");
}

function normalFormOfMarks(text: string, form: NormalForm): Turns<string> {
  return longNormalForm(text, form, (character) => isInert.test(character));
}

export function normalFormInTurns(text: string, form: NormalForm): Turns<string> {
  return inParts(text, (part) => partInNormalForm(part, form), beforeStarter);
}

/** Only marks without a letter among them make a part that is long. */
function partInNormalForm(part: string, form: NormalForm): string | Turns<string> {
  return part.length < partLength * 4 ? normalForm(part, form) : normalFormOfMarks(part, form);
}

/**
 * Before a character that no normal form moves or joins to what stands before it: letters, numbers, signs, and marks
 * that enclose; not the vowels and finals of Hangul, of which compatibility and halfwidth forms consist too, nor the
 * halfwidth marks of kana.
 */
const beforeStarter = seamAt(
  /(?![\u1160-\u11ff\u3130-\u318f\ud7b0-\ud7ff\uff9e-\uffdc\u{16d40}-\u{16d7f}])[\p{L}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{Me}]/gu,
);

/**
 * Character by character, as Rust's `char::to_lowercase`: a sigma at the end of a word is no exception. The capitals
 * of Unicode 17 are spelled out, since Node 20.19 has Unicode 16.
 */
export function lowercase(text: string): string {
  if (isAscii(text)) return text.toLowerCase();
  return text
    .replaceAll("Σ", "σ")
    .replace(/[\ua7ce\ua7d2\ua7d4]/g, (capital) => String.fromCharCode(capital.charCodeAt(0) + 1))
    .replace(/[\u{16ea0}-\u{16eb8}]/gu, (capital) =>
      String.fromCodePoint((capital.codePointAt(0) as number) + 27),
    )
    .toLowerCase();
}

const newerCharacters = toCharacterClass(newerThanRegex);

/**
 * A text of the same length, on which a property of JavaScript matches where Oniguruma's matches on `text`: what
 * Oniguruma does not know yet becomes a noncharacter.
 */
export function asSeenByRegex(text: string): string {
  if (isAscii(text)) return text;
  const seen = text.replace(newerCharacters, (character) =>
    character.length === 1 ? "\ufdd0" : "\u{1fffe}",
  );
  // A lower-case letter of Unicode 16 that has changed sides since.
  return seen.replaceAll("\u0295", "\u0251");
}

/** The first position of the white space at the end of `text`, not before `from`. */
export function trailingSpace(text: string, from = 0): number {
  let end = text.length;
  while (end > from && (propertiesOf(text.charCodeAt(end - 1)) & whiteSpace) !== 0) end -= 1;
  return end;
}

/** The end of the white space that starts at `from`. */
export function leadingSpace(text: string, from = 0): number {
  let end = from;
  while (end < text.length && (propertiesOf(text.charCodeAt(end)) & whiteSpace) !== 0) end += 1;
  return end;
}

export function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}

function isWithin(codePoint: number, ranges: readonly Range[]): boolean {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ranges[middle] as Range)[1] < codePoint) low = middle + 1;
    else high = middle;
  }
  return low < ranges.length && (ranges[low] as Range)[0] <= codePoint;
}

function unpack(packed: string): readonly Range[] {
  let last = 0;
  return packed.split(" ").map((word) => {
    const [gap = "", more = "0"] = word.split(".");
    const first = last + Number.parseInt(gap, 36);
    last = first + Number.parseInt(more, 36);
    return [first, last] as const;
  });
}

function toCharacterClass(packed: string): RegExp {
  const escaped = unpack(packed).map(
    ([first, last]) => `\\u{${first.toString(16)}}-\\u{${last.toString(16)}}`,
  );
  return new RegExp(`([${escaped.join("")}])`, "gu");
}
