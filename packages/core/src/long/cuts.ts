import type { Turns } from "../tokenizer/turns.js";
import { clusterFloor, partOf, segmenterOf } from "./clusters.js";

// Where a passage of a text ends, and where the next one begins.

/** UTF-16 code units before a limit in which the end of a sentence or of a word is looked for. */
const reach = 8192;

/** Units behind a limit that a segmenter sees too: what follows may join to what is before. */
const ahead = 16;

/** A place where a text may be cut. */
export interface Cut {
  readonly position: number;
  readonly kind: "sentence" | "word" | "cluster";
}

/** Whether a position lies within an added token of the tokenizer, which reads it as one. */
export type IsInsideToken = (text: string, position: number) => boolean;

/**
 * The best end of a passage: the last end of a sentence in the last three quarters of what there is room for, else of a
 * word in its second half, else of a character.
 *
 * @param from where the passage begins, an end of a cluster.
 * @param bounds the end is greater than `least` and at most `most`.
 */
export function* endOfPassage(
  text: string,
  from: number,
  { least, most }: { readonly least: number; readonly most: number },
  isInside: IsInsideToken,
): Turns<Cut | undefined> {
  const room = most - from;
  const quarter = Math.max(least, from + Math.floor(room / 4));
  const sentence = yield* firstThatHolds(
    text,
    from,
    (yield* endsOf("sentence", text, from, { least: quarter, most })).reverse(),
    isInside,
  );
  if (sentence !== undefined) return { position: sentence, kind: "sentence" };
  const half = Math.max(least, from + Math.floor(room / 2));
  const word = yield* firstThatHolds(
    text,
    from,
    (yield* endsOf("word", text, from, { least: half, most })).reverse(),
    isInside,
  );
  if (word !== undefined) return { position: word, kind: "word" };
  const cluster = yield* clusterBefore(text, from, { least, most }, isInside);
  return cluster === undefined ? undefined : { position: cluster, kind: "cluster" };
}

/**
 * Places where a passage may begin that repeats the end of the one before it, the earliest first: of sentences where
 * the passage ended with one, else of words, else of characters.
 *
 * @param from where the passage before begins, an end of a cluster.
 */
export function* startsOfOverlap(
  text: string,
  from: number,
  { least, end }: { readonly least: number; readonly end: Cut },
  isInside: IsInsideToken,
): Turns<readonly number[]> {
  const bounds = { least, most: end.position - 1 };
  const ofSentences = yield* endsOf("sentence", text, from, bounds);
  if (ofSentences.length > 0 || end.kind === "sentence")
    return yield* allThatHold(text, from, ofSentences, isInside);
  const ofWords = yield* allThatHold(text, from, yield* endsOf("word", text, from, bounds), isInside);
  if (ofWords.length > 0) return ofWords;
  const first = yield* clusterBefore(text, from, { least: from, most: least + 1 }, isInside);
  return first === undefined || first <= from ? [] : [first];
}

/** Ends of sentences or words in a range, ascending. */
function* endsOf(
  of: "sentence" | "word",
  text: string,
  from: number,
  { least, most }: { readonly least: number; readonly most: number },
): Turns<number[]> {
  // What is found depends little on where the search begins, and a search from the start of a long text is slow.
  const start = yield* clusterFloor(text, from, Math.max(least, most - reach));
  const part = partOf(text, start, most - start + ahead);
  const ends: number[] = [];
  for (const { index } of segmenterOf(of).segment(part)) {
    const position = start + index;
    if (position > most) break;
    if (index > 0 && position > least) ends.push(position);
  }
  yield;
  return ends;
}

/** Cuts that are tried: where these are all inside of something, others are too. */
const tries = 32;

function* firstThatHolds(
  text: string,
  from: number,
  positions: readonly number[],
  isInside: IsInsideToken,
): Turns<number | undefined> {
  for (const position of positions.slice(0, tries)) {
    if (yield* holds(text, from, position, isInside)) return position;
  }
  return undefined;
}

function* allThatHold(
  text: string,
  from: number,
  positions: readonly number[],
  isInside: IsInsideToken,
): Turns<number[]> {
  const held: number[] = [];
  for (const position of positions.slice(-tries)) {
    if (yield* holds(text, from, position, isInside)) held.push(position);
  }
  return held;
}

function* holds(text: string, from: number, position: number, isInside: IsInsideToken): Turns<boolean> {
  return (yield* clusterFloor(text, from, position)) === position && !isInside(text, position);
}

/**
 * The last cut between characters in a range. Where added tokens lie across every place for longer than any of them is,
 * as in a thousand line ends of a tokenizer that has tokens of many, the last place is taken.
 */
function* clusterBefore(
  text: string,
  from: number,
  { least, most }: { readonly least: number; readonly most: number },
  isInside: IsInsideToken,
): Turns<number | undefined> {
  let last: number | undefined;
  for (let limit = most; limit > most - 2 * longestToken; ) {
    const position = yield* clusterFloor(text, from, limit);
    if (position <= least) return last;
    if (!isInside(text, position)) return position;
    last ??= position;
    limit = position - 1;
  }
  return last;
}

/** Characters of an added token that a cut is moved out of; a longer one is no word of a text. */
export const longestToken = 128;
