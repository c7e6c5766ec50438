import { randomNumbers } from "../random.mjs";

/**
 * @typedef {object} WeightTensor named and laid out as transformers' class of the model has it
 * @property {string} name
 * @property {readonly number[]} dims a linear layer's are (out, in)
 * @property {Float32Array} values
 */

/**
 * Collects random weights; the same for the same names and sizes.
 *
 * @returns {{
 *   weights: WeightTensor[],
 *   add: (name: string, dims: readonly number[], deviation: number, mean?: number) => void,
 * }}
 */
export function randomWeights() {
  /** @type {WeightTensor[]} */
  const weights = [];
  return {
    weights,
    add: (name, dims, deviation, mean = 0) => {
      const random = randomNumbers(name);
      // A uniform distribution from −√3 to √3 has a standard deviation of 1.
      const width = 2 * Math.sqrt(3) * deviation;
      const size = dims.reduce((total, one) => total * one, 1);
      weights.push({
        name,
        dims,
        values: Float32Array.from({ length: size }, () => mean + width * (random() - 0.5)),
      });
    },
  };
}
