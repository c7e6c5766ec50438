// From what was measured to what is reported: rates, agreement, ratios, aims.
/** @import { Aim, BenchModel, ModelReport, Result, Scored, Skipped, SweepCell } from "./types.js" */
/** @import { Measured } from "./measure.mjs" */

/** Logits in fp32 must agree this well, or the contestant computed something else and gets no ratio. */
const agreement = 1e-2;
const wantedLead = 5;
const wantedLevel = 0.95;
const wantedDelay = 50;

/**
 * @param {BenchModel} model
 * @param {number} bytes of the .onnx file
 * @param {{ measured: readonly Measured[], sweep: readonly SweepCell[], skipped: readonly Skipped[] }} played
 * @returns {ModelReport}
 */
export function judge(model, bytes, { measured, sweep, skipped }) {
  const reference = measured.find(({ contestant }) => contestant.name === "crossrank");
  const first = reference ?? measured[0];
  if (first === undefined) {
    throw new Error(
      `nobody finished:\n${skipped.map(({ title, reason }) => `${title}: ${reason}`).join("\n")}`,
    );
  }
  const results = bestOfSweep(measured).map((one) => resultOf(one, reference, model.dtype === "fp32"));
  return {
    model: model.name,
    dtype: model.dtype,
    bytes,
    ...describeScored(first.scored),
    results,
    sweep,
    skipped,
    aims: aimsOf(results),
  };
}

/**
 * @param {Scored} scored by a contestant that tells tokens
 * @returns {Pick<ModelReport, "documents" | "logits">}
 */
export function describeScored({ logits, tokens = [], truncated = [] }) {
  return {
    documents: {
      count: logits.length,
      truncated: truncated.filter(Boolean).length,
      tokens: {
        least: Math.min(...tokens),
        mean: tokens.reduce((total, one) => total + one, 0) / tokens.length,
        most: Math.max(...tokens),
      },
    },
    logits: { least: Math.min(...logits), most: Math.max(...logits) },
  };
}

/**
 * Of the sweep's finalists only the one with the best median.
 *
 * @param {readonly Measured[]} measured
 */
function bestOfSweep(measured) {
  const [best] = measured
    .filter(({ contestant }) => contestant.sweep)
    .sort((left, right) => median(left.seconds) - median(right.seconds));
  return measured.filter((one) => !one.contestant.sweep || one === best);
}

/**
 * @param {Measured} measured
 * @param {Measured | undefined} reference
 * @param {boolean} mustAgree
 * @returns {Result}
 */
function resultOf({ contestant, version, scored, seconds, delay, peakMemory }, reference, mustAgree) {
  const difference =
    reference && largestDifference(scored.logits, reference.scored.logits, reference.scored.truncated);
  const comparable = difference !== undefined && (!mustAgree || difference <= agreement);
  return {
    name: contestant.name,
    title: contestant.title,
    version,
    rate: scored.logits.length / median(seconds),
    seconds,
    delay,
    peakMemory,
    difference,
    ratio: reference && comparable ? ratioOf(reference.seconds, seconds) : undefined,
  };
}

/**
 * Of the rounds that both ran in: a slow contestant leaves early, and the machine may be busier later.
 *
 * @param {readonly number[]} over seconds of each round
 * @param {readonly number[]} under
 */
export function ratioOf(over, under) {
  return median(over.slice(0, under.length)) / median(under.slice(0, over.length));
}

/**
 * Infinite when a logit is missing or no number.
 *
 * @param {readonly number[]} logits
 * @param {readonly number[]} expected
 * @param {readonly boolean[] | undefined} truncated
 */
export function largestDifference(logits, expected, truncated) {
  const differences = expected
    .map((value, index) => Math.abs(value - (logits[index] ?? Number.NaN)))
    .filter((_, index) => !truncated?.[index]);
  return differences.some(Number.isNaN) ? Number.POSITIVE_INFINITY : Math.max(0, ...differences);
}

/**
 * @param {readonly Result[]} results
 * @returns {Aim[]}
 */
function aimsOf(results) {
  /** @param {string} name */
  const find = (name) => results.find((result) => result.name === name);
  const own = find("crossrank")?.delay?.p99;
  const against = { transformers: find("transformers.js")?.ratio, sweep: find("sweep")?.ratio };
  /** @type {(ratio: number | undefined) => number | undefined} */
  const lead = (ratio) => (ratio === undefined ? undefined : 1 / ratio);
  const [transformers, sweep] = [lead(against.transformers), lead(against.sweep)];
  return [
    {
      text: `at least ${wantedLead} × transformers.js as documented: ${transformers?.toFixed(1) ?? "?"} ×`,
      met: transformers === undefined ? undefined : transformers >= wantedLead,
    },
    {
      text: `level with the best raw sweep, or at most 5 % behind: ${sweep === undefined ? "?" : percent(sweep - 1)}`,
      met: sweep === undefined ? undefined : sweep >= wantedLevel,
    },
    {
      text: `event-loop delay p99 below ${wantedDelay} ms: ${own?.toFixed(1) ?? "?"} ms`,
      met: own === undefined ? undefined : own < wantedDelay,
    },
  ];
}

/** @param {number} share */
function percent(share) {
  return `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)} %`;
}

/** @param {readonly number[]} numbers */
export function median(numbers) {
  const sorted = [...numbers].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  const [below, above] = [sorted[middle - 1], sorted[middle]];
  if (above === undefined) return Number.NaN;
  return sorted.length % 2 === 1 || below === undefined ? above : (below + above) / 2;
}
