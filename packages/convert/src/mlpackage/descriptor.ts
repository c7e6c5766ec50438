import { named, wrapped, writtenArchitectures } from "../source/architecture-names.js";
import type { WriterDescriptor } from "../writer-descriptor.js";

export const mlpackageDescriptor: WriterDescriptor = {
  format: "mlpackage",
  dtypes: ["fp32", "fp16"],
  help: wrapped(
    `for Core ML: ${named(writtenArchitectures.mlpackage)}, cross-encoders and bi-encoders. ` +
      "fp16 (weights and arithmetic, the default), fp32. A fixed batch (--batch) that crossrank fills up, and fixed " +
      "lengths (--lengths). --deployment macos15 writes one package for all lengths, macos13 one a length.",
  ),
  options: {
    batch: { help: "rows of every prediction (default: 20)", value: "count" },
    lengths: {
      help: "sequence lengths that it takes (default: 128,256,512, as far as the model goes)",
      value: "counts",
    },
    deployment: { help: "the oldest system (default: macos15)", value: ["macos15", "macos13"] },
  },
  // On every system alike. The first computes in float32, and alone judges what is computed so.
  judges: (dtype) =>
    dtype === "fp32" ? ["coreml:reference"] : ["coreml:reference", "coreml:reference-half"],
  create: async (options) => (await import("./write-mlpackage.js")).createMlpackageWriter(options),
};
