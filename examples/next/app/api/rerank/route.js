import { lazyReranker } from "crossrank";

const documents = [
  "Bread is baked in an oven.",
  "Paris is the capital of France.",
  "The cat sat on the mat.",
];

// Opened by the first request, once for each model, and kept; an opening that failed is tried again by the next request.
const rerankers = new Map();

export async function GET(request) {
  const parameters = new URL(request.url).searchParams;
  const model = process.env.RERANK_FOLDER && parameters.has("folder") ? process.env.RERANK_FOLDER : "nano";
  if (!rerankers.has(model)) rerankers.set(model, lazyReranker(model));
  const { results } = await rerankers.get(model).rerank({
    query: parameters.get("query") ?? "capital of France",
    documents,
  });
  return Response.json(results.map(({ index, score }) => ({ index, score })));
}
