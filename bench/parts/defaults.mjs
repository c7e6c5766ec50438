// crossrank with every option at its default, beside a sweep of raw onnxruntime-node and what documentation shows: documents
// a second, and how long the event loop is held up.
/** @import { BenchModel, ModelReport, PartOptions, PartReport } from "../types.js" */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { modelFolder } from "@crossrank/model-nano";
import { progress } from "../command.mjs";
import { chooseContestants, contestantNames } from "../contestants/contestants.mjs";
import { makeDocuments } from "../documents.mjs";
import { makeSource } from "../engines/play.mjs";
import { judge } from "../judge.mjs";
import { measure } from "../measure.mjs";
import { renderReport } from "../report.mjs";

/** Batch sizes of the sweep, from whole runs to those of a test. */
const batches = { minilm: [1, 2, 4, 8, 16, 32], tiny: [1, 4] };

/**
 * @param {"nano" | PartOptions["shape"]} name
 * @param {PartOptions} options
 * @returns {Promise<ModelReport>}
 */
async function playModel(name, { documents, rounds, only, shape }) {
  const model = await prepareModel(name);
  const texts = await makeDocuments(modelFolder, documents);
  const { contestants, skipped } = chooseContestants(model, only ?? contestantNames, batches[shape]);
  const { measured, sweep, failed } = await measure(model, contestants, texts, rounds, (text) =>
    progress(`${name}, ${text}`),
  );
  progress("");
  const { size } = await stat(join(model.folder, model.file));
  return judge(model, size, { measured, sweep, skipped: [...skipped, ...failed] });
}

/**
 * @param {"nano" | PartOptions["shape"]} name
 * @returns {Promise<BenchModel>}
 */
async function prepareModel(name) {
  return name === "nano"
    ? { name, folder: modelFolder, file: "onnx/model_int8.onnx", dtype: "int8", safetensors: false }
    : makeSource(name);
}

/**
 * @param {PartOptions} options `only` names contestants
 * @returns {Promise<PartReport>}
 */
export async function run(options) {
  /** @type {ModelReport[]} */
  const reports = [];
  // The tests take the made model alone.
  const names =
    options.shape === "tiny" ? /** @type {const} */ (["tiny"]) : /** @type {const} */ (["minilm", "nano"]);
  for (const name of names) reports.push(await playModel(name, options));
  return {
    page: reports.map(renderReport).join("\n\n"),
    kept: Object.fromEntries(
      reports.flatMap(({ model, results }) =>
        results.map(({ name, rate, ratio }) => [
          `${model}, ${name}`,
          { rate: round(rate), ratio: round(ratio) },
        ]),
      ),
    ),
    report: reports,
  };
}

/** @param {number | undefined} value */
function round(value) {
  return value === undefined ? undefined : Number(value.toPrecision(4));
}
