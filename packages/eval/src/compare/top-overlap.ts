/**
 * Share of the first k places that two score lists of the same documents give to the same documents. Where a tie
 * reaches over place k, each of its documents holds a fraction of a place in both lists; the overlap is the sum of the
 * smaller fractions over k. So without ties it is |A ∩ B| / k, equal lists give 1, and a constant list gives k/n, what
 * a random order gives on average. Input order never decides.
 * @returns 0 to 1; undefined where there are no more than k documents, which always agree.
 */
export function topOverlap(
  reference: ArrayLike<number>,
  candidate: ArrayLike<number>,
  k: number,
): number | undefined {
  if (reference.length <= k) return undefined;
  const left = placesInTop(reference, k);
  const right = placesInTop(candidate, k);
  let shared = 0;
  for (let index = 0; index < reference.length; index++) {
    shared += Math.min(left[index] ?? 0, right[index] ?? 0);
  }
  return shared / k;
}

/** Chance of each document to be among the first k when ties are broken at random. Sums to k. */
function placesInTop(scores: ArrayLike<number>, k: number): Float64Array {
  const sorted = Float64Array.from(scores).sort().reverse();
  const last = sorted[k - 1] ?? 0;
  const above = sorted.findIndex((score) => score <= last);
  const tied = sorted.filter((score) => score === last).length;
  return Float64Array.from(scores, (score) => (score > last ? 1 : score === last ? (k - above) / tied : 0));
}
