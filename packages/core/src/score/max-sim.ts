import { dot } from "./vector.js";

/** The vectors of a text's tokens, each of length 1 (or 0). */
export type TokenVectors = readonly Float64Array[];

/** Shorter vectors become shorter than 1 (torch.nn.functional.normalize, `eps`). */
const leastNorm = 1e-12;

/** L2, as the reference has it: a vector of zeros stays one. */
export function normalizeToken(vector: Float64Array): Float64Array {
  const norm = Math.max(Math.sqrt(dot(vector, vector)), leastNorm);
  return vector.map((value) => value / norm);
}

/** The sum over the query's tokens of the largest dot product that each has with one of the document's. */
export function maxSim(query: TokenVectors, document: TokenVectors): number {
  let sum = 0;
  for (const token of query) {
    let largest = Number.NEGATIVE_INFINITY;
    for (const other of document) largest = Math.max(largest, dot(token, other));
    sum += largest;
  }
  return sum;
}
