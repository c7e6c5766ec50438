// `npm run bench`: compares crossrank with what one would use instead. See README.md.
/** @import { BenchModel, ModelReport } from "./types.js" */
/** @import { Options } from "./options.mjs" */
import { execFile } from "node:child_process";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { modelFolder } from "@crossrank/model-nano";
import { describeMachine, progress, writeReadme } from "./command.mjs";
import { chooseContestants } from "./contestants/contestants.mjs";
import { makeDocuments } from "./documents.mjs";
import { judge } from "./judge.mjs";
import { measure } from "./measure.mjs";
import { help, readOptions } from "./options.mjs";
import { renderMachine, renderReport } from "./report.mjs";

/**
 * @param {Options["models"][number]} name
 * @returns {Promise<BenchModel>}
 */
async function prepareModel(name) {
  if (name === "nano") {
    return { name, folder: modelFolder, file: "onnx/model_int8.onnx", dtype: "int8", safetensors: false };
  }
  progress(`making the model ${name}`);
  const maker = fileURLToPath(new URL("model/make-model.mjs", import.meta.url));
  const { stdout: folder } = await promisify(execFile)(process.execPath, [maker, name, modelFolder]);
  return { name, folder, file: "onnx/model.onnx", dtype: "fp32", safetensors: true };
}

/**
 * @param {Options["models"][number]} name
 * @param {Options} options
 * @returns {Promise<ModelReport>}
 */
async function benchModel(name, options) {
  const model = await prepareModel(name);
  const texts = await makeDocuments(modelFolder, options.documents);
  const { contestants, skipped } = chooseContestants(model, options.only, options.batches);
  const { measured, sweep, failed } = await measure(model, contestants, texts, options.repeat, (text) =>
    progress(`${name}, ${text}`),
  );
  progress("");
  const { size } = await stat(join(model.folder, model.file));
  return judge(model, size, { measured, sweep, skipped: [...skipped, ...failed] });
}

/** @param {string[]} args */
async function main(args) {
  const options = readOptions(args);
  if (options.help) {
    console.log(help);
    return;
  }
  const machine = describeMachine();
  const note =
    `Median of ${options.repeat} timed runs after one warm-up, contestants in turn; at most 2 runs of those that take ` +
    "longer than 10 s each.";
  const parts = [`${renderMachine(machine)}. ${note}`];
  console.log(`${parts[0]}\n`);
  /** @type {ModelReport[]} */
  const reports = [];
  for (const name of options.models) {
    const report = await benchModel(name, options);
    reports.push(report);
    parts.push(renderReport(report));
    console.log(`${parts.at(-1)}\n`);
  }
  if (options.json !== undefined) {
    await writeFile(options.json, `${JSON.stringify({ machine, options, reports }, undefined, 2)}\n`);
  }
  if (options.write)
    await writeReadme("bench", { command: "npm run bench --", args, summary: parts.join("\n\n") });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  progress("");
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
