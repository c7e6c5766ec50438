import type { EncodedSequence } from "../encoding/pair-encoder.js";
import { readVector } from "../score/head.js";
import { dot, normalize } from "../score/vector.js";
import {
  type CallProgress,
  type CheckedPair,
  cutOf,
  type Family,
  type FamilyResources,
  type Stage,
  windowsOf,
} from "./family.js";

/** Bi-encoders: a sequence a text, compared by the cosine of their vectors. Each query is embedded once a call. */
export const cosineFamily: Family = function* (pairs, resources, progress) {
  const known = new Map<string, Float64Array>();
  for (const { window, start } of windowsOf(pairs)) {
    const queries = [...new Set(window.map(({ query }) => query))].filter((query) => !known.has(query));
    yield vectorStage(queries, "query", {
      ...{ resources, progress, start: 0 },
      deliver: (index, vector) => known.set(queries[index] as string, vector),
    });
    const texts = window.map(({ text }) => text);
    yield vectorStage(texts, "document", {
      ...{ resources, progress, start },
      deliver: (index, vector, sequence) => {
        const { query, text } = window[index] as CheckedPair;
        const cosine = dot(known.get(query) as Float64Array, vector);
        progress.requireFinite(cosine, start + index, text);
        const tokens = sequence.ids.length;
        progress.put(start + index, { logit: cosine, score: cosine, tokens, ...cutOf(sequence) });
        progress.advance(1);
      },
    });
  }
};

/** Takes the L2-normalised vector of a text, in no particular order. */
export type DeliverVector = (index: number, vector: Float64Array, sequence: EncodedSequence) => void;

/** The vectors of texts, window by window; indices are positions in `texts`. */
export function* vectorStages(
  texts: readonly string[],
  as: "query" | "document",
  call: {
    readonly resources: FamilyResources;
    readonly progress: CallProgress;
    readonly deliver: DeliverVector;
  },
): Iterable<Stage> {
  const { resources, progress } = call;
  for (const { window, start } of windowsOf(texts)) {
    const deliver: DeliverVector = (index, vector, sequence) => call.deliver(start + index, vector, sequence);
    yield vectorStage(window, as, { resources, progress, start, deliver });
  }
}

function vectorStage(
  texts: readonly string[],
  as: "query" | "document",
  call: {
    readonly resources: FamilyResources;
    readonly progress: CallProgress;
    /** Position of the first text. */
    readonly start: number;
    /** Takes a text's index in `texts`. */
    readonly deliver: DeliverVector;
  },
): Stage {
  const { resources, progress, start, deliver } = call;
  const { profile, pairEncoder, chain } = resources;
  const { head, queryPrefix, documentPrefix } = profile;
  if (head.kind !== "cosine") throw new TypeError("a bi-encoder has a cosine head");
  const prefix = as === "query" ? queryPrefix : documentPrefix;
  const sequences: EncodedSequence[] = [];
  return {
    *encode() {
      for (const text of texts) {
        const sequence = yield* pairEncoder.inTurns.encodeSingle(prefix + text);
        if (as === "document") progress.noteDocument(sequence, text);
        else {
          progress.noteQuery(sequence, text);
          if (sequence.truncatedTokens > 0) progress.noteTruncatedQuery();
        }
        sequences.push(sequence);
        yield sequence;
      }
    },
    read(member, output, row) {
      const sequence = sequences[member] as EncodedSequence;
      const vector = normalize(chain(readVector(head.pooling, output, row, sequence.ids.length)));
      const position = as === "query" ? -1 : start + member;
      progress.requireFinite(dot(vector, vector), position, texts[member] as string);
      deliver(member, vector, sequence);
    },
  };
}
