import type { WriterDescriptor } from "../writer-descriptor.js";

export const ctranslate2Descriptor: WriterDescriptor = {
  format: "ctranslate2",
  dtypes: ["fp32", "fp16", "int8"],
  help: [
    "BERT, RoBERTa and XLM-RoBERTa, CamemBERT, ELECTRA, DistilBERT and MPNet, cross-encoders and",
    "bi-encoders. fp32; fp16 (weights halved, computed in float32); int8 (tables and matrices in",
    "8 bits, products in integers).",
  ],
  judges: () => ["ctranslate2"],
  create: async () => (await import("./write-ctranslate2.js")).ctranslate2Writer,
};
