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
}

const reported: PrecisionBounds = { maximum: undefined, median: undefined, signMargin: undefined };
const within = (maximum: number): PrecisionBounds => ({ ...reported, maximum });

/**
 * The "L1 numerics" of our gates, by precision: 1e-4 in float32, 2e-2 in half precision, a median of .15 and stable
 * signs in 8 bits, below 8 bits a report alone. Cosines span 2 where logits span some 20, so 8 bits have a fifth of
 * the bound there. A session whose runtime computes less precisely than its artifact declares `bounds` of its own.
 */
export const numericBounds: Readonly<
  Record<PrecisionClass, { readonly logit: PrecisionBounds; readonly cosine: PrecisionBounds }>
> = {
  fp32: { logit: within(1e-4), cosine: within(1e-4) },
  fp16: { logit: within(2e-2), cosine: within(2e-2) },
  "8-bit": {
    // Half a logit around zero a sign says nothing.
    logit: { maximum: undefined, median: 0.15, signMargin: 0.5 },
    cosine: { maximum: undefined, median: 0.03, signMargin: undefined },
  },
  "4-bit": { logit: reported, cosine: reported },
};
