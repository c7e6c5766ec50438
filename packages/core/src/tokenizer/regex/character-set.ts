import { asSeenByRegex } from "../unicode.js";
import { PatternError } from "./pattern-error.js";

/** A set of code points. What was asked once is remembered: texts repeat their characters. */
export class CharacterSet {
  /** Membership of the characters below U+0080, 1 or 0. */
  readonly ascii: Uint8Array = new Uint8Array(128);
  readonly #holds: (codePoint: number) => boolean;
  /** For every 256 code points that were met: 0 is unknown, 1 is in, 2 is out. */
  readonly #pages: (Uint8Array | undefined)[] = [];

  constructor(holds: (codePoint: number) => boolean) {
    this.#holds = holds;
    for (let code = 0; code < 128; code += 1) this.ascii[code] = holds(code) ? 1 : 0;
  }

  has(codePoint: number): boolean {
    if (codePoint < 128) return this.ascii[codePoint] === 1;
    this.#pages[codePoint >> 8] ??= new Uint8Array(256);
    const page = this.#pages[codePoint >> 8] as Uint8Array;
    let known = page[codePoint & 255] as number;
    if (known === 0) {
      known = this.#holds(codePoint) ? 1 : 2;
      page[codePoint & 255] = known;
    }
    return known === 1;
  }
}

export function setOf(first: number, last: number = first): CharacterSet {
  return new CharacterSet((codePoint) => codePoint >= first && codePoint <= last);
}

export function union(sets: readonly CharacterSet[]): CharacterSet {
  const [only] = sets;
  return sets.length === 1 && only !== undefined
    ? only
    : new CharacterSet((codePoint) => sets.some((set) => set.has(codePoint)));
}

export function intersection(sets: readonly CharacterSet[]): CharacterSet {
  return new CharacterSet((codePoint) => sets.every((set) => set.has(codePoint)));
}

export function complement(set: CharacterSet): CharacterSet {
  return new CharacterSet((codePoint) => !set.has(codePoint));
}

/** What a JavaScript character class matches, with Oniguruma's knowledge of Unicode. */
function ofClass(source: string): CharacterSet {
  const expression = new RegExp(`^[${source}]$`, "u");
  return new CharacterSet((codePoint) => expression.test(asSeenByRegex(String.fromCodePoint(codePoint))));
}

const sets = new Map<string, CharacterSet>();

function remembered(source: string): CharacterSet {
  let set = sets.get(source);
  if (set === undefined) {
    set = ofClass(source);
    sets.set(source, set);
  }
  return set;
}

const wordSource = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";

/** POSIX brackets and the properties of the same names, as JavaScript classes. */
const posix: ReadonlyMap<string, string> = new Map([
  ["alnum", "\\p{Alphabetic}\\p{Nd}"],
  ["alpha", "\\p{Alphabetic}"],
  ["ascii", "\\0-\\x7f"],
  ["blank", "\\t\\p{Zs}"],
  ["cntrl", "\\p{Cc}"],
  ["digit", "\\p{Nd}"],
  ["graph", "^\\p{White_Space}\\p{Cc}\\p{Cn}\\p{Cs}"],
  ["lower", "\\p{Lowercase}"],
  ["punct", "\\p{P}\\p{S}"],
  ["space", "\\p{White_Space}"],
  ["upper", "\\p{Uppercase}"],
  ["word", wordSource],
  ["xdigit", "0-9A-Fa-f"],
]);

/** Properties that both sides know, besides scripts. Held against Rust code point by code point. */
const properties: ReadonlyMap<string, string> = new Map(
  (
    "L Lu Ll Lt Lm Lo LC M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Cn Co Cs Letter " +
    "Uppercase_Letter Lowercase_Letter Titlecase_Letter Modifier_Letter Other_Letter Cased_Letter Mark " +
    "Nonspacing_Mark Spacing_Mark Enclosing_Mark Combining_Mark Number Decimal_Number Letter_Number Other_Number " +
    "Punctuation Connector_Punctuation Dash_Punctuation Open_Punctuation Close_Punctuation Initial_Punctuation " +
    "Final_Punctuation Other_Punctuation Symbol Math_Symbol Currency_Symbol Modifier_Symbol Other_Symbol Separator " +
    "Space_Separator Line_Separator Paragraph_Separator Other Control Format Unassigned Private_Use Any Assigned " +
    "Alphabetic White_Space Uppercase Lowercase Emoji Emoji_Presentation Emoji_Modifier Emoji_Component Ideographic " +
    "ID_Start ID_Continue XID_Start Cased Math Dash Hex_Digit Variation_Selector Regional_Indicator Join_Control " +
    "Default_Ignorable_Code_Point Grapheme_Extend Case_Ignorable Soft_Dotted Quotation_Mark"
  )
    .split(" ")
    .map((name) => [plainName(name), name] as const),
);

/** Names are compared without case, spaces, hyphens and underscores. */
function plainName(name: string): string {
  return name.toLowerCase().replace(/[ _-]/g, "");
}

/** @throws {PatternError} for a name that is not known. */
export function posixBracket(name: string): CharacterSet {
  const source = name === "print" ? undefined : posix.get(name);
  if (name === "print") return union([remembered(posix.get("graph") as string), remembered("\\p{Zs}")]);
  if (source === undefined) throw new PatternError(`unknown bracket [:${name}:]`);
  return remembered(source);
}

/**
 * @param isAlone not inside of a class.
 * @throws {PatternError} for a name that is not known.
 */
export function property(name: string, isAlone: boolean): CharacterSet {
  const plain = plainName(name);
  if (plain === "word" && isAlone) return word;
  if (plain === "punct") return remembered("\\p{P}");
  if (posix.has(plain) || plain === "print") return posixBracket(plain);
  const known = properties.get(plain);
  if (known !== undefined) return remembered(`\\p{${known}}`);
  const script = name.toLowerCase().replace(/(?<![a-z])[a-z]/g, (letter) => letter.toUpperCase());
  try {
    return remembered(`\\p{Script=${script}}`);
  } catch {
    throw new PatternError(`unknown property ${name}`);
  }
}

/** `\w` in a class; by itself it has five superscripts and fractions more. */
export const wordInClass: CharacterSet = remembered(wordSource);
export const word: CharacterSet = remembered(`${wordSource}\\xb2\\xb3\\xb9\\xbc-\\xbe`);
export const digit: CharacterSet = remembered("\\p{Nd}");
export const space: CharacterSet = remembered("\\p{White_Space}");
export const hexDigit: CharacterSet = remembered("0-9A-Fa-f");
export const everything: CharacterSet = setOf(0, 0x10ffff);
export const notNewline: CharacterSet = new CharacterSet((codePoint) => codePoint !== 10);
export const newline: CharacterSet = new CharacterSet(
  (codePoint) =>
    (codePoint >= 10 && codePoint <= 13) ||
    codePoint === 0x85 ||
    codePoint === 0x2028 ||
    codePoint === 0x2029,
);

/** Characters that fold to several (CaseFolding.txt, status F): ß is ss. */
const foldToSeveral = remembered(
  "\\xdf\\u0130\\u0149\\u01f0\\u0390\\u03b0\\u0587\\u1e96-\\u1e9a\\u1e9e\\u1f50\\u1f52\\u1f54\\u1f56\\u1f80-\\u1faf" +
    "\\u1fb2-\\u1fb4\\u1fb6\\u1fb7\\u1fbc\\u1fc2-\\u1fc4\\u1fc6\\u1fc7\\u1fcc\\u1fd2\\u1fd3\\u1fd6\\u1fd7\\u1fe2-" +
    "\\u1fe4\\u1fe6\\u1fe7\\u1ff2-\\u1ff4\\u1ff6\\u1ff7\\u1ffc\\ufb00-\\ufb06\\ufb13-\\ufb17",
);

/** Whether a set, when case is ignored, would have to match strings of several characters. */
export function foldsToSeveral(set: CharacterSet): boolean {
  for (let codePoint = 0xdf; codePoint <= 0xfb17; codePoint += 1) {
    if (foldToSeveral.has(codePoint) && set.has(codePoint)) return true;
    if (codePoint === 0x587) codePoint = 0x1e95;
    if (codePoint === 0x1ffc) codePoint = 0xfaff;
  }
  return false;
}

/** A character in both cases, and in others that fold alike: k has K and the Kelvin sign. */
export function ignoringCase(first: number, last: number = first): CharacterSet {
  const expression = new RegExp(`^[\\u{${first.toString(16)}}-\\u{${last.toString(16)}}]$`, "iu");
  return new CharacterSet((codePoint) => {
    const character = String.fromCodePoint(codePoint);
    return asSeenByRegex(character) === character
      ? expression.test(character)
      : codePoint >= first && codePoint <= last;
  });
}
