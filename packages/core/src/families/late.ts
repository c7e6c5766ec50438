import type { LateTemplate } from "../contract/model-profile.js";
import type { EncodedSequence } from "../encoding/pair-encoder.js";
import { readStates } from "../score/head.js";
import { maxSim, normalizeToken, type TokenVectors } from "../score/max-sim.js";
import { dot } from "../score/vector.js";
import {
  type CallProgress,
  type CheckedPair,
  cutOf,
  type Family,
  type FamilyResources,
  type Stage,
  windowsOf,
} from "./family.js";

/**
 * Late interaction: a sequence a text and a vector a token, compared by MaxSim. Each query is embedded once a window,
 * and its vectors are let go with it: a query has many.
 */
export const lateFamily: Family = function* (pairs, resources, progress) {
  let known = new Map<string, TokenVectors>();
  for (const { window, start } of windowsOf(pairs)) {
    const wanted = new Set(window.map(({ query }) => query));
    known = new Map([...known].filter(([query]) => wanted.has(query)));
    const queries = [...wanted].filter((query) => !known.has(query));
    yield vectorsStage(queries, "query", {
      ...{ resources, progress, start: 0 },
      deliver: (index, vectors) => known.set(queries[index] as string, vectors),
    });
    const texts = window.map(({ text }) => text);
    yield vectorsStage(texts, "document", {
      ...{ resources, progress, start },
      deliver: (index, vectors, sequence) => {
        const { query, text } = window[index] as CheckedPair;
        const ofQuery = known.get(query) as TokenVectors;
        const logit = maxSim(ofQuery, vectors);
        progress.requireFinite(logit, start + index, text);
        const score = logit / ofQuery.length;
        progress.put(start + index, { logit, score, tokens: sequence.ids.length, ...cutOf(sequence) });
        progress.advance(1);
      },
    });
  }
};

function vectorsStage(
  texts: readonly string[],
  as: "query" | "document",
  call: {
    readonly resources: FamilyResources;
    readonly progress: CallProgress;
    /** Position of the first text. */
    readonly start: number;
    /** Takes a text's index in `texts`. */
    readonly deliver: (index: number, vectors: TokenVectors, sequence: EncodedSequence) => void;
  },
): Stage {
  const { resources, progress, start, deliver } = call;
  const { profile, lateEncoder: encoder, chain } = resources;
  const { head, lateTemplate: template, queryPrefix, documentPrefix } = profile;
  if (head.kind !== "max-sim" || template === undefined || encoder === undefined)
    throw new TypeError("a late-interaction model has a max-sim head and a late template");
  const isCompared = as === "query" ? () => true : comparedIds(template);
  const sequences: EncodedSequence[] = [];
  return {
    *encode() {
      for (const text of texts) {
        const sequence = yield* as === "query"
          ? encoder.inTurns.encodeQuery(queryPrefix + text)
          : encoder.inTurns.encodeDocument(documentPrefix + text);
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
      const position = as === "query" ? -1 : start + member;
      const states = readStates(output, row, sequence.ids.length);
      const missing = states.findIndex((state) => state.every((value) => value === 0));
      if (missing >= 0) {
        throw new RangeError(
          `the model's output has no vector for token ${missing + 1} of ${states.length}: a runtime that leaves masked ` +
            "tokens out cannot give those of a query's expansion",
        );
      }
      const vectors = states
        .filter((_, token) => isCompared(sequence.ids[token] as number))
        .map((state) => normalizeToken(chain(state)));
      for (const vector of vectors)
        progress.requireFinite(dot(vector, vector), position, texts[member] as string);
      deliver(member, vectors, sequence);
    },
  };
}

function comparedIds({ skipped }: LateTemplate): (id: number) => boolean {
  const hidden = new Set(skipped);
  return (id) => !hidden.has(id);
}
