// What `import … from "@crossrank/genkit"` gives: rerankers for `ai.rerank` of Genkit.
export { type CrossrankPlugin, type CrossrankPluginOptions, crossrank } from "./plugin.js";
export {
  type CrossrankRerankerOptions,
  CrossrankRerankerOptionsSchema,
  type DefinedReranker,
  type DefineRerankerOptions,
  defineCrossrankReranker,
} from "./reranker.js";
