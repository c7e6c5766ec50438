import { createHash } from "node:crypto";
import { compareBytes } from "../metrics/ranking.js";
import type { Qrels, Run } from "../metrics/trec-data.js";
import type { CandidateList, Candidates, Task } from "./task.js";

/** Candidates with their hash; the lists must be as {@link CandidateList} says. */
export function createCandidates(facts: {
  origin: string;
  ranked: boolean;
  queries: ReadonlyMap<string, CandidateList>;
}): Candidates {
  const hash = createHash("sha256");
  for (const query of [...facts.queries.keys()].sort(compareBytes)) {
    hash.update(`${JSON.stringify([query, facts.queries.get(query)?.documents])}\n`);
  }
  return { ...facts, sha256: hash.digest("hex") };
}

/** The first stage's own order as a run, for its row in a report. */
export function candidatesRun(candidates: Candidates): Run {
  return new Map(
    Array.from(candidates.queries, ([query, { documents, scores }]) => [
      query,
      new Map(documents.map((document, index) => [document, scores[index] ?? 0])),
    ]),
  );
}

/** The documents of one query with all scores 0, by id descending: an order that knows nothing of relevance. */
export function unrankedList(documents: Iterable<string>): CandidateList {
  const sorted = [...documents].sort((left, right) => compareBytes(right, left));
  return { documents: sorted, scores: new Float64Array(sorted.length) };
}

/**
 * The task with its first `count` queries alone, and their candidates and judgements. Documents stay all, so that a
 * first stage finds what it finds in the whole task. Dispose of the original.
 */
export function limitQueries(task: Task, count: number): Task {
  if (count >= task.queries.size) return task;
  const kept = new Set([...task.queries.keys()].slice(0, count));
  const only = <Value>(map: ReadonlyMap<string, Value>): Map<string, Value> =>
    new Map([...map].filter(([query]) => kept.has(query)));
  return {
    ...task,
    queries: only(task.queries),
    qrels: only(task.qrels),
    candidates:
      task.candidates === undefined
        ? undefined
        : createCandidates({ ...task.candidates, queries: only(task.candidates.queries) }),
    [Symbol.asyncDispose]: () => task[Symbol.asyncDispose](),
  };
}

/**
 * Ordered lists without scores, as MTEB's `top_ranked`: the scores are 0, -1, -2 and so on. Where every query lists all
 * its relevant documents first, the lists were made from the judgements and are no ranking (MTEB's converted
 * reranking sets): taken as one, it would be a first stage without a fault and decide ties for the positives.
 */
export function candidatesFromLists(
  lists: ReadonlyMap<string, readonly string[]>,
  qrels: Qrels,
): { queries: Map<string, CandidateList>; ranked: boolean } {
  let telling = 0;
  let sorted = 0;
  for (const [query, documents] of lists) {
    const relevant = documents.map((document) => (qrels.get(query)?.get(document) ?? 0) > 0);
    if (!relevant.includes(true) || !relevant.includes(false)) continue;
    telling += 1;
    if (relevant.indexOf(false) > relevant.lastIndexOf(true)) sorted += 1;
  }
  const ranked = telling > 0 && sorted < telling;
  const queries = new Map(
    Array.from(lists, ([query, documents]) => [
      query,
      ranked
        ? { documents, scores: Float64Array.from(documents, (_, index) => 0 - index) }
        : unrankedList(documents),
    ]),
  );
  return { queries, ranked };
}
