// A route that reranks: POST /rerank with { query, documents, topN } gives the order and the scores.

import { fileURLToPath } from "node:url";
import { openReranker } from "crossrank";
import express from "express";

/** Opened once, for every request. */
const reranker = await openReranker("nano");

export const app = express();
app.use(express.json({ limit: "2mb" }));

app.post("/rerank", async (request, response) => {
  const { query, documents, topN } = request.body ?? {};
  // Who hangs up is not scored for.
  const hangup = new AbortController();
  response.on("close", () => hangup.abort());
  const { results, model } = await reranker.rerank({ query, documents, topN, signal: hangup.signal });
  response.json({ model: model.id, results: results.map(({ index, score }) => ({ index, score })) });
});

app.use((error, _request, response, _next) => {
  if (response.destroyed) return;
  // What the caller can mend says how.
  if (error.code === "invalid-input") response.status(400).json({ error: error.message });
  else
    response
      .status(error.status ?? 500)
      .json({ error: error.status ? error.message : "The reranker failed." });
});

export const close = () => reranker.dispose();

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
    console.log(`http://127.0.0.1:${server.address().port}/rerank`);
  });
}
