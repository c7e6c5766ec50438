// Converts a model with @crossrank/convert, a process of its own for the reason that make-model.mjs gives.
// `node convert-model.mjs MODEL_FOLDER OUTPUT_FOLDER FORMAT:DTYPE …`; prints a JSON object of paths and bytes, or of the
// reason where a program that the format is written with is not there.
/** @import { Conversion } from "@crossrank/convert" */
import { convert, ExternalConverterError } from "@crossrank/convert";
import { openModel } from "@crossrank/hub";

const [source = "", output = "", ...wanted] = process.argv.slice(2);
/** @type {Record<string, { file: string, bytes: number } | { reason: string }>} */
const artifacts = {};
for (const name of wanted) {
  const [format, dtype] = name.split(":");
  /** @type {Conversion} */
  let conversion;
  try {
    conversion = await convert({
      model: await openModel(source),
      to: format ?? "",
      dtype,
      output,
      // The bench itself holds every artifact against fp32, and fp32 against torch.
      verify: false,
    });
  } catch (error) {
    if (!ExternalConverterError.isInstance(error)) throw error;
    artifacts[name] = { reason: error.message };
    continue;
  }
  const { provenance } = conversion;
  const [main] = provenance.files;
  const bytes = provenance.files.reduce((total, { size }) => total + size, 0);
  artifacts[name] = { file: main?.path ?? "", bytes };
}
process.stdout.write(JSON.stringify(artifacts));
