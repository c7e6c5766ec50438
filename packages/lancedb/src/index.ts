// What `import … from "@crossrank/lancedb"` gives: a reranker for LanceDB's hybrid search.
export { CrossrankReranker, type CrossrankRerankerOptions } from "./crossrank-reranker.js";
export type { Fusion, RankFusion, WeightedFusion } from "./fusion.js";
