// Converts one of lab/real's models to every format that crossrank writes, into its own folder. After a build:
//   node lab/real/convert.mjs ms-marco-MiniLM-L-12-v2 [FORMAT …]
// What is there already is left, so that a run that was cut off goes on. What a format cannot hold is said, and counts
// as no failure of the others. MNN needs PYTHON to name a Python with the package MNN.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const command = fileURLToPath(new URL("../../packages/crossrank/bin/crossrank.js", import.meta.url));
const lab = process.env["CROSSRANK_LAB"] || join(homedir(), ".cache/crossrank-lab");

/** Of each format, the precisions that docs/measured.md has. */
const formats = {
  onnx: ["fp32", "fp16", "int8"],
  gguf: ["F32", "F16", "Q8_0", "Q4_K_M"],
  mnn: ["fp32", "fp16", "int8"],
  mlpackage: ["fp16"],
  ctranslate2: ["fp32", "int8"],
};

/** One row a prediction: the reference that computes a package where there is no Core ML then computes no padding. */
const more = { mlpackage: ["--batch", "1"] };

const [model, ...wanted] = process.argv.slice(2);
const unknown = wanted.find((format) => !(format in formats));
if (model === undefined || unknown !== undefined) {
  console.error(
    `usage: node lab/real/convert.mjs MODEL [FORMAT …]; formats: ${Object.keys(formats).join(", ")}`,
  );
  process.exit(2);
}
const folder = join(lab, "real", model);
if (!existsSync(join(folder, "config.json"))) {
  console.error(`There is no ${folder}: run lab/real/make.py first.`);
  process.exit(1);
}
for (const [format, dtypes] of Object.entries(formats)) {
  if (wanted.length > 0 && !wanted.includes(format)) continue;
  const there = artifacts().filter((artifact) => artifact.format === format);
  // An export that was published with the model is its ONNX file.
  const isThere = (dtype) =>
    there.some((artifact) => artifact.dtype === dtype) ||
    (format === "onnx" && dtype === "fp32" && existsSync(join(folder, "onnx/model.onnx")));
  const missing = dtypes.filter((dtype) => !isThere(dtype));
  // Each by itself: one that cannot be, such as halves of rotary positions, does not take the others along.
  for (const dtype of missing) {
    const { status } = spawnSync(
      process.execPath,
      [command, "convert", "--model", folder, "--to", format, "--dtype", dtype, ...(more[format] ?? [])],
      { stdio: ["ignore", "inherit", "inherit"] },
    );
    if (status === 0) continue;
    console.error(`${model} as ${format} ${dtype}: exit code ${status}`);
    process.exitCode = 1;
  }
}

/** What conversions have left in the folder, as its provenance.json says. */
function artifacts() {
  const file = join(folder, "provenance.json");
  if (!existsSync(file)) return [];
  return JSON.parse(readFileSync(file, "utf8")).artifacts;
}
