import type { RawOutput } from "../contract/backend.js";
import type { ModelProfile } from "../contract/model-profile.js";
import type { PairScore } from "../contract/result.js";
import type { LateEncoder } from "../encoding/late-encoder.js";
import type { ListEncoder } from "../encoding/list-encoder.js";
import type { EncodedSequence, PairEncoder } from "../encoding/pair-encoder.js";
import type { HeadChain } from "../score/head-modules.js";

/** A pair whose texts are known to be strings. */
export interface CheckedPair {
  readonly query: string;
  readonly text: string;
}

/** What a family scores with: what all calls of a reranker share, and the call's instruction. */
export interface FamilyResources {
  readonly profile: ModelProfile;
  readonly pairEncoder: PairEncoder;
  /** Of a listwise model. */
  readonly listEncoder: ListEncoder | undefined;
  /** Of a late-interaction model. */
  readonly lateEncoder: LateEncoder | undefined;
  readonly chain: HeadChain;
  /** `""` for none. */
  readonly instruction: string;
}

/** A stage of a call: sequences are encoded, run together, and read as they come back. */
export interface Stage {
  /**
   * One item at a time, so that the call can give others a turn in between. An item is a sequence to run, or undefined
   * where a step of the encoding gives none, or where a long text is not done yet.
   */
  encode(): Iterable<EncodedSequence | undefined>;
  /**
   * Takes what came back for a sequence, in no particular order.
   *
   * @param member the sequence's place among those of `encode`.
   * @throws {RangeError} when the output is not what the head reads.
   */
  read(member: number, output: RawOutput, row: number): void;
  /** Makes scores of what was read. Called after the run, also after one that failed, and when the call is cut short. */
  conclude?(): void;
}

/** How a family scores: the stages of a call, in their order. A stage rests on what those before it have read. */
export type Family = (
  pairs: readonly CheckedPair[],
  resources: FamilyResources,
  progress: CallProgress,
) => Iterable<Stage>;

/** What a family tells the call that it works for. Positions are those of the pairs. */
export interface CallProgress {
  put(position: number, score: PairScore): void;
  /** So many more pairs are done. */
  advance(count: number): void;
  /** @throws {NonFiniteScoreError} @param position -1 for a query. */
  requireFinite(value: number, position: number, text: string): void;
  noteDocument(sequence: Pick<EncodedSequence, "illFormed">, text: string): void;
  noteQuery(sequence: Pick<EncodedSequence, "illFormed">, text: string): void;
  /** @param position of the pair; of a query by itself nothing, right after `noteQuery`. */
  noteTruncatedQuery(position?: number): void;
}

/** Pairs that are encoded, run and delivered together. Bounds memory whatever the number of documents. */
const windowSize = 1024;

/** The items in windows, each with the position of its first. */
export function* windowsOf<T>(items: readonly T[]): Iterable<{ window: readonly T[]; start: number }> {
  for (let start = 0; start < items.length; start += windowSize) {
    yield { window: items.slice(start, start + windowSize), start };
  }
}

/** What of a sequence's truncation goes into a score. */
export function cutOf(
  sequence: Pick<EncodedSequence, "truncatedTokens" | "truncatedTokensIsMinimum">,
): Pick<PairScore, "truncatedTokens" | "truncatedTokensIsMinimum"> {
  return {
    truncatedTokens: sequence.truncatedTokens,
    ...(sequence.truncatedTokensIsMinimum ? { truncatedTokensIsMinimum: true } : {}),
  };
}

/** The score of a pair whose query leaves no room for a document. */
export function overflowing(
  sequence: Pick<EncodedSequence, "truncatedTokens" | "truncatedTokensIsMinimum">,
): PairScore {
  return { logit: null, score: null, tokens: 0, ...cutOf(sequence), queryOverflow: true };
}
