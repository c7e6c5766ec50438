// Multiply-adds of an encoder's products, and how long they would take at the floor.
/** @import { Floor, FloorKind, Shape } from "../types.js" */

/**
 * @typedef {object} Work multiply-adds
 * @property {number} weights of the products with weights
 * @property {number} attention of queries with keys, and of their shares with values
 */

/**
 * Of sequences that are computed without padding. Norms, activations and the embeddings' sums are not in it.
 *
 * @param {Shape} shape
 * @param {readonly number[]} tokens of each sequence
 * @returns {Work}
 */
export function workOf({ layers, hidden, intermediate }, tokens) {
  const perToken = layers * (4 * hidden ** 2 + 2 * hidden * intermediate);
  const sum = tokens.reduce((total, one) => total + one, 0);
  const squares = tokens.reduce((total, one) => total + one ** 2, 0);
  // The pooler and the classifier see one token of a sequence.
  const head = tokens.length * (hidden ** 2 + hidden);
  return { weights: perToken * sum + head, attention: 2 * layers * hidden * squares };
}

/**
 * Seconds of processor time that the products would take at the floor. Attention's are of activations, which engines of
 * eight bits compute in fp32; an engine in bf16 computes them in bf16.
 *
 * @param {Work} work
 * @param {Floor} floor
 * @param {FloorKind} kind
 * @returns {number | undefined} undefined where the processor has no instruction of that kind
 */
export function floorSeconds({ weights, attention }, floor, kind) {
  const own = floor[kind]?.perSecond;
  const other = floor[kind === "int8" ? "fp32" : kind]?.perSecond;
  return own === undefined || other === undefined ? undefined : weights / own + attention / other;
}
