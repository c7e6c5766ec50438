// From what was measured to the table of formats and its aims.
/** @import { Aim, FormatResult, FormatsReport, Skipped } from "../types.js" */
/** @import { Measured } from "../measure.mjs" */
/** @import { Artifacts } from "./artifacts.mjs" */
import { describeScored, largestDifference, median, ratioOf } from "../judge.mjs";
import { opponentOf } from "./contestants.mjs";

/** Wanted speed of crossrank's over the contestant's. */
const wanted = /** @type {const} */ ([
  ["export-fp32", 1.3],
  ["legacy-export-fp32", 1.3],
  ["export-int8", 1.8],
  ["legacy-export-int8", 1.8],
  ["rankall-f16", 1.3],
  ["rankall-q8_0", 1.3],
]);

/**
 * @param {string} model
 * @param {{ measured: readonly Measured[], skipped: readonly Skipped[], load: FormatsReport["load"] }} played
 * @param {{ artifacts: Artifacts, only: readonly string[], features: readonly string[] | undefined }} facts
 * @returns {FormatsReport}
 */
export function judgeFormats(model, { measured, skipped, load }, { artifacts, only, features }) {
  const first = measured.find(({ scored }) => scored.tokens !== undefined);
  if (first === undefined) {
    const reasons = skipped.map(({ title, reason }) => `${title}: ${reason}`);
    throw new Error(`none of crossrank's finished, and it counts the tokens:\n${reasons.join("\n")}`);
  }
  const results = measured.map((one) => resultOf(one, measured, artifacts));
  return {
    model,
    ...describeScored(first.scored),
    load,
    results,
    skipped,
    aims: aimsOf(results, only, features),
  };
}

/**
 * @param {Measured} measured
 * @param {readonly Measured[]} all
 * @param {Artifacts} artifacts
 * @returns {FormatResult}
 */
function resultOf({ contestant, version, scored, seconds, processorSeconds, peakMemory }, all, { found }) {
  /** @param {string | undefined} name */
  const find = (name) => all.find((one) => one.contestant.name === name);
  const reference = find("onnx-fp32");
  const opponent = find(opponentOf(contestant.name));
  const documents = scored.logits.length;
  const comparable = reference !== undefined && reference.scored.logits.length === documents;
  const rate = documents / median(seconds);
  const processor = known(processorSeconds);
  const opposite = opponent && known(opponent.processorSeconds);
  const place = contestant.setup?.model;
  return {
    name: contestant.name,
    title: contestant.title,
    version,
    bytes: Object.values(found).find(({ folder, file }) => folder === place?.folder && file === place.file)
      ?.bytes,
    documents,
    rate,
    seconds,
    processorSeconds: processor && median(processor),
    peakMemory,
    difference: comparable
      ? largestDifference(scored.logits, reference.scored.logits, scored.truncated)
      : undefined,
    against: opponent?.contestant.title,
    // Of a sample by the rates, since its seconds are of fewer documents.
    lead:
      opponent &&
      (opponent.scored.logits.length === documents
        ? 1 / ratioOf(opponent.seconds, seconds)
        : opponent.scored.logits.length / median(opponent.seconds) / rate),
    processorRatio:
      processor && opposite && opponent.scored.logits.length === documents
        ? ratioOf(processor, opposite)
        : undefined,
  };
}

/**
 * @param {readonly (number | undefined)[]} times
 * @returns {number[] | undefined} undefined where one is not told
 */
function known(times) {
  const told = times.filter((time) => time !== undefined);
  return told.length === times.length ? told : undefined;
}

/**
 * @param {readonly FormatResult[]} results
 * @param {readonly string[]} only who was to compete: about the others there is nothing to say
 * @param {readonly string[] | undefined} features
 * @returns {Aim[]}
 */
function aimsOf(results, only, features) {
  /** @param {string} name */
  const find = (name) => results.find((result) => result.name === name);
  /** @type {Aim[]} */
  const aims = wanted
    .filter(([name]) => only.includes(name))
    .map(([name, least]) => {
      const result = find(name);
      const { lead, against = "crossrank", title = name } = result ?? {};
      return {
        text: `${against}, at least ${least} × ${title}: ${lead?.toFixed(2) ?? "?"} ×`,
        met: lead === undefined ? undefined : lead >= least,
      };
    });
  if (!only.includes("torch-bf16")) return aims;
  const lead = find("torch-bf16")?.lead;
  const hasAmx = features?.includes("amx_bf16") === true;
  return [
    ...aims,
    {
      text: `crossrank, onnx int8, level with torch in bf16 where the processor has AMX${hasAmx ? "" : ", which this one has not"}: ${lead?.toFixed(2) ?? "?"} ×`,
      met: lead === undefined || !hasAmx ? undefined : lead >= 1,
    },
  ];
}

/**
 * @param {FormatsReport} report
 * @param {readonly string[]} versions of what made the artifacts
 */
export function renderFormats({ model, documents, logits, load, results, skipped, aims }, versions) {
  const { least, mean, most } = documents.tokens;
  const all = [...new Set([...results.flatMap(({ version }) => version.split(", ")), ...versions])];
  return [
    `\`${model}\`, random weights: ${documents.count} documents, pairs of ${least}–${most} tokens (mean ${mean.toFixed(0)}); logits from ${logits.least.toFixed(2)} to ${logits.most.toFixed(2)}. Load average before ${load[0].toFixed(1)}, after ${load[1].toFixed(1)}. Versions: ${all.join(", ")}.`,
    "",
    "| | documents/s | crossrank's speed over it | processor ms a document | over crossrank's | largest Δ logit | peak memory, MB | artifact, MB | runs |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ...results.map(renderRow),
    "",
    ...skipped.map(({ title, reason }) => `- ${title} — skipped: ${reason.trim().split("\n").at(-1)}`),
    ...(skipped.length > 0 ? [""] : []),
    ...aims.map(
      ({ text, met }) => `- ${met === undefined ? "not judged" : met ? "met" : "**missed**"}: ${text}`,
    ),
  ].join("\n");
}

/** @param {FormatResult} result */
function renderRow(result) {
  const { title, rate, against, lead, difference, peakMemory, bytes, seconds } = result;
  const { documents, processorSeconds, processorRatio } = result;
  const cells = [
    against === undefined && title.startsWith("crossrank,") ? `**${title}**` : title,
    rate.toPrecision(3),
    lead === undefined ? "" : `${lead.toFixed(2)} (${against?.replace("crossrank, ", "")})`,
    processorSeconds === undefined ? "" : ((1000 * processorSeconds) / documents).toPrecision(3),
    processorRatio === undefined ? "" : processorRatio.toFixed(2),
    difference === undefined ? "" : difference === 0 ? "0" : difference.toExponential(0),
    peakMemory === undefined ? "" : (peakMemory / 1e6).toFixed(0),
    bytes === undefined ? "" : (bytes / 1e6).toFixed(1),
    `${seconds.length}`,
  ];
  return `| ${cells.join(" | ")} |`;
}
