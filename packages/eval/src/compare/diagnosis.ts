import type { ScoreComparison } from "./compare-scores.js";

/**
 * - `same`: equal up to the rounding of half precision, and the same ranking.
 * - `noise`: scattered around the reference, no systematic change.
 * - `shifted head`: a straight line of the reference with another slope or intercept.
 * - `squashed twice`: the candidate's logits are the reference's probabilities, or a line of them.
 * - `collapsed`: the scores have lost their spread or became alike.
 * - `reversed`: the order is upside down.
 * - `not comparable`: other pairs, nothing to compare, or scores that have nothing to do with the reference's.
 */
export type DiagnosisKind =
  | "same"
  | "noise"
  | "shifted head"
  | "squashed twice"
  | "collapsed"
  | "reversed"
  | "not comparable";

export interface Diagnosis {
  readonly kind: DiagnosisKind;
  /** What was seen, with the numbers that decided. */
  readonly sentence: string;
  /** What usually causes it, and what to look at first. */
  readonly likelyCause: string;
  /** With so few pairs (fewer than {@link diagnosisThresholds}.enoughPairs) the kind is a first guess. */
  readonly fewPairs: boolean;
}

/**
 * The numbers that decide between the kinds. Ours. Logits of rerankers span some 20 units with a standard deviation of
 * 3 to 8; every bound but the first is relative to the reference's spread, so that cosines are judged alike.
 */
export const diagnosisThresholds = {
  /** `same`: every |Δ| within this (the half precision bound of our gates) and within this share of the spread … */
  sameDelta: 0.02,
  /** … and τ-b and top-1 overlap of at least these (the fp16 gates). */
  sameTau: 0.99,
  sameTopOne: 0.98,
  /** `reversed`: τ-b of at most this, and a falling line. */
  reversedTau: -0.5,
  /** `squashed twice`: a line of the reference's probabilities explains this share of the variance … */
  squashRSquared: 0.98,
  /** … and leaves at most this share of the scatter that a line of its logits leaves, … */
  squashAdvantage: 0.5,
  /** … or the candidate's logits are those probabilities within this. */
  squashDelta: 0.02,
  /** A squash is only told from a line where the reference's probabilities spread at least this much. */
  squashSpread: 0.1,
  /** `collapsed`: less than this share of the reference's spread of logits … */
  collapsedSpread: 0.2,
  /** … or of its share of distinct scores. */
  collapsedDistinct: 0.5,
  /** A line so exact, over enough pairs, is a rescaled head, however small its slope. */
  exactLine: 0.999,
  /** `shifted head`: a line explains this share of the variance … */
  shiftedRSquared: 0.95,
  /** … and lies away from the identity by this many times the scatter around it (over enough pairs), … */
  shiftedOverScatter: 3,
  /** … or its slope differs from 1 by more than this, … */
  shiftedSlope: 0.25,
  /** … or the mean moved by more than this share of the spread. */
  shiftedMean: 0.5,
  /** `not comparable`: τ-b below this over enough pairs: no relation. */
  unrelatedTau: 0.2,
  /** Pairs from which on scatter and shape can be told apart. */
  enoughPairs: 10,
} as const;

/** What a comparison amounts to, in plain language. The first kind whose rule holds, in the order of this function. */
export function diagnose(comparison: ScoreComparison): Diagnosis {
  const t = diagnosisThresholds;
  const { candidate, reference, pairs, fit, spread, delta, kendall, distinctShare } = comparison;
  const fewPairs = comparison.finitePairs < t.enoughPairs;
  const as = (kind: DiagnosisKind, sentence: string, likelyCause: string): Diagnosis => ({
    kind,
    sentence: fewPairs && kind !== "not comparable" ? `${sentence} ${fewPairsNote(comparison)}` : sentence,
    likelyCause,
    fewPairs,
  });

  const unmatched = comparison.unmatched.reference + comparison.unmatched.candidate;
  if (unmatched > 0) {
    return as(
      "not comparable",
      `${comparison.unmatched.reference} pairs are in ${reference} alone and ${comparison.unmatched.candidate} in ${candidate} alone; ${pairs} are in both.`,
      "The two runs did not score the same candidates: another first stage, limit, or data set revision, or a run that was cut off.",
    );
  }
  if (pairs < 2) {
    return as("not comparable", `There are ${pairs} pairs.`, "A comparison needs at least two pairs.");
  }
  if (distinctShare.reference * pairs < 1.5) {
    return as(
      "not comparable",
      `${reference} gives the same score to all ${pairs} pairs.`,
      "The reference itself is broken, or all pairs are the same.",
    );
  }
  if (distinctShare.candidate * pairs < 1.5) {
    return as("collapsed", `${candidate} gives the same score to all ${pairs} pairs.`, causes.collapsed);
  }
  if (fit === undefined || spread === undefined || delta === undefined) {
    return as(
      "not comparable",
      `Only ${comparison.finitePairs} of ${pairs} pairs have a logit on both sides: the other probabilities are exactly 0 or 1.`,
      "A sigmoid rounded to its limit. Compare logits, or probabilities written in float64.",
    );
  }

  const tau = kendall.withinQueries ?? kendall.pooled ?? 0;
  const topOne = comparison.topOne.overlap ?? 1;
  const tolerance = Math.min(t.sameDelta, t.sameDelta * spread.reference);
  if (delta.maximum <= tolerance && tau >= t.sameTau && topOne >= t.sameTopOne) {
    return as(
      "same",
      `No logit of ${candidate} differs by more than ${show(delta.maximum)}, τ-b ${show(tau)}.`,
      "Nothing to do: this is rounding.",
    );
  }
  if (fit.slope < 0 && tau <= t.reversedTau && (kendall.pooled ?? 0) <= t.reversedTau) {
    return as(
      "reversed",
      `${candidate} ranks against ${reference}: τ-b ${show(tau)}, slope ${show(fit.slope)}.`,
      "The wrong class or answer token is read (logit no − logit yes), or a distance is taken for a similarity.",
    );
  }
  if (isSquashed(comparison)) {
    return as(
      "squashed twice",
      `The logits of ${candidate} are a line of the probabilities of ${reference} (r² ${show(comparison.squashFit?.rSquared)}, ` +
        `slope ${show(comparison.squashFit?.slope)}, intercept ${show(comparison.squashFit?.intercept)}); of its logits, r² is ${show(fit.rSquared)}.`,
      "The runtime's output is already a sigmoid, and another was applied to it. Read the raw logit, or take the output as a probability. " +
        "High scores are pressed together: order among them is lost to rounding.",
    );
  }
  const spreadShare = spread.candidate / spread.reference;
  const exactLine = !fewPairs && fit.slope > 0 && fit.rSquared >= t.exactLine;
  if (spreadShare < t.collapsedSpread && !exactLine) {
    return as(
      "collapsed",
      `The logits of ${candidate} spread ${show(spreadShare)} times as far as those of ${reference} (standard deviation ` +
        `${show(spread.candidate)} against ${show(spread.reference)}), without following them exactly (r² ${show(fit.rSquared)}).`,
      causes.collapsed,
    );
  }
  if (distinctShare.candidate < t.collapsedDistinct * distinctShare.reference) {
    return as(
      "collapsed",
      `${candidate} has ${show(distinctShare.candidate * pairs)} different scores for ${pairs} pairs, ${reference} ` +
        `${show(distinctShare.reference * pairs)}; ${share(comparison.saturated.candidate.exact)} are at the limit of their scale.`,
      "Scores are rounded before they are ranked: a saturated sigmoid, half precision, or a few quantisation steps. Rank on logits.",
    );
  }
  if (isShifted(comparison, tolerance)) {
    return as(
      "shifted head",
      `${candidate} ≈ ${show(fit.intercept)} + ${show(fit.slope)} · ${reference} (r² ${show(fit.rSquared)}, scatter ${show(fit.residualDeviation)}).`,
      "The head differs, not the encoder: its bias or scale was lost in the export, a temperature or a difference of two logits is missing, " +
        "or its last layer was quantised apart. The order is kept, thresholds on scores are not.",
    );
  }
  if (!fewPairs && tau < t.unrelatedTau) {
    return as(
      "not comparable",
      `The scores of ${candidate} have next to nothing to do with those of ${reference}: τ-b ${show(tau)}, r² ${show(fit.rSquared)}.`,
      "Not two forms of one model: a head with random weights, another tokenizer or template, segment ids left out, or rows out of step.",
    );
  }
  return as(
    "noise",
    `The logits of ${candidate} scatter around those of ${reference}: |Δ| ${show(delta.mean)} in the mean, ${show(delta.p99)} at the 99th percentile, ` +
      `τ-b ${show(tau)}, top-1 overlap ${comparison.topOne.overlap === undefined ? "unknown" : show(topOne)}.`,
    "Lower precision of weights or activations. Whether it matters is a question for the gates.",
  );
}

const causes = {
  collapsed:
    "The head is missing or was quantised to almost nothing, activations overflow and are clipped, or the encoder was (8-bit DeBERTa is known for it). " +
    "Compare the hidden states, then the head, at full precision.",
} as const;

function isSquashed(comparison: ScoreComparison): boolean {
  const t = diagnosisThresholds;
  const { fit, squashFit, squashDelta, spread, finitePairs } = comparison;
  if (fit === undefined || squashFit === undefined || spread === undefined || squashDelta === undefined)
    return false;
  if (spread.candidate >= spread.reference || squashFit.slope <= 0) return false;
  const probabilitySpread = spread.candidate / squashFit.slope;
  if (probabilitySpread < t.squashSpread) return false;
  if (squashDelta <= t.squashDelta) return true;
  return (
    finitePairs >= t.enoughPairs &&
    squashFit.rSquared >= t.squashRSquared &&
    squashFit.residualDeviation <= t.squashAdvantage * fit.residualDeviation
  );
}

function isShifted(comparison: ScoreComparison, tolerance: number): boolean {
  const t = diagnosisThresholds;
  const { fit, spread, meanShift } = comparison;
  if (fit === undefined || spread === undefined || meanShift === undefined || fit.slope <= 0) return false;
  if (fit.rSquared < t.shiftedRSquared) return false;
  if (Math.abs(fit.slope - 1) > t.shiftedSlope) return true;
  if (Math.abs(meanShift) > t.shiftedMean * spread.reference) return true;
  // Root mean square of (intercept + slope · x) − x: the mean moved, and the slope times the spread.
  const systematic = Math.hypot(meanShift, (fit.slope - 1) * spread.reference);
  return (
    comparison.finitePairs >= t.enoughPairs &&
    systematic > tolerance &&
    systematic > t.shiftedOverScatter * fit.residualDeviation
  );
}

function fewPairsNote(comparison: ScoreComparison): string {
  return `Only ${comparison.finitePairs} pairs: a first guess, score more.`;
}

function show(value: number | undefined): string {
  return value === undefined ? "unknown" : String(Number(value.toPrecision(3)));
}

function share(value: number): string {
  return `${(value * 100).toFixed(1)} %`;
}
