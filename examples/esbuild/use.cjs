// The same for a bundle in CommonJS, which has no `await` at its top.
const { openReranker } = require("crossrank");

async function main() {
  const reranker = await openReranker(process.argv[2] ?? "nano");
  const { results } = await reranker.rerank({
    query: "What is the capital of France?",
    documents: ["Bread is baked in an oven.", "Paris is the capital of France.", "The cat sat on the mat."],
  });
  console.log(JSON.stringify(results.map(({ index, score }) => ({ index, score }))));
}
main();
