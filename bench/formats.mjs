// `node bench/formats.mjs`: one model in every format, beside what one would run it in otherwise. See README.md.
/** @import { BenchModel, FormatsReport } from "./types.js" */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { modelFolder } from "@crossrank/model-nano";
import { describeMachine, progress, writeReadme } from "./command.mjs";
import { makeDocuments } from "./documents.mjs";
import { makeArtifacts } from "./formats/artifacts.mjs";
import { artifactsOf, chooseFormats, formatNames } from "./formats/contestants.mjs";
import { judgeFormats, renderFormats } from "./formats/report.mjs";
import { measure } from "./measure.mjs";
import { readCount, readNames } from "./options.mjs";
import { renderMachine } from "./report.mjs";

const help = `Compares one model's weights in crossrank's formats with torch's exports of them, sentence-transformers and
node-llama-cpp, on the same documents, in one run.

node bench/formats.mjs [options]
  --documents N      default 200
  --repeat N         timed runs of each contestant, after one warm-up (default 5)
  --only A,B         of ${formatNames.join(", ")}
  --json FILE        write everything that was measured
  --write            put the table into bench/README.md
  --section NAME     which of its tables: formats (the default), mnn or runtimes
  --help

Torch's exports, sentence-transformers and MNN's conversions run where $PYTHON, or python3, has them (pip install
sentence-transformers onnx onnxscript onnxruntime MNN==3.6.1 ctranslate2==4.8.4).
`;

/** Tables in bench/README.md. */
const sections = ["formats", "mnn", "runtimes"];

/** A run that takes longer than so many seconds is not repeated more often than this. */
const patience = { seconds: 30, rounds: 2 };

/**
 * @param {string} shape
 * @returns {Promise<BenchModel>}
 */
async function makeSource(shape) {
  progress(`making the model ${shape}`);
  const maker = fileURLToPath(new URL("model/make-model.mjs", import.meta.url));
  const { stdout: folder } = await promisify(execFile)(process.execPath, [maker, shape, modelFolder]);
  return { name: shape, folder, file: "onnx/model.onnx", dtype: "fp32", safetensors: true };
}

/** @param {string[]} args */
async function main(args) {
  const { values } = parseArgs({
    args,
    options: {
      documents: { type: "string", default: "200" },
      repeat: { type: "string", default: "5" },
      only: { type: "string", default: formatNames.join(",") },
      json: { type: "string" },
      write: { type: "boolean", default: false },
      section: { type: "string", default: "formats" },
      help: { type: "boolean", default: false },
      // For the tests: a model of this shape.
      shape: { type: "string", default: "minilm" },
    },
  });
  if (values.help) {
    console.log(help);
    return;
  }
  const documents = readCount("documents", values.documents);
  const repeat = readCount("repeat", values.repeat);
  const only = readNames(values.only, formatNames);
  const { section } = values;
  if (!sections.includes(section)) throw new Error(`--section knows ${sections.join(", ")}, not ${section}`);
  const machine = describeMachine();

  const folder = await mkdtemp(join(tmpdir(), "crossrank-formats-"));
  try {
    const source = await makeSource(values.shape);
    const artifacts = await makeArtifacts(source.folder, folder, artifactsOf(only), progress);
    const texts = await makeDocuments(modelFolder, documents);
    const choice = { only, artifacts, documents: texts.documents };
    const { contestants, skipped } = chooseFormats(source, choice);
    const before = loadavg()[0] ?? 0;
    const { measured, failed } = await measure(source, contestants, texts, repeat, progress, patience);
    /** @type {FormatsReport["load"]} */
    const load = [before, loadavg()[0] ?? 0];
    progress("");
    const played = { measured, skipped: [...skipped, ...failed], load };
    const report = judgeFormats(source.name, played, { artifacts, only, features: machine.features });
    const summary = [
      `${renderMachine(machine)}. Median of ${repeat} timed runs after one warm-up, contestants in turn; at most ${patience.rounds} runs of those that take longer than ${patience.seconds} s each.`,
      renderFormats(report, artifacts.versions),
    ].join("\n\n");
    console.log(summary);
    if (values.json !== undefined) {
      await writeFile(values.json, `${JSON.stringify({ machine, report }, undefined, 2)}\n`);
    }
    if (values.write) await writeReadme(section, { command: "node bench/formats.mjs", args, summary });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  progress("");
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
