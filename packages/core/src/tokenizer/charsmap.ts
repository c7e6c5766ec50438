import { joining, prepended, separate, virama } from "./cluster-characters.js";
import { createLongClusters, joinsMoreThan } from "./long-clusters.js";
import { finish, type InTurns, inParts, partLength, seamAt, withTurns } from "./turns.js";

/**
 * Emoji joined by ZWJ, and consonants joined by a virama, in a form without a second way to match the same marks: a
 * million of them must not take forever. Hangul and flags are too long to matter: see below.
 */
const sequence = `(?:\\p{Extended_Pictographic}(?:(?:(?!\\u200d)${joining})*\\u200d\\p{Extended_Pictographic})+|\\p{Lo}(?:(?:(?:(?!${virama})${joining})*${virama})+(?:(?!${virama})${joining})*\\p{Lo})+)`;
const core = `(?:${sequence}|(?!${prepended})(?!${separate})[^])`;
/** Not any number: a regular expression would overflow its stack on millions of marks. More are long-clusters.ts's. */
const mostJoined = 1000;
const cluster = `\\r\\n|(?:${prepended}{1,${mostJoined}}${core}?|${core})${joining}{0,${mostJoined}}|[^]`;

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
  const bytes = bytesOf(base64);
  const view = new DataView(bytes.buffer);
  const trieBytes = bytes.length < 4 ? 0 : view.getUint32(0, true);
  if (trieBytes < 4 || trieBytes % 4 !== 0 || trieBytes > bytes.length - 4)
    throw new Error("precompiled_charsmap is damaged");
  const trie = new Uint32Array(trieBytes >> 2);
  for (let unit = 0; unit < trie.length; unit += 1) trie[unit] = view.getUint32(4 + unit * 4, true);
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
  const longClusters = createLongClusters(replace);
  const isLong = (text: string): boolean =>
    text.length > mostJoined / 2 && (text.length >= partLength * 4 || joinsMoreThan(mostJoined / 2, text));
  return withTurns(
    (text) => (isLong(text) ? finish(longClusters(text)) : text.replace(pattern, change)),
    (text) =>
      inParts(
        text,
        (part) => (isLong(part) ? longClusters(part) : part.replace(pattern, change)),
        betweenClusters,
      ),
  );
}

/** In a plain loop: a map is a quarter of a million bytes, and `from` with a function takes ten times as long. */
function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < bytes.length; index += 1) bytes[index] = text.charCodeAt(index);
  return bytes;
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
