import { dot, normalize } from "./vector.js";

/** The projected vectors of one sequence of a list. */
export interface ListVectors {
  readonly query: Float64Array;
  /** In the order of the sequence's documents. */
  readonly documents: readonly Float64Array[];
}

/**
 * Cosines of all documents of a list, over all its sequences. Each sequence has its own vector of the query; the
 * documents are compared with the average of these, weighted by the best (1 + cosine) / 2 of the sequence
 * (jina-reranker-v3, `modeling.py`, `rerank`). With one sequence that is the plain cosine.
 *
 * @returns one cosine a document, sequence by sequence; NaN where a vector is all zeros.
 */
export function scoreList(sequences: readonly ListVectors[]): number[] {
  const width = sequences[0]?.query.length ?? 0;
  const query = new Float64Array(width);
  for (const sequence of sequences) {
    const unit = normalize(sequence.query);
    const best = Math.max(...sequence.documents.map((document) => dot(unit, normalize(document))));
    for (let i = 0; i < width; i += 1) {
      query[i] = (query[i] as number) + ((1 + best) / 2) * (sequence.query[i] as number);
    }
  }
  const unit = normalize(query);
  return sequences.flatMap(({ documents }) => documents.map((document) => dot(unit, normalize(document))));
}
