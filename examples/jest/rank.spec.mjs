import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { openReranker } from "crossrank";

const conformance = createRequire(import.meta.url).resolve("@crossrank/conformance/package.json");
const question = {
  query: "What is the capital of France?",
  documents: ["Bread is baked in an oven.", "Paris is the capital of France.", "The cat sat on the mat."],
};

test("nano", async () => {
  const reranker = await openReranker("nano");
  const { results } = await reranker.rerank(question);
  expect(results[0]).toMatchObject({ index: 1 });
  expect(results[0].score).toBeGreaterThan(0.8);
});

test("a folder's model, in a child process", async () => {
  const reranker = await openReranker(join(dirname(conformance), "fixtures", "bert-logit"));
  expect((await reranker.rerank(question)).results).toHaveLength(3);
  await reranker.dispose();
});
