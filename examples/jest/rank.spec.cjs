// A test in CommonJS imports it.
test("nano, by import()", async () => {
  const { openReranker } = await import("crossrank");
  const reranker = await openReranker("nano");
  const { results } = await reranker.rerank({ query: "capital of France", documents: ["Bread.", "Paris."] });
  expect(results[0].index).toBe(1);
});
