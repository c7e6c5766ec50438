import { type InTurns, inOnePiece, inParts, partLength, seamAt, type Turns, withTurns } from "./turns.js";

/** What joins the character before it (Unicode Annex 29: Extend, ZWJ, SpacingMark), also in Unicode 17. */
const joining =
  "(?:[\\p{Grapheme_Extend}\\p{Emoji_Modifier}\\u1acf-\\u1add\\u1ae0-\\u1aeb\\u200d\\u0e33\\u0eb3]|(?![\\u102b\\u102c\\u1038\\u1062-\\u1064\\u1067-\\u106d\\u1083\\u1087-\\u108c\\u108f\\u109a-\\u109c\\u1a61\\u1a63\\u1a64\\uaa7b\\uaa7d\\u{11720}\\u{11721}])\\p{Mc})";
/** What joins the character after it (Prepend). */
const prepended =
  "[\\u0600-\\u0605\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u0d4e\\u{110bd}\\u{110cd}\\u{111c2}\\u{111c3}\\u{113d1}\\u{1193f}\\u{11941}\\u{11a84}-\\u{11a89}\\u{11d46}\\u{11f02}]";
const separate = "[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]";
const virama =
  "[\\u094d\\u09cd\\u0acd\\u0b4d\\u0c4d\\u0d4d\\u1039\\u17d2\\u1a60\\u1b44\\u1bab\\ua9c0\\uaaf6]";
/**
 * Emoji joined by ZWJ, and consonants joined by a virama, in a form without a second way to match the same marks: a
 * million of them must not take forever. Hangul and flags are too long to matter: see below.
 */
const sequence = `(?:\\p{Extended_Pictographic}(?:(?:(?!\\u200d)${joining})*\\u200d\\p{Extended_Pictographic})+|\\p{Lo}(?:(?:(?:(?!${virama})${joining})*${virama})+(?:(?!${virama})${joining})*\\p{Lo})+)`;
const core = `(?:${sequence}|(?!${prepended})(?!${separate})[^])`;
// A thousand, not any number: a regular expression would overflow its stack on millions of marks.
const cluster = `\\r\\n|(?:${prepended}{1,1000}${core}?|${core})${joining}{0,1000}|[^]`;

/**
 * Between two characters of which neither joins the other, whatever stands around them: the first a letter, number or
 * sign, the second none that joins what is before it.
 */
const betweenClusters = seamAt(
  new RegExp(
    `(?<=(?!${prepended})[\\p{L}\\p{N}\\p{P}\\p{S}\\p{Z}])(?!${joining})[\\p{L}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}]`,
    "gu",
  ),
);

/** Printable ASCII, which no clusters of one character and hardly any map change. */
const plain = /^[ -~]$/;

/** Remembered replacements; a text has few different characters. */
const rememberedClusters = 20_000;

/**
 * The normalizer `Precompiled`: SentencePiece's character map, a double-array trie over UTF-8 with the offsets of its
 * replacements, applied as Rust's tokenizers apply it (`normalizers/precompiled.rs`, `spm_precompiled` 0.1.4). A
 * grapheme cluster of less than six bytes is replaced as a whole by what its *shortest* known beginning stands for,
 * so that `²` with a variation selector loses the selector; longer ones are replaced character by character.
 *
 * @param base64 `precompiled_charsmap`.
 * @throws {Error} when it is damaged.
 */
export function createCharacterMap(base64: string): InTurns<[text: string], string> {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const trieBytes = bytes.length < 4 ? 0 : view.getUint32(0, true);
  if (trieBytes < 4 || trieBytes % 4 !== 0 || trieBytes > bytes.length - 4)
    throw new Error("precompiled_charsmap is damaged");
  const trie = Uint32Array.from({ length: trieBytes >> 2 }, (_, index) =>
    view.getUint32(4 + index * 4, true),
  );
  const replacements = bytes.subarray(4 + trieBytes);
  const encoder = new TextEncoder();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  const lookUp = (key: Uint8Array): string | undefined => {
    let node = offsetOf(trie[0] as number);
    for (const byte of key) {
      if (byte === 0) break;
      node ^= byte;
      const unit = trie[node] ?? 0;
      if ((unit & 0x800000ff) >>> 0 !== byte) return undefined;
      node ^= offsetOf(unit);
      if ((unit >>> 8) & 1) {
        const start = (trie[node] as number) & 0x7fffffff;
        const end = replacements.indexOf(0, start);
        return decoder.decode(replacements.subarray(start, end < 0 ? replacements.length : end));
      }
    }
    return undefined;
  };
  let remembered = new Map<string, string>();
  const replace = (text: string): string => {
    const found = remembered.get(text);
    if (found !== undefined) return found;
    const key = encoder.encode(text);
    const whole = key.length < 6 ? lookUp(key) : undefined;
    const characters = [...text];
    const replaced = whole ?? (characters.length > 1 ? characters.map(replace).join("") : text);
    if (remembered.size >= rememberedClusters) remembered = new Map();
    if (text.length < 8) remembered.set(text, replaced);
    return replaced;
  };
  // Almost always true, and then only what is not plain, or stands before something that is not, is looked at.
  const plainStays = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).every(
    (character) => replace(character) === character,
  );
  const pattern = new RegExp(plainStays ? `(?![ -~](?:[ -~]|$))(?:${cluster})` : cluster, "gu");
  const change = (cluster: string): string =>
    plainStays && plain.test(cluster) ? cluster : replace(cluster);
  return withTurns(
    (text) => text.replace(pattern, change),
    (text) =>
      inParts(
        text,
        (part) => (part.length < partLength * 4 ? part.replace(pattern, change) : replaced(part)),
        betweenClusters,
      ),
  );

  /** Cluster by cluster, for a text that falls apart nowhere. */
  function* replaced(text: string): Turns<string> {
    let out = "";
    let part = "";
    let copied = 0;
    pattern.lastIndex = 0;
    for (let found = pattern.exec(text); found !== null; found = pattern.exec(text)) {
      const end = pattern.lastIndex;
      part += text.slice(copied, found.index) + change(found[0]);
      copied = end;
      if (part.length >= partLength) {
        out += inOnePiece(part);
        part = "";
      }
      yield;
      pattern.lastIndex = end;
    }
    return out + part + text.slice(copied);
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
