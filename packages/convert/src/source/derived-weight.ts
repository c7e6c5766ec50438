import type { Weight } from "./weight.js";

/** Rows `from` to `to` (not included) of a weight, as a weight of its own. */
export function sliceRows(weight: Weight, from: number, to: number): Weight {
  return {
    name: `${weight.name}[${from}:${to}]`,
    shape: [to - from, ...weight.shape.slice(1)],
    async rows(first, last) {
      if (!(first >= 0 && first <= last && last <= to - from))
        throw new RangeError(`rows ${first} to ${last} of ${this.name}`);
      return weight.rows(from + first, from + last);
    },
  };
}

/** A weight with 1 added to every number, rounded to float32 as the sum of two of its numbers is. */
export function plusOne(weight: Weight): Weight {
  return {
    name: `${weight.name} + 1`,
    shape: weight.shape,
    rows: async (from, to) => (await weight.rows(from, to)).map((value) => 1 + value),
  };
}
