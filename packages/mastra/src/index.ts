// What `import … from "@crossrank/mastra"` gives: a relevance scorer for Mastra's RAG.
export {
  CrossrankRelevanceScorer,
  type CrossrankScorerOptions,
  type RankedQueryResult,
  type RerankResultsOptions,
} from "./relevance-scorer.js";
