import { openReranker } from "crossrank";

const documents = [
  "Bread is baked in an oven.",
  "Paris is the capital of France.",
  "The cat sat on the mat.",
];

// Opened by the first request, once for each model, and kept.
const rerankers = new Map();

export async function GET(request) {
  const parameters = new URL(request.url).searchParams;
  const model = process.env.RERANK_FOLDER && parameters.has("folder") ? process.env.RERANK_FOLDER : "nano";
  if (!rerankers.has(model)) rerankers.set(model, openReranker(model));
  const reranker = await rerankers.get(model);
  const { results } = await reranker.rerank({
    query: parameters.get("query") ?? "capital of France",
    documents,
  });
  return Response.json(results.map(({ index, score }) => ({ index, score })));
}
