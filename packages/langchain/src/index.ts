// What `import … from "@crossrank/langchain"` gives: a document compressor that reranks.
export { CrossrankRerank, type CrossrankRerankOptions, type RerankInput } from "./crossrank-rerank.js";
