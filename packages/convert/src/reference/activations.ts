import type { Activation } from "../source/description.js";

const functions: Readonly<Record<Exclude<Activation, "identity">, (value: number) => number>> = {
  gelu: (value) => (value / 2) * (1 + erf(value * Math.SQRT1_2)),
  // Hendrycks and Gimpel 2016; torch.nn.GELU's approximation.
  "gelu-tanh": (value) =>
    (value / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (value + 0.044715 * value ** 3))),
  silu: (value) => value / (1 + Math.exp(-value)),
  relu: (value) => Math.max(0, value),
  tanh: Math.tanh,
};

/** In place. */
export function activate(activation: Activation, data: Float64Array): void {
  if (activation === "identity") return;
  const compute = functions[activation];
  for (let i = 0; i < data.length; i += 1) data[i] = compute(data[i] as number);
}

/** Points of the table are 2^-6 apart, up to where erf is 1 in float64. */
const density = 64;
const farthest = 6;
const values = new Float64Array(farthest * density + 1).map((_, index) => series(index / density));
const slopes = new Float64Array(farthest * density + 1).map(
  (_, index) => (2 / Math.sqrt(Math.PI)) * Math.exp(-((index / density) ** 2)),
);

/**
 * The error function to 1e-15, quickly: Taylor's series around the nearest point of a table. Derivatives follow from
 * erf′′ = −2x erf′ (NIST Digital Library of Mathematical Functions, 7.10).
 */
export function erf(value: number): number {
  const x = Math.abs(value);
  if (x >= farthest) return Math.sign(value);
  const index = Math.round(x * density);
  const point = index / density;
  const h = x - point;
  // `term` is the n-th derivative at the point, over the first, times h^n / n!.
  let previous = 0;
  let term = h;
  let sum = h;
  for (let n = 1; n < 8; n += 1) {
    const next = (-2 * h * (point * term + (h * (n - 1) * previous) / n)) / (n + 1);
    previous = term;
    term = next;
    sum += next;
  }
  return Math.sign(value) * ((values[index] as number) + (slopes[index] as number) * sum);
}

/** For the table: Maclaurin's series, and beyond 2.5 the continued fraction of the complement (DLMF 7.6.2, 7.9.1). */
function series(x: number): number {
  if (x > 2.5) {
    let tail = x;
    for (let k = 100; k >= 1; k -= 1) tail = x + k / 2 / tail;
    return 1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * tail);
  }
  let term = x;
  let sum = x;
  for (let n = 1; term > 1e-18; n += 1) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
