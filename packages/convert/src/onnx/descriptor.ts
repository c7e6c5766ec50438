import { named, wrapped, writtenArchitectures } from "../source/architecture-names.js";
import type { WriterDescriptor } from "../writer-descriptor.js";

export const onnxDescriptor: WriterDescriptor = {
  format: "onnx",
  dtypes: ["fp32", "fp16", "int8"],
  help: wrapped(
    `${named(writtenArchitectures.onnx)}: cross-encoders and bi-encoders. ` +
      "fp32; fp16 (half the size, computed in float32); int8 (weights in 8 bits, and activations, rounded when it runs). " +
      "--target mnn or plain writes ONNX's own operators alone.",
  ),
  options: {
    target: {
      help: "for whom the graph is (default: onnxruntime)",
      value: ["onnxruntime", "mnn", "plain"],
    },
    activations: {
      help: "what shares a scale of int8's activations (default: row, which is nearer to fp32; batch is a little faster)",
      value: ["row", "batch"],
    },
  },
  judges: () => ["onnx"],
  create: async (options) => (await import("./write-onnx.js")).createOnnxWriter(options),
};
