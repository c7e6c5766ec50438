// Writes a model's float32 and int8 graphs into a folder:
// node lab/int8/variants.mjs <model> <folder>
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";

const at = (name) => new URL(`../../packages/${name}`, import.meta.url).href;
const { createOnnxWriter, describeModel } = await import(at("convert/dist/index.js"));
const { readProfile } = await import(at("core/dist/index.js"));
const { openModel } = await import(at("hub/dist/index.js"));

const [model, folder] = process.argv.slice(2);
await mkdir(folder, { recursive: true });
const files = await openModel(model);
const { profile } = await readProfile(files);
const description = await describeModel(files, profile);
for (const [name, dtype, options] of [
  ["fp32", "fp32", {}],
  ["batch", "int8", { activations: "batch" }],
  ["row", "int8", { activations: "row" }],
]) {
  const path = resolve(join(folder, `${name}.onnx`));
  await createOnnxWriter(options).write({ files, description, profile, dtype, path, metadata: {} });
}
