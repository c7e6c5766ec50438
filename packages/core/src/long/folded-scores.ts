import type { RelevantSpan } from "../contract/long-documents.js";
import type { ModelProfile } from "../contract/model-profile.js";
import type { PairScore } from "../contract/result.js";
import type { CheckedPair } from "../families/family.js";
import { activate, scaleOf } from "../score/head.js";
import type { Passage, Passages } from "./passages.js";
import type { Chunking } from "./settings.js";

/** A passage of a pair's document, with its place in code points. */
interface Placed extends Passage {
  readonly startCodePoint: number;
  readonly endCodePoint: number;
}

/** The passages of a call's documents, which are scored as pairs, and how their scores become those of the documents. */
export class FoldedScores {
  /** One a passage, in the order of the pairs. */
  readonly pairs: CheckedPair[] = [];
  /** The pair that a passage is of, by position. */
  readonly owners: number[] = [];
  readonly #documents: { readonly placed: readonly Placed[]; readonly unreadTokens: number }[] = [];
  readonly #chunking: Chunking;
  readonly #profile: Pick<ModelProfile, "activation" | "head">;

  constructor(chunking: Chunking, profile: Pick<ModelProfile, "activation" | "head">) {
    this.#chunking = chunking;
    this.#profile = profile;
  }

  add({ query, text }: CheckedPair, { passages, unreadTokens }: Passages): void {
    const owner = this.#documents.length;
    this.#documents.push({ placed: placesOf(text, passages), unreadTokens });
    for (const { start, end } of passages) {
      this.owners.push(owner);
      this.pairs.push({ query, text: start === 0 && end === text.length ? text : text.slice(start, end) });
    }
  }

  /** Passages of a pair. */
  countOf(owner: number): number {
    return this.#documents[owner]?.placed.length ?? 0;
  }

  /**
   * One score a pair, for a pair all of whose passages have one: half of a document says nothing of the other half.
   *
   * @param scores by passage.
   */
  fold(scores: readonly (PairScore | undefined)[]): (PairScore | undefined)[] {
    let next = 0;
    return this.#documents.map(({ placed, unreadTokens }) => {
      const own = scores.slice(next, next + placed.length);
      next += placed.length;
      return own.every((score) => score !== undefined) ? this.#foldOne(own, placed, unreadTokens) : undefined;
    });
  }

  #foldOne(own: readonly PairScore[], placed: readonly Placed[], unreadTokens: number): PairScore {
    const [only] = own as readonly [PairScore];
    if (own.some(({ logit }) => logit === null)) {
      return own.find(({ logit }) => logit === null) as PairScore;
    }
    const order = own.map((_, passage) => passage).sort((a, b) => logitOf(own, b) - logitOf(own, a) || a - b);
    const { aggregate, top = 1, spans } = this.#chunking;
    const best = order.slice(0, top);
    const deciding = aggregate === "first" ? 0 : (best[0] as number);
    const { logit, score } =
      aggregate === "mean-of-top" ? this.#meanOf(own, best) : (own[deciding] as PairScore);
    const shown = aggregate === "first" ? [0, ...order.filter((passage) => passage !== 0)] : order;
    const truncatedTokens = own.reduce((sum, one) => sum + one.truncatedTokens, unreadTokens);
    const isMinimum = unreadTokens > 0 || own.some((one) => one.truncatedTokensIsMinimum);
    return {
      ...(own.length === 1 ? only : {}),
      logit,
      score,
      tokens: own.reduce((sum, { tokens }) => sum + tokens, 0),
      truncatedTokens,
      ...(isMinimum ? { truncatedTokensIsMinimum: true } : {}),
      passages: own.length,
      relevantSpans: shown.slice(0, spans).map((passage): RelevantSpan => {
        const { start, end, startCodePoint, endCodePoint } = placed[passage] as Placed;
        const one = own[passage] as PairScore;
        return {
          ...{ start, end, startCodePoint, endCodePoint },
          ...{ logit: one.logit as number, score: one.score as number },
        };
      }),
    };
  }

  #meanOf(own: readonly PairScore[], passages: readonly number[]): Pick<PairScore, "logit" | "score"> {
    const [first] = passages as readonly [number];
    if (passages.length === 1) return own[first] as PairScore;
    const mean = (numbers: readonly number[]): number =>
      numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
    const logit = mean(passages.map((passage) => logitOf(own, passage)));
    const scale = scaleOf(this.#profile);
    return {
      logit,
      // A cosine is the logit, or a share of it that all passages of a query have in common.
      score:
        scale === "cosine"
          ? mean(passages.map((passage) => own[passage]?.score ?? Number.NaN))
          : activate(logit, this.#profile.activation),
    };
  }
}

function logitOf(scores: readonly PairScore[], passage: number): number {
  return scores[passage]?.logit ?? Number.NEGATIVE_INFINITY;
}

/** Passages begin in ascending order, so that each is counted on from the one before. */
function placesOf(text: string, passages: readonly Passage[]): Placed[] {
  let from = 0;
  let before = 0;
  return passages.map(({ start, end }) => {
    before += codePoints(text, from, start);
    from = start;
    return { start, end, startCodePoint: before, endCodePoint: before + codePoints(text, start, end) };
  });
}

/** As `[...text.slice(start, end)].length`; half of a pair counts as one. */
function codePoints(text: string, start: number, end: number): number {
  let count = end - start;
  for (let index = start + 1; index < end; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit < 0xdc00 || unit > 0xdfff) continue;
    const previous = text.charCodeAt(index - 1);
    if (previous >= 0xd800 && previous <= 0xdbff) count -= 1;
  }
  return count;
}
