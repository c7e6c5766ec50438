import type { VectorAgreement } from "../compare/compare-vectors.js";
import { mean, quantileOfSorted } from "../statistics/summary.js";
import type { ScoredList, ScoredLists } from "./scored-lists.js";
import type { StoredVectors } from "./vector-store.js";

/** A bi-encoder's vectors of a task's texts, and the rows where they stand. */
export interface SystemVectors {
  readonly queries: StoredVectors;
  readonly documents: StoredVectors;
  readonly queryIds: readonly string[];
  readonly documentIds: readonly string[];
}

/** Rows that are read at once. */
const block = 2048;

/** Cosines of given pairs: dot products in float64 of vectors of unit length. Memory: one query's documents. */
export function scoreLists(
  vectors: SystemVectors,
  lists: ReadonlyMap<string, { readonly documents: readonly string[] }>,
): ScoredLists {
  const { queries, documents, queryIds, documentIds } = vectors;
  const rowOf = new Map(documentIds.map((id, row) => [id, row]));
  const query = new Float32Array(queries.dimensions);
  const other = new Float32Array(documents.dimensions);
  const scored = new Map<string, ScoredList>();
  for (const [position, id] of queryIds.entries()) {
    const list = lists.get(id);
    if (list === undefined) continue;
    queries.readInto(query, position);
    const logits = new Float64Array(list.documents.length);
    for (const [index, document] of list.documents.entries()) {
      documents.readInto(other, rowOf.get(document) ?? -1);
      logits[index] = dot(query, 0, other, 0, query.length);
    }
    scored.set(id, { documents: list.documents, logits });
  }
  return scored;
}

/**
 * The best documents of the whole corpus for every query, exactly: every dot product is computed. Equal scores at the
 * cut are kept in the order of the corpus. Memory: twelve bytes for each document kept, the queries' vectors, and one
 * block of documents.
 */
export async function searchVectors(
  vectors: SystemVectors,
  options: {
    readonly depth: number;
    /** Leaves out the document that has the query's own id. */
    readonly excludeIdenticalIds: boolean;
    readonly signal?: AbortSignal | undefined;
    readonly onDocuments?: ((completed: number) => void) | undefined;
  },
): Promise<ScoredLists> {
  const { queries, documents, queryIds, documentIds } = vectors;
  const { dimensions } = documents;
  const { depth, signal } = options;
  const asked = queries.read(0, queryIds.length);
  const best = queryIds.map(() => new BestRows(Math.min(depth, documentIds.length)));
  const own = new Map(options.excludeIdenticalIds ? queryIds.map((id, position) => [id, position]) : []);
  for (let start = 0; start < documentIds.length; start += block) {
    signal?.throwIfAborted();
    const count = Math.min(block, documentIds.length - start);
    const corpus = documents.read(start, count);
    best.forEach((rows, position) => {
      for (let row = 0; row < count; row += 1) {
        const cosine = dot(asked, position * dimensions, corpus, row * dimensions, dimensions);
        if (cosine <= rows.least) continue;
        if (own.size > 0 && own.get(documentIds[start + row] ?? "") === position) continue;
        rows.add(start + row, cosine);
      }
    });
    options.onDocuments?.(start + count);
    // Lets an abort in.
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return new Map(
    queryIds.map((id, position) => {
      const rows = best[position]?.sorted() ?? [];
      const documentsOf = rows.map(({ row }) => documentIds[row] ?? "");
      return [id, { documents: documentsOf, logits: Float64Array.from(rows, ({ score }) => score) }];
    }),
  );
}

/** How alike two systems' vectors of the same texts are, read from disk in blocks. Eight bytes a text. */
export function compareStoredVectors(reference: SystemVectors, candidate: SystemVectors): VectorAgreement {
  const cosines: number[] = [];
  let minimum = Number.POSITIVE_INFINITY;
  let minimumText = "";
  for (const part of ["queries", "documents"] as const) {
    const ids = part === "queries" ? reference.queryIds : reference.documentIds;
    const { dimensions } = reference[part];
    for (let start = 0; start < ids.length; start += block) {
      const count = Math.min(block, ids.length - start);
      const left = reference[part].read(start, count);
      const right = candidate[part].read(start, count);
      for (let row = 0; row < count; row += 1) {
        const at = row * dimensions;
        const cosine =
          dot(left, at, right, at, dimensions) /
          Math.sqrt(dot(left, at, left, at, dimensions) * dot(right, at, right, at, dimensions));
        if (cosine < minimum) {
          minimum = cosine;
          minimumText = ids[start + row] ?? "";
        }
        cosines.push(cosine);
      }
    }
  }
  const sorted = Float64Array.from(cosines).sort();
  return {
    mean: mean(sorted),
    fifthPercentile: quantileOfSorted(sorted, 0.05),
    minimum,
    minimumText,
    texts: sorted.length,
  };
}

function dot(a: Float32Array, aStart: number, b: Float32Array, bStart: number, length: number): number {
  let total = 0;
  for (let index = 0; index < length; index += 1) {
    total += (a[aStart + index] as number) * (b[bStart + index] as number);
  }
  return total;
}

/** The rows with the largest scores: a heap with the least at its root. */
class BestRows {
  /** Score that a row must exceed to be kept. */
  least: number = Number.NEGATIVE_INFINITY;
  readonly #depth: number;
  readonly #scores: Float64Array;
  readonly #rows: Int32Array;
  #size = 0;

  constructor(depth: number) {
    this.#depth = depth;
    this.#scores = new Float64Array(depth);
    this.#rows = new Int32Array(depth);
  }

  add(row: number, score: number): void {
    if (this.#size < this.#depth) {
      this.#rise(this.#size, row, score);
      this.#size += 1;
    } else this.#sink(row, score);
    if (this.#size === this.#depth) this.least = this.#scores[0] as number;
  }

  sorted(): { readonly row: number; readonly score: number }[] {
    return Array.from({ length: this.#size }, (_, index) => ({
      row: this.#rows[index] as number,
      score: this.#scores[index] as number,
    })).sort((left, right) => right.score - left.score || left.row - right.row);
  }

  #rise(from: number, row: number, score: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#below(row, score, parent)) break;
      this.#copy(parent, at);
      at = parent;
    }
    this.#put(at, row, score);
  }

  #sink(row: number, score: number): void {
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      const right = child + 1;
      if (
        right < this.#size &&
        this.#below(this.#rows[right] as number, this.#scores[right] as number, child)
      )
        child = right;
      if (this.#below(row, score, child)) break;
      this.#copy(child, at);
      at = child;
    }
    this.#put(at, row, score);
  }

  /** Whether a row would go before the one at `index`: of a lower score, or as low and later in the corpus. */
  #below(row: number, score: number, index: number): boolean {
    const other = this.#scores[index] as number;
    return score < other || (score === other && row > (this.#rows[index] as number));
  }

  #copy(from: number, to: number): void {
    this.#put(to, this.#rows[from] as number, this.#scores[from] as number);
  }

  #put(at: number, row: number, score: number): void {
    this.#scores[at] = score;
    this.#rows[at] = row;
  }
}
