/**
 * The bucket of a distance (T5's, for attention to both sides): half of the buckets for keys in front of the query. Of
 * each half the first half has a bucket a place, beyond they share buckets by the distance's logarithm, up to
 * `maxDistance` (transformers 5.24, `models/mpnet/modeling_mpnet.py`, relative_position_bucket). In float32, as torch
 * computes it: a distance between two buckets would otherwise take the wrong one.
 *
 * @param distance the key's place less the query's.
 */
export function relativeBucket(
  distance: number,
  { buckets, maxDistance }: { readonly buckets: number; readonly maxDistance: number },
): number {
  const { fround, log } = Math;
  const half = Math.floor(buckets / 2);
  const exact = Math.floor(half / 2);
  const far = Math.abs(distance);
  const side = distance > 0 ? half : 0;
  if (far < exact) return side + far;
  const share = fround(fround(log(fround(far / exact))) / fround(log(maxDistance / exact)));
  return side + Math.min(half - 1, exact + Math.trunc(fround(share * (half - exact))));
}
