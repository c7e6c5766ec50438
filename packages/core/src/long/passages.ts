import type { ModelProfile } from "../contract/model-profile.js";
import type { LateEncoder } from "../encoding/late-encoder.js";
import type { EncodedQuery, EncodedSequence, PairEncoder } from "../encoding/pair-encoder.js";
import type { TextTokenizer } from "../tokenizer/tokenizer.js";
import type { Turns } from "../tokenizer/turns.js";
import { clusterEnd, clusterFloor } from "./clusters.js";
import { type Cut, endOfPassage, type IsInsideToken, longestToken, startsOfOverlap } from "./cuts.js";
import type { Chunking } from "./settings.js";

/** A part of a text, in UTF-16 code units: what `text.slice(start, end)` gives is scored. */
export interface Passage {
  readonly start: number;
  readonly end: number;
}

/** A document as it is scored. */
export interface Passages {
  /** In the order of the text; one that is the whole text where it fits, or where no cut would make it fit. */
  readonly passages: readonly Passage[];
  /** Tokens behind the last passage, at least; 0 where the text was read to its end. */
  readonly unreadTokens: number;
}

/** What passages are cut with. */
export interface PassageResources {
  readonly profile: Pick<
    ModelProfile,
    "family" | "queryPrefix" | "documentPrefix" | "maxLength" | "lateTemplate"
  >;
  readonly pairEncoder: PairEncoder;
  /** Of a late-interaction model. */
  readonly lateEncoder: LateEncoder | undefined;
  readonly tokenizer: TextTokenizer;
  readonly isInsideToken: IsInsideToken;
  /** `""` for none. */
  readonly instruction: string;
}

/** Tokens beside which a query leaves so little room that passages would say nothing. */
const leastRoom = 8;

/** Characters of a token, before a text has shown how many it has. */
const usualToken = 4;

/** How often the length of a passage is tried. Each try is closer by the number of tokens that the last one had. */
const tries = 12;

/** Starts of an overlap that are tried. */
const overlapTries = 8;

/** How much of a passage's room is enough. */
const wellFilled = 0.9;

/** Documents → passages that fit the model beside their query. For the queries of one call. */
export class PassageCutter {
  readonly #resources: PassageResources;
  readonly #chunking: Chunking;
  readonly #queries = new Map<string, Measure>();

  constructor(resources: PassageResources, chunking: Chunking) {
    this.#resources = resources;
    this.#chunking = chunking;
  }

  *cut(query: string, text: string): Turns<Passages> {
    const whole: Passages = { passages: [{ start: 0, end: text.length }], unreadTokens: 0 };
    let measure = this.#queries.get(query);
    if (measure === undefined) {
      measure = yield* this.#measureOf(query);
      this.#queries.set(query, measure);
    }
    const { room } = measure;
    if (room < leastRoom || text.length <= 1) return whole;
    // Of a document that the model has room for, nothing is cut by a wish for short passages.
    if ((yield* measure.tokensOf(text)).isWhole) return whole;
    return (yield* this.#passagesOf(text, measure)) ?? whole;
  }

  /** How many tokens a passage has beside a query, and whether all of them are kept. */
  *#measureOf(query: string): Turns<Measure> {
    const { profile, pairEncoder, lateEncoder, instruction } = this.#resources;
    const { documentPrefix, queryPrefix, lateTemplate } = profile;
    const maxLength = Math.min(profile.maxLength, lateTemplate?.maxDocumentTokens ?? profile.maxLength);
    let encode: (text: string) => Turns<EncodedSequence>;
    if (lateEncoder !== undefined) {
      encode = (text) => lateEncoder.inTurns.encodeDocument(documentPrefix + text);
    } else if (profile.family === "bi-encoder") {
      encode = (text) => pairEncoder.inTurns.encodeSingle(documentPrefix + text);
    } else {
      const encoded: EncodedQuery = yield* pairEncoder.inTurns.encodeQuery(queryPrefix + query, instruction);
      encode = (text) => pairEncoder.inTurns.encodePair(encoded, documentPrefix + text);
    }
    const empty = yield* encode("");
    const isCut = empty.queryOverflow || empty.truncatedQueryTokens > 0;
    const all = isCut ? 0 : maxLength - empty.ids.length;
    const room = Math.min(all, this.#chunking.passageTokens ?? all);
    return {
      room,
      *tokensOf(text) {
        const { ids, truncatedTokens, truncatedQueryTokens, queryOverflow } = yield* encode(text);
        const tokens = ids.length - empty.ids.length + truncatedTokens + truncatedQueryTokens;
        const isWhole = truncatedTokens === 0 && truncatedQueryTokens === 0 && !queryOverflow;
        return { tokens: Math.max(0, tokens), fits: isWhole && tokens <= room, isWhole };
      },
    };
  }

  *#passagesOf(text: string, measure: Measure): Turns<Passages | undefined> {
    const { tokenizer } = this.#resources;
    const { maxPassages } = this.#chunking;
    const passages: Passage[] = [];
    let start = 0;
    let done = 0;
    let charactersPerToken = usualToken;
    while (done < text.length && passages.length < maxPassages) {
      const { extent, tokens } = yield* this.#extentOf(text, start, charactersPerToken, measure);
      if (extent <= done && start < done) {
        // What is repeated leaves no room for anything new.
        start = done;
        continue;
      }
      if (tokens > 0) charactersPerToken = (extent - start) / tokens;
      const ended = yield* this.#endWithin(text, start, { done, extent }, measure);
      if (ended === undefined) {
        start = done;
        continue;
      }
      const { cut, passage } = ended;
      const before = passages.at(-1);
      done = cut.position;
      start = done;
      yield;
      // Nothing but white space, or nothing else beside what is repeated.
      if (passage === undefined || passage.end <= (before?.end ?? 0)) continue;
      passages.push(passage);
      if (done < text.length) start = yield* this.#nextStart(text, passage, cut, charactersPerToken, measure);
    }
    if (passages.length === 0) return undefined;
    const rest = text.slice(done);
    if (rest.trim() === "") return { passages, unreadTokens: 0 };
    const { truncatedTokens } = yield* tokenizer.encodeInTurns(rest, 0);
    return { passages, unreadTokens: Math.max(1, truncatedTokens) };
  }

  /**
   * How far a passage can go on that begins at `start`: an end of a cluster, near the last that fits. One cluster at
   * the least, also where that is too long: the model is given what it can take of it.
   */
  *#extentOf(
    text: string,
    start: number,
    charactersPerToken: number,
    { room, tokensOf }: Measure,
  ): Turns<{ readonly extent: number; readonly tokens: number }> {
    let fitting = start;
    let fittingTokens = 0;
    let failing = text.length + 1;
    let length = Math.ceil(room * charactersPerToken);
    for (let tried = 0; tried < tries; tried += 1) {
      const wanted = Math.min(start + Math.max(1, length), failing - 1, text.length);
      let end = yield* clusterFloor(text, start, wanted);
      if (end <= fitting) end = yield* clusterEnd(text, fitting);
      if (end >= failing) break;
      const { tokens, fits } = yield* tokensOf(text.slice(start, end));
      if (fits) {
        [fitting, fittingTokens] = [end, tokens];
        if (end >= text.length || tokens >= room * wellFilled) break;
        if (failing - fitting < (fitting - start) / 16) break;
        // A text that gives few tokens may go on in another way.
        length = Math.min((end - start) * 4, Math.floor(((end - start) * room * 0.97) / Math.max(1, tokens)));
        if (start + length <= end || start + length >= failing) length = middle(end, failing) - start;
      } else {
        failing = end;
        length = Math.floor(((end - start) * room * 0.97) / Math.max(1, tokens));
        if (start + length <= fitting || start + length >= failing) length = middle(fitting, failing) - start;
      }
    }
    if (fitting > start) return { extent: fitting, tokens: fittingTokens };
    return { extent: yield* clusterEnd(text, start), tokens: 0 };
  }

  /** Where a passage ends that fits, and what of it is not white space at its ends. */
  *#endWithin(
    text: string,
    start: number,
    { done, extent }: { readonly done: number; readonly extent: number },
    { tokensOf }: Measure,
  ): Turns<{ readonly cut: Cut; readonly passage: Passage | undefined } | undefined> {
    const { isInsideToken } = this.#resources;
    const least = Math.max(start, done);
    let last: { readonly cut: Cut; readonly passage: Passage | undefined } | undefined;
    for (let most = extent, tried = 0; tried < tries && most > least; tried += 1) {
      const cut: Cut | undefined =
        most >= text.length
          ? { position: text.length, kind: "sentence" }
          : yield* endOfPassage(text, start, { least, most }, isInsideToken);
      if (cut === undefined) break;
      const passage = yield* trimmed(text, start, cut.position);
      last = { cut, passage };
      if (passage === undefined) return last;
      if ((yield* tokensOf(text.slice(passage.start, passage.end))).fits) return last;
      // A part of a text may have more tokens than the whole: without the space before its first word, for example.
      most = Math.min(
        cut.position - 1,
        start + Math.floor(((cut.position - start) * (tries - tried)) / (tries + 1)),
      );
    }
    if (last !== undefined || start < done) return last;
    // An added token that fills a passage is not taken apart.
    let position = extent;
    const furthest = Math.min(text.length, extent + longestToken);
    while (position < furthest && isInsideToken(text, position)) position = yield* clusterEnd(text, position);
    if (position < text.length && isInsideToken(text, position)) position = extent;
    return { cut: { position, kind: "cluster" }, passage: yield* trimmed(text, start, position) };
  }

  *#nextStart(
    text: string,
    passage: Passage,
    end: Cut,
    charactersPerToken: number,
    { room }: Measure,
  ): Turns<number> {
    const { tokenizer, isInsideToken } = this.#resources;
    const overlap = Math.min(this.#chunking.overlapTokens, Math.floor(room / 2));
    if (overlap === 0) return end.position;
    const reach = Math.ceil(overlap * charactersPerToken);
    const least = Math.max(passage.start, end.position - reach - 1);
    const starts = yield* startsOfOverlap(text, passage.start, { least, end }, isInsideToken);
    for (const position of starts.slice(0, overlapTries)) {
      const part = text.slice(position, end.position);
      if (part.trim() === "") break;
      const { ids, truncatedTokens } = yield* tokenizer.encodeInTurns(part, overlap);
      if (ids.length + truncatedTokens <= overlap) return position;
    }
    return end.position;
  }
}

interface Measure {
  /** Most tokens of a passage. */
  readonly room: number;
  tokensOf(
    text: string,
  ): Turns<{ readonly tokens: number; readonly fits: boolean; readonly isWhole: boolean }>;
}

function middle(a: number, b: number): number {
  return Math.floor((a + b) / 2);
}

/** A passage without white space at its ends; undefined where there is nothing else. */
function* trimmed(text: string, start: number, end: number): Turns<Passage | undefined> {
  const part = text.slice(start, end);
  const inner = part.trim();
  if (inner === "") return undefined;
  const first = start + part.length - part.trimStart().length;
  const last = start + part.trimEnd().length;
  // A mark may stand on a space.
  const begin = yield* clusterFloor(text, start, first);
  const behind = yield* clusterFloor(text, begin, last);
  return { start: begin, end: behind === last ? last : end };
}
