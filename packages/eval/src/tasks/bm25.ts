import { InvalidInputError } from "@crossrank/core";
import { compareBytes } from "../metrics/ranking.js";
import { createCandidates } from "./candidates.js";
import type { DocumentStore } from "./document-store.js";
import { refusePool } from "./pool.js";
import { type CandidateList, candidateWarnings, type Task } from "./task.js";

export interface FirstStageOptions {
  /** Candidates a query, at most. Default 100. */
  readonly depth?: number | undefined;
  /** Saturation of term frequency. Default 0.9. */
  readonly k1?: number | undefined;
  /** Weight of document length, 0 to 1. Default 0.4. */
  readonly b?: number | undefined;
  /**
   * Leaves the document out that has the query's id. Wanted for ArguAna and Quora, whose queries are documents
   * (BEIR's `ignore_identical_ids`); wrong where equal ids are chance. Default false.
   */
  readonly excludeIdenticalIds?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the number of documents read. */
  readonly onProgress?: ((documents: number) => void) | undefined;
}

/**
 * The task with BM25's best documents of every query as candidates, in place of its own if it has any. Dispose of the
 * original. A query without any term in the corpus gets no candidates.
 *
 * @throws {TaskDataError} for a pool, most of whose documents a search of these texts could not find.
 */
export async function withFirstStage(task: Task, options: FirstStageOptions = {}): Promise<Task> {
  const { depth = 100, k1 = defaultK1, b = defaultB, excludeIdenticalIds = false } = options;
  refusePool(task);
  const queries = await searchBm25(task.documents, task.queries, options);
  const without = excludeIdenticalIds ? ", identical ids excluded" : "";
  const missing = [...task.queries.keys()].filter((query) => !queries.has(query));
  return {
    ...task,
    candidates: createCandidates({
      origin: `BM25 (k1 ${k1}, b ${b}, top ${depth}${without})`,
      ranked: true,
      queries,
    }),
    warnings: [
      ...task.warnings.filter(({ code }) => !candidateWarnings.has(code)),
      ...(missing.length === 0
        ? []
        : [
            {
              code: "queries-without-candidates" as const,
              count: missing.length,
              message: `${missing.length} queries share no word with the corpus and count 0 (e.g. ${missing.slice(0, 3).join(", ")}).`,
            },
          ]),
    ],
    [Symbol.asyncDispose]: () => task[Symbol.asyncDispose](),
  };
}

const defaultK1 = 0.9;
const defaultB = 0.4;

/**
 * Words, lower-cased: runs of letters, digits and underscores of any script, as Python's `\w+` finds them. Scripts that
 * write without spaces (Chinese, Japanese, Thai) come out as whole runs, so BM25 is a weak first stage for them.
 */
export function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
}

/** Pairs of document row and term frequency, one array that grows. */
class Postings {
  #pairs = new Uint32Array(16);
  #end = 0;

  add(row: number, frequency: number): void {
    if (this.#end === this.#pairs.length) {
      const larger = new Uint32Array(this.#pairs.length * 2);
      larger.set(this.#pairs);
      this.#pairs = larger;
    }
    this.#pairs[this.#end] = row;
    this.#pairs[this.#end + 1] = frequency;
    this.#end += 2;
  }

  /** In how many documents the term is. */
  get documents(): number {
    return this.#end / 2;
  }

  /** Row, frequency, row, frequency … of {@link documents} documents; what follows is of no meaning. */
  get pairs(): Uint32Array {
    return this.#pairs;
  }
}

/**
 * BM25 over a corpus that is read once, in a stream. The formula is that of Robertson and Zaragoza, "The Probabilistic
 * Relevance Framework: BM25 and Beyond" (2009), equation 3.15 with the factor k1 + 1, and Lucene's never negative
 *
 * ```
 * idf = ln(1 + (N − n + 0.5) / (n + 0.5))
 * score = Σ idf · (k1 + 1) · f / (f + k1 · (1 − b + b · length / mean length))     over the words of the query
 * ```
 *
 * with a word that the query repeats counted as often. Equal scores are ordered by document id ascending, by bytes:
 * the same documents on every machine.
 *
 * Only words of the queries are indexed. Memory: 20 bytes a document, and 8 to 16 bytes for each pair of a document
 * and a query word that it holds.
 *
 * @throws {InvalidInputError} for an option out of its range.
 */
export async function searchBm25(
  documents: DocumentStore,
  queries: ReadonlyMap<string, string>,
  options: FirstStageOptions = {},
): Promise<Map<string, CandidateList>> {
  const { depth = 100, k1 = defaultK1, b = defaultB, excludeIdenticalIds = false, signal } = options;
  checkOptions(depth, k1, b);
  const words = new Map(Array.from(queries, ([id, text]) => [id, wordsOf(text)]));
  const index = new Map<string, Postings>();
  for (const list of words.values()) for (const word of list) index.set(word, new Postings());

  const lengths = new Uint32Array(documents.size);
  const ids: string[] = [];
  let total = 0;
  for await (const { id, text } of documents) {
    const row = ids.length;
    ids.push(id);
    const tokens = wordsOf(text);
    lengths[row] = tokens.length;
    total += tokens.length;
    const counts = new Map<string, number>();
    for (const token of tokens) if (index.has(token)) counts.set(token, (counts.get(token) ?? 0) + 1);
    for (const [token, count] of counts) index.get(token)?.add(row, count);
    if (ids.length % 4096 === 0) {
      signal?.throwIfAborted();
      options.onProgress?.(ids.length);
    }
  }
  options.onProgress?.(ids.length);

  // An empty corpus, or one of empty texts, has no postings and so no division by this.
  const meanLength = total / ids.length;
  const norms = Float64Array.from(lengths, (length) => k1 * (1 - b + (b * length) / meanLength));
  const scores = new Float64Array(ids.length);
  const results = new Map<string, CandidateList>();
  for (const [query, list] of words) {
    signal?.throwIfAborted();
    const touched: number[] = [];
    for (const word of list) {
      const postings = index.get(word);
      if (postings === undefined) continue;
      const { documents: holding } = postings;
      const idf = Math.log(1 + (ids.length - holding + 0.5) / (holding + 0.5));
      const { pairs } = postings;
      for (let at = 0; at < 2 * holding; at += 2) {
        const row = pairs[at] ?? 0;
        const frequency = pairs[at + 1] ?? 0;
        const before = scores[row] ?? 0;
        if (before === 0) touched.push(row);
        scores[row] = before + (idf * (k1 + 1) * frequency) / (frequency + (norms[row] ?? 0));
      }
    }
    const found = excludeIdenticalIds ? touched.filter((row) => ids[row] !== query) : touched;
    const best = selectBest(found, scores, ids, depth);
    if (best.length > 0) {
      results.set(query, {
        documents: best.map((row) => ids[row] ?? ""),
        scores: Float64Array.from(best, (row) => scores[row] ?? 0),
      });
    }
    for (const row of touched) scores[row] = 0;
  }
  return results;
}

function checkOptions(depth: number, k1: number, b: number): void {
  if (!Number.isSafeInteger(depth) || depth < 1) {
    throw new InvalidInputError("options.depth", `is ${depth}; it must be an integer of at least 1`);
  }
  if (!Number.isFinite(k1) || k1 < 0) {
    throw new InvalidInputError("options.k1", `is ${k1}; it must be a number of at least 0`);
  }
  if (!(b >= 0 && b <= 1)) throw new InvalidInputError("options.b", `is ${b}; it must be between 0 and 1`);
}

/** The best rows in order, without sorting all: first the score at the cut, then what reaches it. */
function selectBest(
  rows: readonly number[],
  scores: Float64Array,
  ids: readonly string[],
  depth: number,
): number[] {
  const cut = cutScore(rows, scores, depth);
  return rows
    .filter((row) => (scores[row] ?? 0) >= cut)
    .sort((left, right) => {
      const difference = (scores[right] ?? 0) - (scores[left] ?? 0);
      return difference !== 0 ? difference : compareBytes(ids[left] ?? "", ids[right] ?? "");
    })
    .slice(0, depth);
}

/** The `depth`-th largest score, 0 where there are fewer: the root of a heap that keeps the largest. */
function cutScore(rows: readonly number[], scores: Float64Array, depth: number): number {
  if (rows.length <= depth) return 0;
  const heap = new Float64Array(depth);
  for (const row of rows) {
    const score = scores[row] ?? 0;
    if (score <= (heap[0] ?? 0)) continue;
    // The smallest is at the root; the new one sinks from there to its place.
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= depth) break;
      if (child + 1 < depth && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child += 1;
      const smaller = heap[child] ?? 0;
      if (smaller >= score) break;
      heap[place] = smaller;
      place = child;
    }
    heap[place] = score;
  }
  return heap[0] ?? 0;
}
