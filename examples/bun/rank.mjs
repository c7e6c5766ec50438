// The whole everyday job: a model by its name or folder, the best document first, and an end of its own.
import { openReranker } from "crossrank";

const reranker = await openReranker(process.argv[2] ?? "nano");
const { results } = await reranker.rerank({
  query: "What is the capital of France?",
  documents: ["Bread is baked in an oven.", "Paris is the capital of France.", "The cat sat on the mat."],
});
console.log(JSON.stringify(results.map(({ index, score }) => ({ index, score }))));
