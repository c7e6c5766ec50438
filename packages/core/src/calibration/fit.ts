import { readArray } from "../call/input.js";
import { type OptionNames, requireKnownOptions } from "../call/option-names.js";
import { nameOf, requireOptionType } from "../call/option-types.js";
import type { Calibration, CalibrationFit, CalibrationMeasure } from "../contract/calibration.js";
import { InvalidInputError } from "../contract/errors.js";
import { greatest, lineOf, sigmoid } from "./calibration.js";
import { CalibrationError } from "./errors.js";
import { type Line, minimise } from "./newton.js";

/** A pair that somebody has judged, as a model scores it. */
export interface JudgedLogit {
  /** As results have it. Finite. */
  readonly logit: number;
  readonly relevant: boolean;
  /** Pairs of one group, those of a query, are held out together. Default: each pair is its own. */
  readonly group?: string | undefined;
}

/** Pairs whose probability lies in a range. */
export interface ReliabilityBin {
  /** Of the range, which includes it. */
  readonly from: number;
  /** End of the range; only the last one's belongs to it. */
  readonly to: number;
  readonly count: number;
  /** Mean of the pairs; null for none. */
  readonly probability: number | null;
  /** Share of the pairs that are relevant; null for none. */
  readonly relevant: number | null;
}

export interface FitOptions {
  /** `platt` (the default) also moves the level; `temperature` only the steepness, and takes no cosines. */
  readonly method?: Calibration["method"] | undefined;
  /** What the logits are: `logit`, the default, or `cosine`. */
  readonly of?: "logit" | "cosine" | undefined;
}

export interface FittedCalibration {
  readonly calibration: Calibration & { readonly fit: CalibrationFit };
  /** Of the sigmoid before the fit; null for cosines. */
  readonly binsBefore: readonly ReliabilityBin[] | null;
  readonly binsAfter: readonly ReliabilityBin[];
}

/** Fewest pairs, and fewest of each class, that a fit takes. */
export const leastPairs = 50;
export const leastOfClass = 10;

/** Bins of equal width of the expected calibration error. */
export const reliabilityBins = 15;

const folds = 5;

const fitNames: OptionNames<FitOptions> = { method: true, of: true };

/**
 * Fits a calibration by maximum likelihood (Newton's method), with Platt's targets, which stand for one more pair of
 * each class and keep the fit finite where the logits separate the classes.
 *
 * @throws {CalibrationError} too few pairs, one class alone, or no order among them.
 * @throws {InvalidInputError} a logit that is not finite, or a bad option.
 */
export function fitCalibration(given: readonly JudgedLogit[], options: FitOptions = {}): FittedCalibration {
  requireKnownOptions(options, fitNames, "fitCalibration");
  const { method = "platt", of = "logit" } = options;
  if (method !== "platt" && method !== "temperature") {
    throw new InvalidInputError("method", `must be platt or temperature, not ${String(method)}`);
  }
  if (of !== "logit" && of !== "cosine") {
    throw new InvalidInputError("of", `must be logit or cosine, not ${String(of)}`);
  }
  if (of === "cosine" && method === "temperature") {
    throw new InvalidInputError(
      "method",
      "is temperature, and a cosine of 0 is no even chance. Choose platt, which moves the level",
    );
  }
  const pairs = readArray(given, "pairs", readJudged);
  const line = fitLine(pairs, method);
  const measured = (one: Line): CalibrationMeasure => measureOf(pairs.map((pair) => outcome(pair, one)));
  const plain: Line = { slope: 1, intercept: 0 };
  const fit: CalibrationFit = {
    pairs: pairs.length,
    relevant: countRelevant(pairs),
    before: of === "cosine" ? null : measured(plain),
    after: measured(line),
    heldOut: heldOut(pairs, method),
  };
  const calibration: Calibration =
    method === "temperature" ? { method, temperature: 1 / line.slope, fit } : { method, ...line, fit };
  return {
    calibration: { ...calibration, fit },
    binsBefore: of === "cosine" ? null : reliability(pairs.map((pair) => outcome(pair, plain))),
    binsAfter: reliability(pairs.map((pair) => outcome(pair, lineOf(calibration)))),
  };
}

/** A probability before its sigmoid, and what came true. */
interface Outcome {
  readonly logit: number;
  readonly relevant: boolean;
}

const outcome = ({ logit, relevant }: JudgedLogit, { slope, intercept }: Line): Outcome => ({
  logit: slope * logit + intercept,
  relevant,
});

function readJudged(pair: JudgedLogit, path: string): JudgedLogit {
  if (typeof pair !== "object" || pair === null) {
    throw new InvalidInputError(path, `must be an object, not ${nameOf(pair)}: write { logit, relevant }`);
  }
  const { logit, relevant, group } = pair;
  if (typeof logit !== "number" || !Number.isFinite(logit)) {
    throw new InvalidInputError(`${path}.logit`, `must be a finite number, not ${String(logit)}`);
  }
  if (typeof relevant !== "boolean") {
    throw new InvalidInputError(`${path}.relevant`, `must be true or false, not ${String(relevant)}`);
  }
  requireOptionType(group, "string", `${path}.group`);
  return { logit, relevant, group };
}

function countRelevant(pairs: readonly JudgedLogit[]): number {
  return pairs.filter(({ relevant }) => relevant).length;
}

/** @throws {CalibrationError} */
function fitLine(pairs: readonly JudgedLogit[], method: Calibration["method"]): Line {
  const relevant = countRelevant(pairs);
  const others = pairs.length - relevant;
  const fail = (reason: CalibrationError["reason"], problem: string, fix: string): never => {
    throw new CalibrationError({ reason, pairs: pairs.length, relevant, problem, fix });
  };
  const found = `${pairs.length} pairs, ${relevant} of them relevant`;
  if (pairs.length > 0 && (relevant === 0 || others === 0)) {
    const which = relevant === 0 ? "not relevant" : "relevant";
    fail("one-class", `all ${pairs.length} pairs are ${which}`, "Add judged pairs of the other kind");
  }
  if (pairs.length < leastPairs || Math.min(relevant, others) < leastOfClass) {
    fail(
      "too-few",
      `there are ${found}, and a fit takes at least ${leastPairs}, and ${leastOfClass} of each kind`,
      "Judge more pairs",
    );
  }
  const line = minimise(pairs, { relevant, others, moves: method === "platt" });
  if (line === undefined) {
    return fail("no-convergence", `no minimum was found for ${found}`, "Use other pairs, or another method");
  }
  const { slope, intercept } = line;
  if (!(Math.abs(slope) < greatest && Math.abs(intercept) < greatest)) {
    fail("no-convergence", `the logits of ${found}, are too small for a fit`, "Look at the model's scores");
  }
  if (!(slope * greatest > 1)) {
    fail(
      "no-order",
      `the relevant ones of ${found}, do not score above the others`,
      "Look at the judgements, and at the model with `crossrank eval`",
    );
  }
  return line;
}

/** What fits on four fifths of the groups say of the last fifth. */
function heldOut(pairs: readonly JudgedLogit[], method: Calibration["method"]): CalibrationMeasure | null {
  const groups = new Map<string, number>();
  const foldOf = pairs.map(({ group }, index) => {
    const name = group === undefined ? `\0${index}` : group;
    const place = groups.get(name) ?? groups.size;
    groups.set(name, place);
    return place % folds;
  });
  if (groups.size < 2) return null;
  const outcomes: Outcome[] = [];
  for (let fold = 0; fold < Math.min(folds, groups.size); fold += 1) {
    const seen = pairs.filter((_, index) => foldOf[index] !== fold);
    const relevant = countRelevant(seen);
    const others = seen.length - relevant;
    const line =
      relevant === 0 || others === 0
        ? undefined
        : minimise(seen, { relevant, others, moves: method === "platt" });
    if (line === undefined) return null;
    for (const [index, pair] of pairs.entries()) {
      if (foldOf[index] === fold) outcomes.push(outcome(pair, line));
    }
  }
  return measureOf(outcomes);
}

function measureOf(outcomes: readonly Outcome[]): CalibrationMeasure {
  let loss = 0;
  for (const { logit, relevant } of outcomes) loss += logOfOnePlusExp(relevant ? -logit : logit);
  let distance = 0;
  for (const { count, probability, relevant } of reliability(outcomes)) {
    if (probability !== null && relevant !== null) distance += count * Math.abs(probability - relevant);
  }
  return { logLoss: loss / outcomes.length, calibrationError: distance / outcomes.length };
}

function reliability(outcomes: readonly Outcome[]): ReliabilityBin[] {
  const sums = Array.from({ length: reliabilityBins }, () => ({ count: 0, probability: 0, relevant: 0 }));
  for (const { logit, relevant } of outcomes) {
    const probability = sigmoid(logit);
    const bin = Math.min(Math.floor(probability * reliabilityBins), reliabilityBins - 1);
    const sum = sums[bin] as (typeof sums)[number];
    sum.count += 1;
    sum.probability += probability;
    if (relevant) sum.relevant += 1;
  }
  return sums.map(({ count, probability, relevant }, index) => ({
    from: index / reliabilityBins,
    to: (index + 1) / reliabilityBins,
    count,
    probability: count === 0 ? null : probability / count,
    relevant: count === 0 ? null : relevant / count,
  }));
}

/** ln(1 + exp(value)), without an overflow. */
function logOfOnePlusExp(value: number): number {
  return value > 0 ? value + Math.log1p(Math.exp(-value)) : Math.log1p(Math.exp(value));
}
