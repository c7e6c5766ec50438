// Converts a model with @crossrank/convert, a process of its own for the reason that make-model.mjs gives.
// `node convert-model.mjs MODEL_FOLDER OUTPUT_FOLDER FORMAT:DTYPE …`; prints a JSON object of paths and bytes.
import { convert } from "@crossrank/convert";
import { openModel } from "@crossrank/hub";

const [source = "", output = "", ...wanted] = process.argv.slice(2);
/** @type {Record<string, { file: string, bytes: number }>} */
const artifacts = {};
for (const name of wanted) {
  const [format, dtype] = name.split(":");
  const { provenance } = await convert({
    model: await openModel(source),
    to: format === "gguf" ? "gguf" : "onnx",
    dtype,
    output,
    // The bench itself holds every artifact against fp32, and fp32 against torch.
    verify: false,
  });
  const [main] = provenance.files;
  const bytes = provenance.files.reduce((total, { size }) => total + size, 0);
  artifacts[name] = { file: main?.path ?? "", bytes };
}
process.stdout.write(JSON.stringify(artifacts));
