/** Integers of a matrix's rows, and what each row was multiplied by: row ≈ integers / scale. */
export interface IntegerRows {
  readonly integers: Int8Array;
  readonly scales: Float32Array;
}

const highest = 127;
/** A row of numbers so small that its scale would be infinite. */
const smallestPeak = Math.fround(highest / 3.4028234663852886e38);

/**
 * Quantises as CTranslate2's own converter does (`LayerSpec._quantize` in python/ctranslate2/specs/model_spec.py), in
 * float32: the largest magnitude of a row becomes 127, and halves are rounded to even.
 *
 * @param columns numbers of a row, at least 1.
 */
export function integerRows(values: Float32Array, columns: number): IntegerRows {
  const rows = values.length / columns;
  const integers = new Int8Array(values.length);
  const scales = new Float32Array(rows);
  for (let row = 0; row < rows; row += 1) {
    const start = row * columns;
    let peak = 0;
    for (let index = start; index < start + columns; index += 1) {
      const magnitude = Math.abs(values[index] as number);
      if (magnitude > peak) peak = magnitude;
    }
    const scale = Math.fround(highest / (peak === 0 ? highest : Math.max(peak, smallestPeak)));
    scales[row] = scale;
    for (let index = start; index < start + columns; index += 1) {
      integers[index] = roundToEven(Math.fround((values[index] as number) * scale));
    }
  }
  return { integers, scales };
}

function roundToEven(number: number): number {
  const rounded = Math.round(number);
  return rounded - number === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
