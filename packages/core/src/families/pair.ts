import type { RawOutput } from "../contract/backend.js";
import type { EncodedQuery, EncodedSequence } from "../encoding/pair-encoder.js";
import { activate, readLogit, readVector } from "../score/head.js";
import type { Turns } from "../tokenizer/turns.js";
import {
  type CallProgress,
  type CheckedPair,
  cutOf,
  type Family,
  type FamilyResources,
  overflowing,
  type Stage,
  windowsOf,
} from "./family.js";

/** Cross-encoders and causal rerankers: one sequence a pair, one number a sequence. */
export const pairFamily: Family = function* (pairs, resources, progress) {
  // Tokenised once a call.
  const queries = new Map<string, EncodedQuery>();
  for (const { window, start } of windowsOf(pairs)) {
    yield pairStage(window, start, { resources, progress, queries });
  }
};

function pairStage(
  window: readonly CheckedPair[],
  start: number,
  call: {
    readonly resources: FamilyResources;
    readonly progress: CallProgress;
    readonly queries: Map<string, EncodedQuery>;
  },
): Stage {
  const { resources, progress, queries } = call;
  const { profile, pairEncoder, instruction } = resources;
  const sequences: EncodedSequence[] = [];
  const positions: number[] = [];
  const encodedQuery = function* (query: string): Turns<EncodedQuery> {
    const encoded = yield* pairEncoder.inTurns.encodeQuery(profile.queryPrefix + query, instruction);
    progress.noteQuery(encoded, query);
    queries.set(query, encoded);
    return encoded;
  };
  return {
    *encode() {
      for (const [offset, { query, text }] of window.entries()) {
        const encoded = queries.get(query) ?? (yield* encodedQuery(query));
        const sequence = yield* pairEncoder.inTurns.encodePair(encoded, profile.documentPrefix + text);
        progress.noteDocument(sequence, text);
        if (sequence.queryOverflow) {
          progress.put(start + offset, overflowing(sequence));
          progress.advance(1);
          yield undefined;
          continue;
        }
        if (sequence.truncatedQueryTokens > 0) progress.noteTruncatedQuery(start + offset);
        sequences.push(sequence);
        positions.push(start + offset);
        yield sequence;
      }
    },
    read(member, output, row) {
      const position = positions[member] as number;
      const sequence = sequences[member] as EncodedSequence;
      const logit = logitOf(resources, output, row, sequence.ids.length);
      progress.requireFinite(logit, position, (window[position - start] as CheckedPair).text);
      const score = activate(logit, profile.activation);
      progress.put(position, { logit, score, tokens: sequence.ids.length, ...cutOf(sequence) });
      progress.advance(1);
    },
  };
}

function logitOf(
  { profile: { head }, chain }: FamilyResources,
  output: RawOutput,
  row: number,
  length: number,
): number {
  if (head.kind !== "pooled-chain" || output.kind === "class-logits") return readLogit(head, output, row);
  const chained = chain(readVector(head.pooling, output, row, length));
  if (chained.length !== 1)
    throw new RangeError(`the head's last module gives ${chained.length} numbers instead of one`);
  return chained[0] as number;
}
