/** Integers of a matrix's rows, and one scale a row: row ≈ integers · scale. */
export interface QuantisedRows {
  readonly integers: Int8Array;
  readonly scales: Float32Array;
}

/**
 * - `rows`: the largest magnitude of a row becomes 127.
 * - `products`: nor do two neighbours of a row, 2k and 2k + 1, add up to more than 128 on one side of zero. Processors
 *   without VNNI multiply u8 by s8 and add such pairs in saturating 16-bit arithmetic (ONNX Runtime's
 *   core/mlas/lib/amd64/QgemvU8S8KernelAvx2.asm: vpmaddubsw over rows interleaved by two): 255 · 128 still fits there,
 *   and 2 · 255 · 127 is cut without a word. The usual remedy, 7 bits for every weight, gives away more: few rows have
 *   their largest weights side by side.
 */
export type QuantisedFor = "rows" | "products";

const highest = 127;

/** A row of zeros has to have a scale too. */
const smallestPeak = 1e-8;

/**
 * Symmetric: zero stays zero.
 * @param columns numbers of a row.
 */
export function quantiseRows(values: Float32Array, columns: number, purpose: QuantisedFor): QuantisedRows {
  const rows = columns === 0 ? 0 : values.length / columns;
  const integers = new Int8Array(values.length);
  const scales = new Float32Array(rows);
  for (let row = 0; row < rows; row += 1) {
    const start = row * columns;
    const peak = peakOf(values, start, start + columns, purpose);
    const scale = Math.fround(peak / highest);
    scales[row] = scale;
    for (let index = start; index < start + columns; index += 1) {
      const rounded = Math.round((values[index] as number) / scale);
      integers[index] = Math.min(highest, Math.max(-highest, rounded));
    }
  }
  return { integers, scales };
}

/** What becomes 127. Rounding adds at most one half to each of two neighbours, so that their sum is 128 at most. */
function peakOf(values: Float32Array, start: number, end: number, purpose: QuantisedFor): number {
  let peak = smallestPeak;
  for (let index = start; index < end; index += 2) {
    const first = values[index] as number;
    const second = index + 1 < end ? (values[index + 1] as number) : 0;
    const sameSide = purpose === "products" && first > 0 === second > 0;
    const magnitude = sameSide ? Math.abs(first + second) : Math.max(Math.abs(first), Math.abs(second));
    if (magnitude > peak) peak = magnitude;
  }
  return peak;
}
