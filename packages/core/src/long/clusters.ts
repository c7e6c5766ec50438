import type { Turns } from "../tokenizer/turns.js";

// Where a text may be cut without taking a user-perceived character (an extended grapheme cluster) apart.

const made = new Map<string, Intl.Segmenter>();

/** Made when it is needed, which takes milliseconds. The language is fixed, so that a host's own does not move a cut. */
export function segmenterOf(granularity: "grapheme" | "word" | "sentence"): Intl.Segmenter {
  const known = made.get(granularity) ?? new Intl.Segmenter("en", { granularity });
  made.set(granularity, known);
  return known;
}

/**
 * Letters, digits and marks of punctuation that join nothing to themselves: behind one of these there is an end, unless
 * what follows extends it. The scripts of most texts; a text of others is only read more slowly.
 */
const plain =
  /[\n\t\x20-\x7e\u00a1-\u00ac\u00ae-\u02af\u0370-\u03ff\u0400-\u0481\u048a-\u052f\u3001-\u3020\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uff01-\uff9d]/;

/** What belongs to the character before it. The two letters are Thai's and Lao's vowels that are no marks. */
const extending = /^(?:[\p{M}\p{Grapheme_Extend}\p{Emoji_Modifier}\u0e33\u0eb3]|\u200d)/u;

/** UTF-16 code units that are looked back for a certain end, and that the segmenter is given at once. */
const reach = 512;
const window = 2048;

/** Whether a position is an end of a cluster, as far as its neighbours alone tell. */
function isCertain(text: string, position: number): boolean {
  return (
    plain.test(text.charAt(position - 1)) &&
    !extending.test(String.fromCodePoint(text.codePointAt(position) as number))
  );
}

/**
 * The last end of a cluster at `position` or before it; `from` where there is none behind `from`.
 *
 * @param from an end of a cluster, e.g. 0.
 */
export function* clusterFloor(text: string, from: number, position: number): Turns<number> {
  if (position >= text.length) return text.length;
  if (position <= from) return from;
  let known = from;
  for (let near = position; near > from && near > position - reach; near -= 1) {
    if (!isCertain(text, near)) continue;
    known = near;
    break;
  }
  for (let length = window; known < position; ) {
    const part = partOf(text, known, length);
    const isWhole = known + part.length >= text.length;
    let last = 0;
    for (const { index } of segmenterOf("grapheme").segment(part)) {
      if (known + index > position) break;
      last = index;
    }
    // The last cluster of a part may go on behind it.
    const isOpen = !isWhole && known + part.length <= position;
    known += last;
    if (!isOpen) return known;
    if (last === 0) length *= 2;
    yield;
  }
  return known;
}

/** The first end of a cluster behind `from`, which is one. */
export function* clusterEnd(text: string, from: number): Turns<number> {
  for (let length = 64; ; length *= 2) {
    const part = partOf(text, from, length);
    const first = segmenterOf("grapheme").segment(part)[Symbol.iterator]().next().value?.segment.length ?? 0;
    if (from + part.length >= text.length || first < part.length) return from + first;
    yield;
  }
}

/** So many units of a text from a position on, and one more rather than half of a character. */
export function partOf(text: string, from: number, length: number): string {
  const end = from + length;
  const last = text.charCodeAt(end - 1);
  return text.slice(from, last >= 0xd800 && last <= 0xdbff ? end + 1 : end);
}

/**
 * A version of the rules of Unicode by which this host finds sentences, words and clusters: another may cut a text
 * elsewhere.
 */
export function segmenterVersion(): string {
  const { process, navigator } = globalThis as {
    readonly process?: { readonly versions?: { readonly icu?: string } };
    readonly navigator?: { readonly userAgent?: string };
  };
  return process?.versions?.icu ?? navigator?.userAgent ?? "unknown";
}
