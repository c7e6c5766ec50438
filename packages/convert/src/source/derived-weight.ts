import type { StoredWeight, Weight } from "./weight.js";

/** Rows `from` to `to` (not included) of a weight, as a weight of its own. */
export function sliceRows(weight: Weight, from: number, to: number): Weight {
  return {
    name: `${weight.name}[${from}:${to}]`,
    shape: [to - from, ...weight.shape.slice(1)],
    stored: () => storedRows(weight, from, to),
    async rows(first, last) {
      if (!(first >= 0 && first <= last && last <= to - from))
        throw new RangeError(`rows ${first} to ${last} of ${this.name}`);
      return weight.rows(from + first, from + last);
    },
  };
}

function storedRows(weight: Weight, from: number, to: number): StoredWeight | undefined {
  const stored = weight.stored?.();
  if (stored === undefined) return undefined;
  const row = (stored.end - stored.start) / (weight.shape[0] ?? 1);
  return { ...stored, start: stored.start + from * row, end: stored.start + to * row };
}

/** A weight with every number divided by one, rounded to float32. */
export function dividedBy(weight: Weight, divisor: number): Weight {
  if (divisor === 1) return weight;
  return {
    name: `${weight.name} / ${divisor}`,
    shape: weight.shape,
    madeOf: weight,
    rows: async (from, to) => (await weight.rows(from, to)).map((value) => Math.fround(value / divisor)),
  };
}

/** A weight with 1 added to every number, rounded to float32 as the sum of two of its numbers is. */
export function plusOne(weight: Weight): Weight {
  return {
    name: `${weight.name} + 1`,
    shape: weight.shape,
    stored: () => {
      const stored = weight.stored?.();
      return stored === undefined ? undefined : { ...stored, plus: 1 };
    },
    rows: async (from, to) => (await weight.rows(from, to)).map((value) => 1 + value),
  };
}
