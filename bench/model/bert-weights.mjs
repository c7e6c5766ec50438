/** @import { Shape } from "../types.js" */
/** @import { WeightTensor } from "./random-weights.mjs" */
import { randomWeights } from "./random-weights.mjs";

/** Spread of the matrices; at 1.5 over the root of their width, logits of different documents lie apart. */
const spread = 1.5;

/**
 * Random weights of a BERT classifier with one output; the same for the same shape.
 *
 * @param {Shape} shape
 * @param {number} vocabulary
 * @returns {WeightTensor[]}
 */
export function bertWeights(shape, vocabulary) {
  const { hidden, intermediate } = shape;
  const { weights, add } = randomWeights();
  /** @type {(name: string, inputs: number, outputs: number, factor?: number) => void} */
  const linear = (name, inputs, outputs, factor = 1) => {
    add(`${name}.weight`, [outputs, inputs], (factor * spread) / Math.sqrt(inputs));
    add(`${name}.bias`, [outputs], 0.1);
  };
  /** @param {string} name */
  const normalisation = (name) => {
    add(`${name}.weight`, [hidden], 0.1, 1);
    add(`${name}.bias`, [hidden], 0.1);
  };

  add("bert.embeddings.word_embeddings.weight", [vocabulary, hidden], 1);
  add("bert.embeddings.position_embeddings.weight", [shape.positions, hidden], 0.5);
  add("bert.embeddings.token_type_embeddings.weight", [2, hidden], 0.5);
  normalisation("bert.embeddings.LayerNorm");
  for (let layer = 0; layer < shape.layers; layer++) {
    const prefix = `bert.encoder.layer.${layer}`;
    for (const part of ["query", "key", "value"]) linear(`${prefix}.attention.self.${part}`, hidden, hidden);
    linear(`${prefix}.attention.output.dense`, hidden, hidden);
    normalisation(`${prefix}.attention.output.LayerNorm`);
    linear(`${prefix}.intermediate.dense`, hidden, intermediate);
    linear(`${prefix}.output.dense`, intermediate, hidden);
    normalisation(`${prefix}.output.LayerNorm`);
  }
  linear("bert.pooler.dense", hidden, hidden);
  linear("classifier", hidden, 1, 2);
  return weights;
}
