/**
 * Kendall's τ-b: concordant less discordant pairs over the geometric mean of the pairs that are not tied in one list
 * and in the other. −1 to 1; undefined where a list is constant or has fewer than two values. Knight's method
 * (JASA 61, 1966): sort by one list, then count the exchanges of a merge sort by the other, O(n log n).
 */
export function kendallTauB(x: ArrayLike<number>, y: ArrayLike<number>): number | undefined {
  const count = x.length;
  const ranksX = meanRanks(x);
  const ranksY = meanRanks(y);
  // Twice a mean rank is an integer of at most 2n, so that both fit one double, and sorting needs no comparator.
  const base = 2 * count + 1;
  const keys = ranksX.map((rank, index) => 2 * rank * base + 2 * at(ranksY, index)).sort();
  const sortedX = keys.map((key) => Math.floor(key / base));
  const sortedY = keys.map((key) => key % base);
  const all = (count * (count - 1)) / 2;
  const tiedX = tiedPairs(count, (a, b) => sortedX[a] === sortedX[b]);
  const tiedBoth = tiedPairs(count, (a, b) => sortedX[a] === sortedX[b] && sortedY[a] === sortedY[b]);
  const discordant = sortCountingExchanges(sortedY);
  const tiedY = tiedPairs(count, (a, b) => sortedY[a] === sortedY[b]);
  if (all === tiedX || all === tiedY) return undefined;
  return (all - tiedX - tiedY + tiedBoth - 2 * discordant) / Math.sqrt((all - tiedX) * (all - tiedY));
}

/** Spearman's ρ: the correlation of ranks, tied values at their mean rank. Undefined where a list is constant. */
export function spearman(x: ArrayLike<number>, y: ArrayLike<number>): number | undefined {
  const ranksX = meanRanks(x);
  const ranksY = meanRanks(y);
  const center = (x.length + 1) / 2;
  let xx = 0;
  let yy = 0;
  let xy = 0;
  for (let index = 0; index < x.length; index++) {
    const dx = at(ranksX, index) - center;
    const dy = at(ranksY, index) - center;
    xx += dx * dx;
    yy += dy * dy;
    xy += dx * dy;
  }
  if (xx === 0 || yy === 0) return undefined;
  return xy / Math.sqrt(xx * yy);
}

/** Ranks from 1, ascending; equal values share the mean of theirs. */
function meanRanks(values: ArrayLike<number>): Float64Array {
  const sorted = Float64Array.from(values).sort();
  // What follows the last of a value, by the position of its first.
  const ends = new Uint32Array(sorted.length);
  let first = 0;
  for (let end = 1; end <= sorted.length; end++) {
    if (end < sorted.length && sorted[end] === sorted[first]) continue;
    ends[first] = end;
    first = end;
  }
  return Float64Array.from(values, (value) => {
    const start = firstPosition(sorted, value);
    return (start + 1 + at(ends, start)) / 2;
  });
}

/** Position of the first element that is not below the value. */
function firstPosition(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (at(sorted, middle) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Pairs within stretches of neighbours that are the same. */
function tiedPairs(count: number, same: (a: number, b: number) => boolean): number {
  let pairs = 0;
  let start = 0;
  for (let end = 1; end <= count; end++) {
    if (end < count && same(start, end)) continue;
    pairs += ((end - start) * (end - start - 1)) / 2;
    start = end;
  }
  return pairs;
}

/** Sorts in place, ascending, and gives the number of pairs that stood in descending order. */
function sortCountingExchanges(values: Float64Array): number {
  let from: Float64Array = values;
  let to: Float64Array = new Float64Array(values.length);
  let exchanges = 0;
  for (let width = 1; width < values.length; width *= 2) {
    for (let start = 0; start < values.length; start += 2 * width) {
      const middle = Math.min(start + width, values.length);
      const end = Math.min(start + 2 * width, values.length);
      let left = start;
      let right = middle;
      for (let index = start; index < end; index++) {
        if (left < middle && (right >= end || at(from, left) <= at(from, right))) {
          to[index] = at(from, left++);
        } else {
          to[index] = at(from, right++);
          exchanges += middle - left;
        }
      }
    }
    [from, to] = [to, from];
  }
  if (from !== values) values.set(from);
  return exchanges;
}

function at(values: ArrayLike<number>, index: number): number {
  return values[index] ?? 0;
}
