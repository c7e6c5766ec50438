import type { WriterDescriptor } from "../writer-descriptor.js";
import { ggufDtypes } from "./dtypes.js";

export const ggufDescriptor: WriterDescriptor = {
  format: "gguf",
  dtypes: ggufDtypes,
  help: [
    "BERT, RoBERTa and XLM-RoBERTa, ModernBERT with mean pooling, Qwen3 rerankers, and",
    "bi-encoders of these. F32, F16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q4_K_M, Q4_K_S, Q4_0.",
  ],
  judges: () => ["llamacpp"],
  create: async () => (await import("./write-gguf.js")).ggufWriter,
};
