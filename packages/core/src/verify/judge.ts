import type { NumericBounds } from "../contract/backend.js";
import type { TruncationStrategy } from "../contract/model-profile.js";
import type { Scale } from "../contract/result.js";
import { numericBounds, numericBoundsOf } from "../precision.js";

/** Where token ids (or what goes with them) first differ from the reference's. */
export interface TokenDifference {
  readonly what:
    | "ids"
    | "segmentIds"
    | "queryIds"
    | "truncatedTokens"
    | "queryOverflow"
    | "sequences"
    | "documents";
  /** Position in the sequence, from 0; undefined for what is not a sequence. */
  readonly position?: number | undefined;
  /** Undefined where the reference's sequence ended before. */
  readonly expected: number | boolean | undefined;
  /** Undefined where ours ended before. */
  readonly actual: number | boolean | undefined;
}

/** One golden against what came out: a pair in one truncation mode, or a document of a list. */
export interface VerifiedCase {
  readonly name: string;
  /** Undefined for a list. */
  readonly truncation?: TruncationStrategy | undefined;
  /** Position in the list's documents; undefined for a pair. */
  readonly document?: number | undefined;
  /** `unknown` where the goldens give scores alone. */
  readonly tokens: "same" | "different" | "unknown";
  readonly difference?: TokenDifference | undefined;
  /** Which number `expected` and `actual` are: the ranking key, or the score where the source published scores alone. */
  readonly measure: "logit" | "score";
  /** Null for a query overflow, which has no number. */
  readonly expected: number | null;
  /** NaN when the model gave something that is not finite; null when the pair was not scored. */
  readonly actual: number | null;
  /** |actual − expected|; null where one of them is. NaN when `actual` is. */
  readonly delta: number | null;
  /** The same of the scores, where the goldens give logit and score. */
  readonly scoreDelta?: number | undefined;
  /** The query is empty, which crossrank refuses to rank by: tokens were compared, no number. */
  readonly refused?: true | undefined;
}

/** How far numbers may lie apart: one of `maximum` and `median`. */
export interface Bound {
  /** For a message, e.g. `"fp32"`. */
  readonly name: string;
  /** Of every |Δ|. */
  readonly maximum?: number | undefined;
  /** Of the median |Δ|. Logits further than {@link Bound.signMargin} from 0 must also keep their sign. */
  readonly median?: number | undefined;
  readonly signMargin?: number | undefined;
  /** Of pairs whose references lie further apart than `apart`, at least the share `least` (0 to 1) is ordered alike. */
  readonly order?: { readonly apart: number; readonly least: number } | undefined;
}

/** The sigmoid's steepest slope: a probability moves at most by this part of what its logit moves. */
const steepestSigmoid = 0.25;

/**
 * The bound for numbers of one kind: the precision's own ({@link numericBounds}), or the session's where that is wider.
 * A precision that is not known is held to float32's.
 *
 * @param reference what the reference itself is good to, in the unit that it gives: no bound is tighter.
 */
export function boundFor(facts: {
  readonly dtype: string;
  readonly scale: Scale;
  readonly measure: VerifiedCase["measure"];
  readonly reference: number | undefined;
  /** Of late interaction: how many cosines a logit is the sum of. */
  readonly summed?: number | undefined;
  /** What the session declares of its runtime's arithmetic. */
  readonly own?: NumericBounds | undefined;
}): Bound {
  const { dtype, scale, measure, reference = 0, own, summed = 1 } = facts;
  const known = numericBoundsOf(dtype);
  const { maximum, median, signMargin, order } = (known ?? numericBounds.fp32)[
    scale === "cosine" ? "cosine" : "logit"
  ];
  const factor = measure === "logit" ? summed : scale === "probability" ? steepestSigmoid : 1;
  const widened = (value: number): number => Math.max(value * factor, reference);
  const allowed = maximum === undefined ? undefined : Math.max(maximum, ownBound(own, scale));
  return {
    name: known === undefined ? `${dtype} (not a known precision, so held to fp32's)` : dtype,
    ...(allowed === undefined ? {} : { maximum: widened(allowed) }),
    ...(median === undefined ? {} : { median: widened(median) }),
    ...(signMargin === undefined ? {} : { signMargin }),
    ...(order === undefined ? {} : { order: { ...order, apart: widened(order.apart) } }),
  };
}

function ownBound(own: NumericBounds | undefined, scale: Scale): number {
  return own === undefined ? 0 : scale === "cosine" ? own.cosine : own.logit;
}

export interface VerificationSummary {
  /** Cases in all. */
  readonly cases: number;
  /** Of these, whose tokens could be compared, and whose differ. */
  readonly tokensCompared: number;
  readonly tokensDifferent: number;
  /** Cases with two finite numbers, on which the following four are computed. Null where there are none. */
  readonly compared: number;
  readonly maximum: number | null;
  readonly mean: number | null;
  readonly median: number | null;
  /**
   * Share of pairs of cases (of the same truncation mode, or of the same list) that are ordered alike, among those
   * whose expected numbers lie further apart than the bound's `order.apart`, or else than its largest difference. Null
   * when there are no such pairs.
   */
  readonly orderAgreement: number | null;
  /** How many pairs that is a share of. */
  readonly orderedPairs: number;
  /** Cases that gave NaN or an infinity. */
  readonly nonFinite: number;
  /** Cases that should have a number and have none, or the other way round. */
  readonly mismatched: number;
  /** Cases that were not scored because their query is empty. */
  readonly refused: number;
}

export interface Judgement {
  readonly passed: boolean;
  /** Why, in one sentence without its period; what failed first, the worst of it. */
  readonly reason: string;
  readonly summary: VerificationSummary;
}

/** What the numbers amount to. Pure. */
export function judge(cases: readonly VerifiedCase[], bound: Bound, scale: Scale): Judgement {
  const different = cases.filter(({ tokens }) => tokens === "different");
  const measured = cases.filter(isMeasured);
  const nonFinite = cases.filter(({ actual }) => Number.isNaN(actual));
  const mismatched = cases.filter(
    ({ expected, actual, refused }) => !refused && (expected === null) !== (actual === null),
  );
  const deltas = measured.map(({ delta }) => delta).toSorted((a, b) => a - b);
  const order = orderAgreement(measured, bound.order?.apart ?? bound.maximum ?? bound.median ?? 0);
  const summary: VerificationSummary = {
    cases: cases.length,
    tokensCompared: cases.filter(({ tokens }) => tokens !== "unknown").length,
    tokensDifferent: different.length,
    compared: deltas.length,
    maximum: deltas.at(-1) ?? null,
    mean: deltas.length === 0 ? null : deltas.reduce((sum, delta) => sum + delta, 0) / deltas.length,
    median: medianOf(deltas),
    orderAgreement: order.share,
    orderedPairs: order.pairs,
    nonFinite: nonFinite.length,
    mismatched: mismatched.length,
    refused: cases.filter(({ refused }) => refused).length,
  };

  const problems: string[] = [];
  const [firstDifferent] = different;
  if (firstDifferent !== undefined) {
    problems.push(
      `${different.length} of ${summary.tokensCompared} token sequences differ, the first in ` +
        `${nameOf(firstDifferent)}: ${describeDifference(firstDifferent.difference)}`,
    );
  }
  const [firstNonFinite] = nonFinite;
  if (firstNonFinite !== undefined) {
    problems.push(
      `${nonFinite.length} of ${cases.length} numbers are not finite, the first of ${nameOf(firstNonFinite)}`,
    );
  }
  const [firstMismatched] = mismatched;
  if (firstMismatched !== undefined) {
    const { expected } = firstMismatched;
    problems.push(
      `${nameOf(firstMismatched)} ${expected === null ? "was scored and should be a query overflow" : `was not scored and should be ${expected}`}`,
    );
  }
  const unit = measured.every(({ measure }) => measure === "score") ? "scores" : "logits";
  if (deltas.length === 0) problems.push("there is no number to compare");
  else problems.push(...judgeNumbers(measured, unit, bound, scale, summary));
  const rescaled = measured.find(
    ({ delta, scoreDelta }) => scoreDelta !== undefined && !(scoreDelta <= delta + 1e-5),
  );
  if (rescaled !== undefined) {
    problems.push(
      `the score of ${nameOf(rescaled)} is ${shown(rescaled.scoreDelta ?? Number.NaN)} off where its logit is ` +
        `${shown(rescaled.delta)}: the activation is not the reference's`,
    );
  }
  const passed = problems.length === 0;
  return { passed, reason: passed ? praise(summary, unit, bound) : problems.join("; "), summary };
}

type MeasuredCase = VerifiedCase & {
  readonly expected: number;
  readonly actual: number;
  readonly delta: number;
};

function isMeasured(one: VerifiedCase): one is MeasuredCase {
  return one.delta !== null && Number.isFinite(one.delta);
}

function judgeNumbers(
  measured: readonly MeasuredCase[],
  unit: string,
  bound: Bound,
  scale: Scale,
  summary: VerificationSummary,
): string[] {
  const { maximum, median } = bound;
  const problems: string[] = [];
  if (maximum !== undefined) {
    const beyond = measured.filter(({ delta }) => delta > maximum);
    const worst = beyond.toSorted((a, b) => b.delta - a.delta)[0];
    if (worst !== undefined) {
      problems.push(
        `${beyond.length} of ${measured.length} ${unit} are further off than the ${shown(maximum)} of ${bound.name}, the worst by ` +
          `${shown(worst.delta)} (${nameOf(worst)}: ${worst.actual} instead of ${worst.expected})`,
      );
    }
  } else if (median !== undefined) {
    if ((summary.median ?? 0) > median) {
      problems.push(
        `the median difference of the ${unit} is ${shown(summary.median ?? 0)}, above the ${shown(median)} of ${bound.name}`,
      );
    }
    const flipped = measured.filter((one) => changesSign(one, bound, scale));
    const [first] = flipped;
    if (first !== undefined) {
      problems.push(
        `${flipped.length} ${flipped.length === 1 ? "number lies" : "numbers lie"} on the other side of zero, the first ` +
          `${nameOf(first)}: ${first.actual} instead of ${first.expected}`,
      );
    }
  }
  const { orderAgreement: alike, orderedPairs } = summary;
  // Where the largest difference is bounded, so is the order.
  if (bound.order !== undefined && alike !== null && alike < bound.order.least) {
    problems.push(
      `only ${percent(alike)} of ${orderedPairs} pairs further apart than ${shown(bound.order.apart)} are ordered alike` +
        (alike <= 0.5
          ? ", no better than chance"
          : `, fewer than the ${percent(bound.order.least)} of ${bound.name}`),
    );
  }
  return problems;
}

function changesSign({ measure, expected, actual }: MeasuredCase, bound: Bound, scale: Scale): boolean {
  if (bound.signMargin === undefined || scale === "cosine") return false;
  const logit = (value: number): number => {
    if (measure !== "score") return value;
    if (scale === "tanh") return Math.atanh(value);
    return scale === "probability" ? Math.log(value / (1 - value)) : value;
  };
  return (
    Math.abs(logit(expected)) > bound.signMargin && Math.sign(logit(actual)) !== Math.sign(logit(expected))
  );
}

function orderAgreement(
  measured: readonly MeasuredCase[],
  apart: number,
): { readonly share: number | null; readonly pairs: number } {
  let pairs = 0;
  let alike = 0;
  for (const [index, one] of measured.entries()) {
    for (const other of measured.slice(index + 1)) {
      const comparable =
        one.measure === other.measure &&
        one.truncation === other.truncation &&
        (one.document === undefined || one.name === other.name);
      const expected = one.expected - other.expected;
      if (!comparable || !(Math.abs(expected) > apart)) continue;
      pairs += 1;
      if (Math.sign(one.actual - other.actual) === Math.sign(expected)) alike += 1;
    }
  }
  return { share: pairs === 0 ? null : alike / pairs, pairs };
}

function medianOf(ascending: readonly number[]): number | null {
  if (ascending.length === 0) return null;
  const upper = ascending[Math.floor(ascending.length / 2)] as number;
  return ascending.length % 2 === 1 ? upper : (upper + (ascending[ascending.length / 2 - 1] as number)) / 2;
}

function praise(summary: VerificationSummary, unit: string, bound: Bound): string {
  const { compared, tokensCompared, maximum, median } = summary;
  const tokens =
    tokensCompared === 0
      ? "the source gives no tokens to compare"
      : `all ${tokensCompared} token sequences are the reference's`;
  const numbers =
    bound.maximum !== undefined
      ? `all ${compared} ${unit} are within ${shown(bound.maximum)} (largest difference ${shown(maximum ?? 0)})`
      : `the median difference of ${compared} ${unit} is ${shown(median ?? 0)}, within the ${shown(bound.median ?? 0)} of ${bound.name}` +
        (bound.signMargin === undefined ? "" : ", and signs are stable") +
        (summary.orderAgreement === null || bound.order === undefined
          ? ""
          : `; ${percent(summary.orderAgreement)} of ${summary.orderedPairs} pairs are ordered alike`);
  return `${tokens}, and ${numbers}`;
}

function nameOf({ name, document, truncation }: VerifiedCase): string {
  const place = document === undefined ? name : `${name}[${document}]`;
  return truncation === undefined || truncation === "document-only" ? place : `${place} (${truncation})`;
}

function describeDifference(difference: TokenDifference | undefined): string {
  if (difference === undefined) return "unknown";
  const { what, position, expected, actual } = difference;
  const value = (of: number | boolean | undefined): string => (of === undefined ? "nothing" : String(of));
  return `${what}${position === undefined ? "" : `[${position}]`} is ${value(actual)} instead of ${value(expected)}`;
}

function shown(value: number): string {
  return value === 0
    ? "0"
    : value < 1e-3
      ? String(Number(value.toPrecision(2)))
      : String(Number(value.toPrecision(3)));
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
