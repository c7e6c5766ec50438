// A program that ranks with nano and ends: loads a contestant's module, scores, says so, ends.
// `node first-scores.mjs MODULE`, or `nothing` for a program that does nothing.
/** @import { Loaded, Setup } from "../types.js" */
import { modelFolder } from "@crossrank/model-nano";

const [module = ""] = process.argv.slice(2);
if (module === "nothing") {
  console.log("0");
} else {
  /** @type {{ load: (setup: Setup) => Promise<Loaded> }} */
  const { load } = await import(new URL(`../contestants/${module}.mjs`, import.meta.url).href);
  const documents = Array.from(
    { length: 10 },
    (_, index) => `Chapter ${index} is about the capital of France.`,
  );
  const query = "what is the capital of France?";
  const model = {
    name: "nano",
    folder: modelFolder,
    file: "onnx/model_int8.onnx",
    dtype: "int8",
    safetensors: false,
  };
  const options = module === "onnxruntime" ? { rows: 1, workers: 0 } : {};
  const loaded = await load({ model, query, documents, options });
  const { logits } = await loaded.score(query, documents);
  console.log(String(logits.length));
  await loaded.dispose();
}
