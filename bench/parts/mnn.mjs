// MNN by threads, precision, memory and batch, beside ONNX.
/** @import { PartOptions, PartReport } from "../types.js" */
import { mnnTable } from "../engines/engines.mjs";
import { playEngines } from "../engines/play.mjs";
import { renderEngines } from "../engines/report.mjs";
import { keptOf } from "./encoders.mjs";

/**
 * @param {PartOptions} options
 * @returns {Promise<PartReport>}
 */
export async function run(options) {
  const { tables, texts } = await playEngines([mnnTable], options);
  return {
    page: [`${texts}.`, ...tables.map(renderEngines)].join("\n\n"),
    kept: Object.fromEntries(tables.flatMap(keptOf)),
    report: tables,
  };
}
