import type { Weight } from "../source/weight.js";

/** Weights one below the other. All have the same row length, or all are vectors. */
export function stackRows(weights: readonly Weight[]): Weight {
  const [first] = weights;
  if (first === undefined) throw new Error("nothing to stack");
  const rows = weights.reduce((sum, weight) => sum + (weight.shape[0] ?? 0), 0);
  return derived(weights, [rows, ...first.shape.slice(1)], async (from, to) => {
    const parts: Float32Array[] = [];
    let start = 0;
    for (const weight of weights) {
      const count = weight.shape[0] ?? 0;
      const [partFrom, partTo] = [Math.max(from - start, 0), Math.min(to - start, count)];
      if (partFrom < partTo) parts.push(await weight.rows(partFrom, partTo));
      start += count;
    }
    return join(parts);
  });
}

/** Some rows of a weight, in the order asked for; few, for each is read by itself. */
export function pickRows(weight: Weight, indices: readonly number[]): Weight {
  return derived([weight], [indices.length, ...weight.shape.slice(1)], async (from, to) => {
    const parts: Float32Array[] = [];
    for (const index of indices.slice(from, to)) parts.push(await weight.rows(index, index + 1));
    return join(parts);
  });
}

/** Every number times `factor`. */
export function scaleBy(weight: Weight, factor: number): Weight {
  return derived([weight], weight.shape, async (from, to) =>
    (await weight.rows(from, to)).map((number) => number * factor),
  );
}

/** The row of `weight` at `index`, less that at `subtracted`; one row. */
export function differenceOfRows(weight: Weight, index: number, subtracted: number): Weight {
  return derived([weight], [1, ...weight.shape.slice(1)], async (from, to) => {
    if (from >= to) return new Float32Array();
    return minus(await weight.rows(index, index + 1), await weight.rows(subtracted, subtracted + 1));
  });
}

/** Every row of `weight`, plus the one row of `added`. */
export function addToRows(weight: Weight, added: Weight): Weight {
  return derived([weight, added], weight.shape, async (from, to) => {
    const row = await added.rows(0, 1);
    return (await weight.rows(from, to)).map((number, index) => number + (row[index % row.length] ?? 0));
  });
}

function derived(sources: readonly Weight[], shape: readonly number[], rows: Weight["rows"]): Weight {
  return { name: sources.map(({ name }) => name).join(" + "), shape, rows };
}

function minus(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((number, index) => number - (b[index] ?? 0));
}

function join(parts: readonly Float32Array[]): Float32Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
