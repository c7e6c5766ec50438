// Builds packages/backend-mnn/test/fixtures: conformance fixtures as .mnn files, with the clean ONNX of
// @crossrank/convert (built) in between.
//
//   node lab/mnn/build-fixtures.mjs PYTHON [NAME…]     # default: all of them
//
// bert-logit_torch-export.mnn is not built again: mnnconvert 3.6.1 made it of bert-logit/onnx/model.onnx, torch's own
// export, without a complaint, and it scores wrongly by up to 6.9. The same command again, at random, makes that file or
// one with an operator more that is right to 0.003: what comes out depends on memory that
// the converter has not written. So a conversion is never judged by its recipe, only by its scores.
//
// PYTHON has the package MNN in the version of requirements.txt: the addon's own. Its command `mnnconvert` is not used:
// on each run it installs a further package with pip and reports the conversion to its makers (MNN/tools/utils/log.py
// of 3.6.1). The native function that it wraps does neither.
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openFixtures } from "../../packages/conformance/dist/index.js";
import { createOnnxWriter, describeModel } from "../../packages/convert/dist/index.js";
import { readProfile } from "../../packages/core/dist/index.js";

const [, , python = "python3", ...only] = process.argv;
const target = fileURLToPath(new URL("../../packages/backend-mnn/test/fixtures/", import.meta.url));

const dtypes = {
  fp32: [],
  fp16: ["--fp16"],
  int8: ["--weightQuantBits", "8"],
};
const wanted = {
  "bert-logit": ["fp32", "fp16", "int8"],
  "bert-cosine-mean": ["fp32"],
  "bert-late": ["fp32"],
  "roberta-logit": ["fp32"],
  "xlm-roberta-logit": ["fp32"],
  // Which the backend refuses: wrong in the batches after one of a single row.
  "deberta-v2-logit": ["fp32"],
};

const folder = await mkdtemp(join(tmpdir(), "crossrank-mnn-"));
const origin = join(target, "origin.json");
const facts = JSON.parse(await readFile(origin, "utf8"));
try {
  for (const [name, precisions] of Object.entries(wanted)) {
    if (only.length > 0 && !only.includes(name)) continue;
    const [{ files }] = openFixtures([name]);
    const { profile } = await readProfile(files);
    const description = await describeModel(files, profile, {});
    const writer = createOnnxWriter({ target: "mnn" });
    for (const dtype of precisions) {
      const path = join(folder, `${name}_${dtype}.onnx`);
      // mnnconvert cuts floats off to halves; halves from the start are rounded, and stay as they are.
      const stored = dtype === "fp16" ? "fp16" : "fp32";
      await writer.write({ files, description, profile, dtype: stored, path, metadata: {} });
      await convert(path, `${name}_${dtype}.mnn`, dtypes[dtype]);
    }
  }
} finally {
  await rm(folder, { recursive: true });
}
await writeFile(origin, `${JSON.stringify(facts, undefined, 2)}\n`);

async function convert(onnx, name, extra) {
  await mkdir(target, { recursive: true });
  const path = join(target, name);
  const argumentsOf = [
    "-f",
    "ONNX",
    "--modelFile",
    onnx,
    "--MNNModel",
    path,
    "--bizCode",
    "crossrank",
    ...extra,
  ];
  mnnconvert(argumentsOf);
  facts[name] = { mnnconvert: mnnconvert(["--version"]), options: extra };
  console.log(name);
}

function mnnconvert(argumentsOf) {
  const program = "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])";
  const output = execFileSync(python, ["-c", program, ...argumentsOf], { encoding: "utf8" });
  return output.trim().split("\n").at(-1);
}
