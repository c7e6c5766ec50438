// From what was measured to a table of engines.
/** @import { EngineResult, EngineTable, Floor, Scored, Shape, Skipped } from "../types.js" */
/** @import { Measured } from "../measure.mjs" */
/** @import { Artifacts } from "./artifacts.mjs" */
/** @import { Table } from "./engines.mjs" */
import { floorKinds } from "../floor/floor.mjs";
import { largestDifference, median } from "../judge.mjs";
import { pairedRatio } from "../paired.mjs";
import { floorSeconds, workOf } from "./work.mjs";

/**
 * @typedef {object} Played
 * @property {readonly Measured[]} measured
 * @property {readonly Skipped[]} missing
 * @property {readonly Floor[]} floors of each round; empty without a floor
 * @property {string | undefined} noFloor why there is none
 * @property {EngineTable["load"]} load
 */

/**
 * @param {Table} table
 * @param {Played} played
 * @param {{ artifacts: Artifacts, shape: Shape, exact: Scored | undefined }} facts `exact` is crossrank's in fp32
 * @returns {EngineTable}
 * @throws {Error} where the reference did not finish
 */
export function judgeEngines(
  table,
  { measured, missing, floors, noFloor, load },
  { artifacts, shape, exact },
) {
  const reference = measured.find(({ contestant }) => contestant.name === table.reference);
  if (reference === undefined) {
    const reasons = missing.map(({ title, reason }) => `${title}: ${reason}`);
    throw new Error(
      `${table.title}: the reference ${table.reference} did not finish:\n${reasons.join("\n")}`,
    );
  }
  const work = workOf(shape, reference.scored.tokens ?? []);
  const referenceTimes = known(reference.processorSeconds);
  /** @param {Measured} one @returns {EngineResult} */
  const resultOf = ({ contestant, version, scored, seconds, processorSeconds, peakMemory }) => {
    const documents = scored.logits.length;
    const times = known(processorSeconds);
    const { floor: kind } = /** @type {Table["engines"][number]} */ (
      table.engines.find(({ name }) => name === contestant.name)
    );
    const shares = (times ?? []).flatMap((time, round) => {
      const best = floors[round] && floorSeconds(work, floors[round], kind);
      return best === undefined ? [] : [best / time];
    });
    const place = contestant.setup?.model;
    return {
      name: contestant.name,
      title: contestant.title,
      version,
      bytes: Object.values(artifacts.found).find(
        ({ folder, file }) => folder === place?.folder && file === place.file,
      )?.bytes,
      processor: times && (1000 * median(times)) / documents,
      wall: (1000 * median(seconds)) / documents,
      ratio:
        contestant.name === table.reference || times === undefined || referenceTimes === undefined
          ? undefined
          : pairedRatio(times, referenceTimes),
      share: shares.length === 0 ? undefined : median(shares),
      peakMemory,
      difference: exact && largestDifference(scored.logits, exact.logits, exact.truncated),
      rounds: seconds.length,
    };
  };
  return {
    title: table.title,
    reference: reference.contestant.title,
    results: measured.map(resultOf),
    missing,
    floor: medianFloor(floors),
    noFloor,
    load,
  };
}

/**
 * @param {readonly (number | undefined)[]} times
 * @returns {number[] | undefined} undefined where one is not told
 */
export function known(times) {
  const told = times.filter((time) => time !== undefined);
  return told.length === times.length ? told : undefined;
}

/**
 * @param {readonly Floor[]} floors of each round
 * @returns {Floor}
 */
export function medianFloor(floors) {
  /** @type {Floor} */
  const middle = {};
  for (const kind of floorKinds) {
    const all = floors.flatMap((floor) => floor[kind] ?? []);
    const [first] = all;
    if (first !== undefined) {
      middle[kind] = { ...first, perSecond: median(all.map(({ perSecond }) => perSecond)) };
    }
  }
  return middle;
}

/**
 * @param {EngineTable} table
 * @returns {string}
 */
export function renderEngines({ title, reference, results, missing, floor, noFloor, load }) {
  const versions = [...new Set(results.flatMap(({ version }) => version.split(", ")))];
  const count = results.length + missing.length;
  return [
    `**${title}**: ${results.length} of ${count} engines. ${versions.join(", ")}. Load average before ${load[0].toFixed(1)}, after ${load[1].toFixed(1)}. ${renderFloor(floor, noFloor)}`,
    "",
    `| one thread | documents a core-second | processor ms a document | over ${reference}'s | share of the floor | wall ms a document | largest Δ logit | peak memory, MB | artifact, MB |`,
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ...results.map((result) => renderRow(result, reference)),
    "",
    ...missing.map(
      ({ title: name, reason }) => `- **Missing: ${name}**: ${reason.trim().split("\n").at(-1)}`,
    ),
    ...(missing.length > 0 ? [""] : []),
  ]
    .join("\n")
    .trimEnd();
}

/**
 * @param {Floor} floor
 * @param {string | undefined} noFloor
 */
function renderFloor(floor, noFloor) {
  if (noFloor !== undefined) return `No floor: ${noFloor}.`;
  const said = floorKinds.map((kind) => {
    const one = floor[kind];
    return one === undefined
      ? `${kind} absent, the processor has no instruction for it`
      : `${kind} ${(one.perSecond / 1e9).toFixed(1)} (${one.instruction})`;
  });
  return `Floor, thousand million multiply-adds a core-second: ${said.join("; ")}.`;
}

/**
 * @param {EngineResult} result
 * @param {string} reference
 */
function renderRow({ title, processor, wall, ratio, share, difference, peakMemory, bytes }, reference) {
  const cells = [
    title === reference ? `**${title}**` : title,
    processor === undefined ? "" : (1000 / processor).toPrecision(3),
    processor === undefined ? "" : processor.toPrecision(3),
    ratio === undefined
      ? ""
      : `${ratio.value.toFixed(2)} (${ratio.lower.toFixed(2)} to ${ratio.upper.toFixed(2)})`,
    share === undefined ? "" : `${(100 * share).toFixed(0)} %`,
    wall.toPrecision(3),
    difference === undefined ? "" : difference === 0 ? "0" : difference.toExponential(0),
    peakMemory === undefined ? "" : (peakMemory / 1e6).toFixed(0),
    bytes === undefined ? "" : (bytes / 1e6).toFixed(1),
  ];
  return `| ${cells.join(" | ")} |`;
}
