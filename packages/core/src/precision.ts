/** What an artifact's numbers were rounded to. `8-bit` and `4-bit` (1 to 7 bits) name weights, or weights and activations. */
export type PrecisionClass = "fp32" | "fp16" | "8-bit" | "4-bit";

/** Every precision class, from the most precise. */
export const precisionClasses: readonly PrecisionClass[] = ["fp32", "fp16", "8-bit", "4-bit"];

/** Of dtype names in lower case, as the formats spell them: bf16 counts as half precision. */
const dtypePatterns: readonly { readonly pattern: RegExp; readonly precision: PrecisionClass }[] = [
  { pattern: /^(fp|f|float)32$/, precision: "fp32" },
  { pattern: /^(fp|f|float|bf|bfloat)16$/, precision: "fp16" },
  { pattern: /^((u?int|[qwi])8(_\w+)?|quantized|8-bit)$/, precision: "8-bit" },
  { pattern: /^((u?int|i?q|w|bnb|nf|mxfp|fp|tq)[1-7](?!\d)|4-bit$)/, precision: "4-bit" },
];

/** The class of a dtype's name, whatever its case; undefined for a name that fits none. */
export function precisionClassOf(dtype: string): PrecisionClass | undefined {
  const name = dtype.toLowerCase();
  return dtypePatterns.find(({ pattern }) => pattern.test(name))?.precision;
}

/** How far numbers may lie from the reference's. What is undefined is reported and not judged. */
export interface PrecisionBounds {
  /** Of every |Δ|. */
  readonly maximum: number | undefined;
  /** Of the median |Δ|. */
  readonly median: number | undefined;
  /** Reference logits further than this from 0 must keep their sign. */
  readonly signMargin: number | undefined;
  /** Of pairs whose references lie further apart than `apart`, at least the share `least` (0 to 1) is ordered alike. */
  readonly order: { readonly apart: number; readonly least: number } | undefined;
}

const within = (maximum: number): PrecisionBounds => ({
  maximum,
  median: undefined,
  signMargin: undefined,
  order: undefined,
});

/** For numbers whose largest difference says little. */
const typically = (
  median: number,
  { signMargin, apart = median, least }: { signMargin?: number; apart?: number; least: number },
): PrecisionBounds => ({ maximum: undefined, median, signMargin, order: { apart, least } });

/**
 * The "L1 numerics" of our gates, by precision: 1e-4 in float32, 2e-2 in half precision, a median of .15 and stable
 * signs in 8 bits. Cosines span 2 where logits span some 20, so 8 bits have a fifth of the bound there. A session whose
 * runtime computes less precisely than its artifact declares `bounds` of its own.
 *
 * Below 8 bits what an honest file loses depends on its weights: Q4_0 costs a median of .13 with trained ones, and up to
 * 2.7 with random ones, where as little as 74 % of eleven cases' pairs keep their order. So the bounds are wide: they
 * tell a damaged file, and `eval` tells what the precision costs.
 */
export const numericBounds: Readonly<
  Record<PrecisionClass, { readonly logit: PrecisionBounds; readonly cosine: PrecisionBounds }>
> = {
  fp32: { logit: within(1e-4), cosine: within(1e-4) },
  fp16: { logit: within(2e-2), cosine: within(2e-2) },
  "8-bit": {
    // Half a logit around zero a sign says nothing.
    logit: typically(0.15, { signMargin: 0.5, least: 0.75 }),
    cosine: typically(0.03, { least: 0.75 }),
  },
  "4-bit": {
    logit: typically(3, { apart: 0.5, least: 0.7 }),
    cosine: typically(0.25, { apart: 0.05, least: 0.7 }),
  },
};

/** Of the class `4-bit`, what has more bits, by their number. */
const boundsOfBits: Readonly<Record<number, (typeof numericBounds)[PrecisionClass]>> = {
  5: {
    logit: typically(2, { apart: 0.5, least: 0.8 }),
    cosine: typically(0.2, { apart: 0.05, least: 0.8 }),
  },
  6: {
    logit: typically(0.6, { apart: 0.5, least: 0.9 }),
    cosine: typically(0.1, { apart: 0.05, least: 0.9 }),
  },
};

/** The bounds of a dtype's name: those of its class, or tighter ones of its bits. Undefined for a name that fits none. */
export function numericBoundsOf(dtype: string): (typeof numericBounds)[PrecisionClass] | undefined {
  const precision = precisionClassOf(dtype);
  if (precision === undefined) return undefined;
  const bits = precision === "4-bit" ? Number(/\d/.exec(dtype)?.[0]) : undefined;
  return (bits === undefined ? undefined : boundsOfBits[Math.min(bits, 6)]) ?? numericBounds[precision];
}
