// What `import … from "@crossrank/ai-sdk"` gives: reranking models for `rerank()` of the AI SDK.
export type { DocumentText } from "./document-text.js";
export {
  type CrossrankProvider,
  type CrossrankProviderOptions,
  createCrossrank,
  crossrank,
} from "./provider.js";
export {
  type CrossrankRerankingModel,
  type OwnRerankingModel,
  type RerankingModelOptions,
  rerankingModel,
} from "./reranking-model.js";
