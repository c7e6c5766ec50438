// `npm run bench`: compares crossrank with what one would use instead. See README.md.
/** @import { BenchModel, Machine, ModelReport } from "./types.js" */
/** @import { Options } from "./options.mjs" */
import { execFile } from "node:child_process";
import { readFile, stat, writeFile } from "node:fs/promises";
import { arch, availableParallelism, cpus, platform, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { modelFolder } from "@crossrank/model-nano";
import { chooseContestants } from "./contestants/contestants.mjs";
import { makeDocuments } from "./documents.mjs";
import { judge } from "./judge.mjs";
import { measure } from "./measure.mjs";
import { help, readOptions } from "./options.mjs";
import { renderMachine, renderReport } from "./report.mjs";

const readme = fileURLToPath(new URL("README.md", import.meta.url));

/** @param {string} text */
function progress(text) {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
}

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

/** @returns {Machine} */
function describeMachine() {
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown processor",
    threads: availableParallelism(),
    memory: totalmem(),
    platform: `${platform()} ${arch()}`,
    node: process.version,
  };
}

/**
 * @param {string} summary
 * @param {readonly string[]} args
 */
async function writeReadme(summary, args) {
  // Where its author keeps the JSON is nobody's business.
  const shown = args.filter((arg, index) => !arg.startsWith("--json") && args[index - 1] !== "--json");
  const command = ["npm run bench --", ...shown].join(" ");
  const [start, end] = ["<!-- bench:start -->", "<!-- bench:end -->"];
  const text = await readFile(readme, "utf8");
  if (!text.includes(start) || !text.includes(end))
    throw new Error(`bench/README.md has no ${start} … ${end}`);
  const before = text.slice(0, text.indexOf(start) + start.length);
  const after = text.slice(text.indexOf(end));
  await writeFile(readme, `${before}\n\nWritten by \`${command}\`:\n\n${summary}\n\n${after}`);
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
  if (options.write) await writeReadme(parts.join("\n\n"), args);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  progress("");
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
