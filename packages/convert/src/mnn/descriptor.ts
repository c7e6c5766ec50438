import type { WriterDescriptor } from "../writer-descriptor.js";

export const mnnDescriptor: WriterDescriptor = {
  format: "mnn",
  dtypes: ["fp32", "fp16", "int8"],
  help: [
    "as onnx, without DeBERTa-v2. fp32; fp16 (weights halved, computed in float32; not where",
    "rotary positions would suffer); int8 (matrices in 8 bits, computed in float32). MNN's own",
    "converter makes the file: a Python with the package MNN 3.6 (pip install MNN==3.6.1),",
    "by --python, the environment's PYTHON, or python3.",
  ],
  options: {
    python: { help: "a Python with the package MNN (default: $PYTHON, else python3)", value: "text" },
  },
  judges: () => ["mnn"],
  create: async (options) => (await import("./write-mnn.js")).createMnnWriter(options),
};
