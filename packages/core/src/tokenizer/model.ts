import type { CheckedModel, ModelJson, VocabularyEntries } from "./model-json.js";
import { TokenTrie } from "./trie.js";
import { betweenCharacters, finish, type InTurns, partLength, type Turns, withTurns } from "./turns.js";

/** Appends the ids of one word (one piece of the pre-tokenizer; never empty) to `ids`. */
export type WordModel = InTurns<[word: string, ids: number[]], void>;

/** As a {@link WordModel} in turns. */
type WordWork = WordModel["inTurns"];

/** Words and their ids that are remembered; texts repeat themselves. */
const rememberedWords = 20_000;
const rememberedLength = 48;

/**
 * The model of tokenizer.json, as in Rust's tokenizers 0.23.3 (`src/models`). `hidden` are vocabulary entries that
 * no text may become: they keep their ids and weigh in Unigram's lowest score, but match nothing.
 */
export function createWordModel(json: CheckedModel, hidden: ReadonlySet<string>): WordModel {
  const encode = create(json, hidden);
  let remembered = new Map<string, readonly number[]>();
  return withTurns((word, ids) => {
    if (word.length > rememberedLength) return finish(encode(word, ids));
    let found = remembered.get(word);
    if (found === undefined) {
      const fresh: number[] = [];
      finish(encode(word, fresh));
      found = fresh;
      if (remembered.size >= rememberedWords) remembered = new Map();
      remembered.set(word, found);
    }
    for (const id of found) ids.push(id);
  }, encode);
}

function create(json: CheckedModel, hidden: ReadonlySet<string>): WordWork {
  const { type, vocab } = json;
  if (type === "Unigram") return createUnigram(json, vocab as readonly (readonly [string, number])[], hidden);
  const byToken = vocab as Readonly<Record<string, number>>;
  const unknown =
    typeof json.unk_token === "string" && Object.hasOwn(byToken, json.unk_token)
      ? byToken[json.unk_token]
      : undefined;
  const entries = visibleAmong(json.entries as VocabularyEntries, hidden);
  if (type === "WordPiece") return createWordPiece(json, entries, unknown);
  const ids = new Map<string, number>();
  for (let index = 0; index < entries.tokens.length; index += 1)
    ids.set(entries.tokens[index] as string, entries.ids[index] as number);
  switch (type) {
    case "BPE":
      return createBytePair(json, ids, unknown);
    default: {
      // biome-ignore lint/correctness/useYield: there is nothing to interrupt
      return function* (word, out) {
        out.push(ids.get(word) ?? required(unknown));
      };
    }
  }
}

/** Without the hidden ones. */
function visibleAmong(entries: VocabularyEntries, hidden: ReadonlySet<string>): VocabularyEntries {
  const tokens: string[] = [];
  const ids: number[] = [];
  for (let index = 0; index < entries.tokens.length; index += 1) {
    const token = entries.tokens[index] as string;
    if (hidden.has(token)) continue;
    tokens.push(token);
    ids.push(entries.ids[index] as number);
  }
  return { tokens, ids: new Int32Array(ids) };
}

/** A text that a tokenizer has no ids for. */
export class UnknownTextError extends Error {}

/** Rust refuses such a text too (`MissingUnkToken`, `MissingUnkId`). */
function required(unknown: number | undefined): number {
  if (unknown === undefined) {
    throw new UnknownTextError(
      "a text holds something that the vocabulary lacks, and the model has no unknown token in its vocabulary",
    );
  }
  return unknown;
}

/** Longest match first; a word that is too long or does not come out even is unknown as a whole. */
function createWordPiece(json: ModelJson, entries: VocabularyEntries, unknown: number | undefined): WordWork {
  const beginnings = new TokenTrie();
  beginnings.setLater(entries.tokens, entries.ids);
  const continuations = continuationsOf(entries, json.continuing_subword_prefix ?? "##");
  const longest = json.max_input_chars_per_word ?? 100;

  return function* (word, ids) {
    const count = ids.length;
    let start = isLongerThan(word, longest) ? -1 : 0;
    for (let pieces = 1; start >= 0 && start < word.length; pieces += 1) {
      if (pieces % piecesATurn === 0) yield;
      const trie = start === 0 ? beginnings : continuations;
      trie.reach(word, start);
      let node = 0;
      let end = -1;
      for (let position = start; position < word.length; position += 1) {
        node = trie.step(node, word.charCodeAt(position));
        if (node === 0) break;
        const id = trie.values[node] as number;
        if (id < 0) continue;
        ids[end < 0 ? ids.length : ids.length - 1] = id;
        end = position + 1;
      }
      start = end;
    }
    if (start < 0) {
      ids.length = count;
      ids.push(required(unknown));
    }
  };
}

/** The tokens that go on in a word, without what marks them. */
function continuationsOf({ tokens, ids }: VocabularyEntries, prefix: string): TokenTrie {
  const rests: string[] = [];
  const own: number[] = [];
  for (let index = 0; index < tokens.length; index += 1) {
    const token = tokens[index] as string;
    if (!token.startsWith(prefix)) continue;
    rests.push(token.slice(prefix.length));
    own.push(ids[index] as number);
  }
  const trie = new TokenTrie();
  trie.setLater(rests, own);
  return trie;
}

/** Pieces, or characters, of one word that are worked on between two turns. */
const piecesATurn = 4096;

/** Characters are code points. */
function isLongerThan(word: string, characters: number): boolean {
  return word.length > characters && (word.length > characters * 2 || [...word].length > characters);
}

/** What an unknown character costs beside the worst piece (`K_UNK_PENALTY`). */
const unknownPenalty = 10;

/** The best-scored segmentation; of two equal ones the first found (`encode_optimized` of `unigram/model.rs`). */
function createUnigram(
  json: ModelJson,
  vocab: readonly (readonly [string, number])[],
  hidden: ReadonlySet<string>,
): WordWork {
  const trie = new TokenTrie();
  let lowest = Number.POSITIVE_INFINITY;
  const scores = new Float64Array(vocab.length);
  const tokens: string[] = [];
  const ids: number[] = [];
  for (let id = 0; id < vocab.length; id += 1) {
    const [token, score] = vocab[id] as readonly [string, number];
    scores[id] = score;
    if (score < lowest) lowest = score;
    if (token === "" || hidden.has(token)) continue;
    tokens.push(token);
    ids.push(id);
  }
  trie.setLater(tokens, ids);
  const unknownScore = lowest - unknownPenalty;
  const unknown = json.unk_id ?? undefined;
  const idOf = (token: string): number => {
    trie.reach(token, 0);
    return trie.values[trie.walk(token)] ?? -1;
  };
  const bytes = json.byte_fallback ? readByteTokens(idOf) : undefined;

  return function* (word, ids) {
    const length = word.length;
    const best = new Float64Array(length + 1);
    const from = new Int32Array(length + 1).fill(-1);
    const piece = new Int32Array(length + 1);
    const offer = (end: number, score: number, start: number, id: number): void => {
      if (from[end] !== -1 && !(score > (best[end] as number))) return;
      best[end] = score;
      from[end] = start;
      piece[end] = id;
    };
    for (let start = 0, pieces = 1; start < length; pieces += 1) {
      if (pieces % piecesATurn === 0) yield;
      const next = start + unitsAt(word, start);
      const here = best[start] as number;
      let single = false;
      trie.reach(word, start);
      let node = 0;
      for (let end = start + 1; end <= length; end += 1) {
        node = trie.step(node, word.charCodeAt(end - 1));
        if (node === 0) break;
        const id = trie.values[node] as number;
        if (id < 0) continue;
        offer(end, (scores[id] as number) + here, start, id);
        if (end === next) single = true;
      }
      if (!single) offer(next, unknownScore + here, start, unknown ?? -1);
      start = next;
    }

    const path: number[] = [];
    let pieces = 1;
    for (let end = length; end > 0; pieces += 1) {
      if (pieces % piecesATurn === 0) yield;
      let start = from[end] as number;
      const id = piece[end] as number;
      if (id === (unknown ?? -1)) {
        for (; start > 0 && piece[start] === id; pieces += 1) {
          if (pieces % piecesATurn === 0) yield;
          start = from[start] as number;
        }
        const text = word.slice(start, end);
        // The unknown token itself, spelled out, is no unknown.
        const fallback = bytes && idOf(text) < 0 ? yield* toByteIdsInTurns(text, bytes) : undefined;
        if (fallback === undefined) path.push(required(unknown));
        else {
          for (let index = fallback.length - 1; index >= 0; index -= 1) {
            path.push(fallback[index] as number);
            if (index % partLength === partLength - 1) yield;
          }
        }
      } else {
        path.push(id);
      }
      end = start;
    }
    for (let index = path.length - 1; index >= 0; index -= 1) {
      ids.push(path[index] as number);
      if (index % partLength === partLength - 1) yield;
    }
  };
}

/** Pairs and positions share one double, so neither may outgrow its half; both are far below in any vocabulary. */
const pairBase = 2 ** 24;
const positionBase = 2 ** 28;

/** Merges by rank, then from the left (`bpe/model.rs`, `bpe/word.rs`). */
function createBytePair(
  json: ModelJson,
  vocab: ReadonlyMap<string, number>,
  unknown: number | undefined,
): WordWork {
  const prefix = json.continuing_subword_prefix ?? "";
  const suffix = json.end_of_word_suffix ?? "";
  const ranks = new Map<number, number>();
  const merged: number[] = [];
  for (const merge of json.merges ?? []) {
    if (typeof merge === "string" && merge.startsWith("#version")) continue;
    const [left = "", right = ""] = typeof merge === "string" ? merge.split(" ") : merge;
    const ids = [vocab.get(left), vocab.get(right), vocab.get(left + right.slice(prefix.length))];
    // A merge into a hidden token, or of one, cannot happen.
    const rank = merged.push(ids[2] ?? -1) - 1;
    if (ids[0] === undefined || ids[1] === undefined || ids[2] === undefined) continue;
    ranks.set(ids[0] * pairBase + ids[1], rank);
  }
  const bytes = json.byte_fallback ? readByteTokens((token) => vocab.get(token) ?? -1) : undefined;

  /** The word's characters, bytes of characters and unknowns, before any merge. */
  const split = function* (word: string): Turns<number[]> {
    const symbols: number[] = [];
    let pending = 0;
    const flush = (): void => {
      for (; pending > 0; pending -= 1) symbols.push(required(unknown));
    };
    for (let start = 0, characters = 1; start < word.length; characters += 1) {
      if (characters % piecesATurn === 0) yield;
      const end = start + unitsAt(word, start);
      let character = word.slice(start, end);
      if (start > 0) character = prefix + character;
      if (end === word.length) character += suffix;
      start = end;
      const id = vocab.get(character);
      if (id !== undefined) {
        flush();
        symbols.push(id);
        continue;
      }
      // Rust lets the bytes overtake an unknown that is still open.
      const fallback = bytes && toByteIds(character, bytes);
      if (fallback) for (const byte of fallback) symbols.push(byte);
      else if (typeof json.unk_token === "string") {
        if (!json.fuse_unk) flush();
        pending = 1;
      }
    }
    flush();
    return symbols;
  };

  return function* (word, ids) {
    const whole = json.ignore_merges ? vocab.get(word) : undefined;
    if (whole !== undefined) {
      ids.push(whole);
      return;
    }
    const symbols = yield* split(word);
    yield* merge(symbols, ranks, merged);
    for (let index = 0; index < symbols.length; index += 1) {
      const id = symbols[index] as number;
      if (id >= 0) ids.push(id);
      if (index % partLength === partLength - 1) yield;
    }
  };
}

/** Merges in place; what has been merged into its left neighbour becomes −1. */
function* merge(
  symbols: number[],
  ranks: ReadonlyMap<number, number>,
  merged: readonly number[],
): Turns<void> {
  const count = symbols.length;
  const next = new Int32Array(count);
  const previous = new Int32Array(count);
  for (let position = 0; position < count; position += 1) {
    next[position] = position + 1;
    previous[position] = position - 1;
  }
  const rankAt = (position: number): number | undefined => {
    const right = next[position] as number;
    return right < count
      ? ranks.get((symbols[position] as number) * pairBase + (symbols[right] as number))
      : undefined;
  };
  const heap: number[] = [];
  const offer = (position: number): void => {
    const rank = rankAt(position);
    if (rank !== undefined) push(heap, rank * positionBase + position);
  };
  for (let position = 0; position < count - 1; position += 1) {
    offer(position);
    if (position % piecesATurn === piecesATurn - 1) yield;
  }

  for (let done = 1; heap.length > 0; done += 1) {
    if (done % piecesATurn === 0) yield;
    const top = pop(heap);
    const rank = Math.floor(top / positionBase);
    const position = top - rank * positionBase;
    // Outdated: the left one is gone, or has another right neighbour by now.
    if (symbols[position] === -1 || rankAt(position) !== rank) continue;
    const right = next[position] as number;
    symbols[position] = merged[rank] as number;
    symbols[right] = -1;
    const after = next[right] as number;
    next[position] = after;
    if (after < count) {
      previous[after] = position;
      offer(position);
    }
    const before = previous[position] as number;
    if (before >= 0) offer(before);
  }
}

/** A binary heap, smallest first. */
function push(heap: number[], value: number): void {
  let child = heap.push(value) - 1;
  while (child > 0) {
    const parent = (child - 1) >> 1;
    const above = heap[parent] as number;
    if (above <= value) break;
    heap[child] = above;
    child = parent;
  }
  heap[child] = value;
}

function pop(heap: number[]): number {
  const top = heap[0] as number;
  const value = heap.pop() as number;
  const count = heap.length;
  if (count === 0) return top;
  let parent = 0;
  for (let child = 1; child < count; child = parent * 2 + 1) {
    if (child + 1 < count && (heap[child + 1] as number) < (heap[child] as number)) child += 1;
    if ((heap[child] as number) >= value) break;
    heap[parent] = heap[child] as number;
    parent = child;
  }
  heap[parent] = value;
  return top;
}

/** `<0x00>` … `<0xFF>`; −1 for those that the vocabulary lacks. */
function readByteTokens(idOf: (token: string) => number): readonly number[] {
  return Array.from({ length: 256 }, (_, byte) =>
    idOf(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
  );
}

/** Undefined when one of the bytes has no token: then the character is unknown. */
function toByteIds(text: string, bytes: readonly number[]): number[] | undefined {
  const ids = Array.from(new TextEncoder().encode(text), (byte) => bytes[byte] as number);
  return ids.includes(-1) ? undefined : ids;
}

function* toByteIdsInTurns(text: string, bytes: readonly number[]): Turns<number[] | undefined> {
  const ids: number[] = [];
  for (let start = 0; start < text.length; ) {
    const end = betweenCharacters(text, start + partLength);
    const part = toByteIds(text.slice(start, end), bytes);
    if (part === undefined) return undefined;
    for (const id of part) ids.push(id);
    start = end;
    if (start < text.length) yield;
  }
  return ids;
}

/** UTF-16 code units of the character at a position. */
function unitsAt(text: string, position: number): number {
  const unit = text.charCodeAt(position);
  return unit >= 0xd800 && unit <= 0xdbff ? 2 : 1;
}
