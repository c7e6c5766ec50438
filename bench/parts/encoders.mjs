// Every engine over one encoder.
/** @import { EngineTable, PartOptions, PartReport } from "../types.js" */
import { tables } from "../engines/engines.mjs";
import { playEngines } from "../engines/play.mjs";
import { renderEngines } from "../engines/report.mjs";

/**
 * @param {PartOptions} options
 * @returns {Promise<PartReport>}
 */
export async function run(options) {
  const { tables: results, texts } = await playEngines(tables, options);
  return {
    page: [`${texts}.`, ...results.map(renderEngines)].join("\n\n"),
    kept: Object.fromEntries(results.flatMap(keptOf)),
    report: results,
  };
}

/**
 * What the history holds of a table.
 *
 * @param {EngineTable} table
 * @returns {[string, unknown][]}
 */
export function keptOf({ results, floor }) {
  const round = (/** @type {number | undefined} */ value) =>
    value === undefined ? undefined : Number(value.toPrecision(4));
  return [
    ...Object.entries(floor).map(
      ([kind, { perSecond }]) => /** @type {[string, unknown]} */ ([`floor-${kind}`, round(perSecond)]),
    ),
    ...results.map(
      ({ name, processor, ratio, share }) =>
        /** @type {[string, unknown]} */ ([
          name,
          {
            ms: round(processor),
            ...(ratio && { ratio: [round(ratio.lower), round(ratio.value), round(ratio.upper)] }),
            share: round(share),
          },
        ]),
    ),
  ];
}
