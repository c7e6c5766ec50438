// The same weights in every format, made on the spot: by @crossrank/convert, and by Python where it can.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { hasModules, pythonCommand } from "../contestants/contestants.mjs";

const run = promisify(execFile);
const exportModules = ["torch", "transformers", "onnx", "onnxscript", "onnxruntime"];
const converter = fileURLToPath(new URL("../model/convert-model.mjs", import.meta.url));
const exporterScript = fileURLToPath(new URL("../../lab/convert/torch_export.py", import.meta.url));

/**
 * @typedef {object} Artifact
 * @property {string} folder of a model
 * @property {string} file relative to it
 * @property {number} bytes
 */

/**
 * @typedef {object} Artifacts
 * @property {Record<string, Artifact>} found by "format:dtype" of crossrank, or "exporter:dtype" of torch
 * @property {Record<string, string>} missing the reason, by the same
 * @property {readonly string[]} versions of what made them
 */

/**
 * @param {string} source folder with model.safetensors
 * @param {string} folder to put them in
 * @param {readonly string[]} wanted e.g. "onnx:fp32", "gguf:Q8_0", "mnn:fp16", "ctranslate2:int8", "dynamo:int8"
 * @param {(text: string) => void} progress
 * @returns {Promise<Artifacts>}
 */
export async function makeArtifacts(source, folder, wanted, progress) {
  /** @type {Artifacts["found"]} */
  const found = {};
  /** @type {Artifacts["missing"]} */
  const missing = {};
  const own = wanted.filter((name) => /^(onnx|gguf|mnn|ctranslate2):/.test(name));
  if (own.length > 0) {
    progress("converting");
    const output = join(folder, "crossrank");
    const { stdout } = await run(process.execPath, [converter, source, output, ...own]);
    /** @type {Record<string, { file: string, bytes: number } | { reason: string }>} */
    const made = JSON.parse(stdout);
    for (const [name, one] of Object.entries(made)) {
      if ("reason" in one) missing[name] = one.reason;
      else found[name] = { folder: output, file: one.file, bytes: one.bytes };
    }
  }
  /** @type {readonly string[]} */
  let versions = [];
  for (const exporter of ["dynamo", "legacy"]) {
    const names = wanted.filter((name) => name.startsWith(`${exporter}:`));
    if (names.length === 0) continue;
    progress(`exporting by torch, ${exporter}`);
    const output = join(folder, exporter);
    try {
      const made = await exportByTorch(source, output, exporter);
      versions = made.versions;
      for (const name of names) {
        const file = `onnx/model${name.endsWith(":fp32") ? "" : `_${name.slice(exporter.length + 1)}`}.onnx`;
        found[name] = { folder: output, file, bytes: made.sizes[file] ?? 0 };
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      for (const name of names) missing[name] = reason;
    }
  }
  return { found, missing, versions };
}

/**
 * @param {string} source
 * @param {string} output
 * @param {string} exporter
 * @returns {Promise<{ sizes: Record<string, number>, versions: readonly string[] }>}
 */
async function exportByTorch(source, output, exporter) {
  const python = pythonCommand();
  if (!hasModules(python, exportModules)) {
    throw new Error(`${python} lacks some of ${exportModules.join(", ")}`);
  }
  const { stdout } = await run(python, [exporterScript, source, output, "--exporter", exporter]);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}
